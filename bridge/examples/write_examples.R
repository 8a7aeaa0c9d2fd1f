# Writes v1/content.json by WriteH5MU(). Run in this folder with the R package sailerx installed; needs Signac.
source("content.R")
content <- read_content("v1/content.json")
sailerx::WriteH5MU(to_seurat(content), "v1/sailerx-r.h5mu", overwrite = TRUE)
