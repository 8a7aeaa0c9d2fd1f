# Runs the chunks of one vignette and writes it again with their results in it, for pkgdown to lay out: an article's
# slow part, which is repeated only when the vignette or the package has changed.
# Usage: Rscript docs/knit.R vignettes/NAME.Rmd FOLDER   (writes FOLDER/NAME.Rmd and FOLDER/figures/NAME-*.png)

args <- commandArgs(trailingOnly = TRUE)
input <- normalizePath(args[1])
name <- tools::file_path_sans_ext(basename(input))
dir.create(args[2], showWarnings = FALSE, recursive = TRUE)
folder <- normalizePath(args[2])
half <- tempfile(fileext = ".Rmd") # a stopped run leaves no article behind

knitr::opts_knit$set(base.dir = folder)
knitr::opts_chunk$set(fig.path = file.path("figures", paste0(name, "-")), error = FALSE)
knitr::render_markdown()
workspace <- new.env(parent = globalenv())
workspace$params <- lapply(knitr::knit_params(readLines(input)), `[[`, "value")
knitr::knit(input, half, envir = workspace, quiet = TRUE)

stopifnot(file.copy(half, file.path(folder, basename(input)), overwrite = TRUE))
