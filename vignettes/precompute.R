# Knits a vignette for the R package: with its results and figures in it, so that building the package needs no Python.
# Usage, from the root of the repository: Rscript vignettes/precompute.R NAME   (`make vignettes` does it for all)

name <- commandArgs(trailingOnly = TRUE)[1]
source <- normalizePath(file.path("vignettes", paste0(name, ".Rmd")), mustWork = TRUE)
lines <- readLines(source, encoding = "UTF-8")
dir.create("rpkg/vignettes", showWarnings = FALSE)
setwd("rpkg/vignettes") # figures are named relative to it
unlink(Sys.glob(file.path("figures", paste0(name, "-*"))))

environment <- new.env()
environment$params <- lapply(knitr::knit_params(lines), `[[`, "value")
knitr::opts_chunk$set(error = FALSE, fig.cap = "", fig.path = file.path("figures", paste0(name, "-")))
knitr::opts_chunk$set(dev.args = list(type = "cairo"))
target <- paste0(name, ".Rmd")
knitr::knit(source, target, envir = environment, quiet = TRUE)

knitted <- readLines(target, encoding = "UTF-8")
end <- which(knitted == "---")[2]
note <- c("", sprintf("<!-- `make vignettes` has made this page of vignettes/%s: change that one. -->", target))
writeLines(append(knitted, note, end), target, useBytes = TRUE)
