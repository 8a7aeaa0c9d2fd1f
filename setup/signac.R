# Installs Signac from CRAN into the project's R library, or says why not (exit status 1).
# Usage: Rscript setup/signac.R LIBRARY

library_folder <- commandArgs(trailingOnly = TRUE)[1]
options(timeout = 60, warn = 1)
# No mirror configured: the first of the list that comes with R.
if ("@CRAN@" %in% getOption("repos")) {
  mirrors <- tryCatch(utils::getCRANmirrors(local.only = TRUE)$URL, error = function(error) character())
  if (length(mirrors) == 0) {
    cat("no CRAN mirror is configured: set options(repos = c(CRAN = ...)) in ~/.Rprofile\n")
    quit(status = 1)
  }
  options(repos = c(CRAN = mirrors[1]))
}

# Not on CRAN, so that R cannot fetch it from there.
from_bioconductor <- c("BiocGenerics", "GenomeInfoDb", "GenomicRanges", "IRanges", "Rsamtools", "S4Vectors")
absent <- from_bioconductor[!nzchar(vapply(from_bioconductor, function(p) system.file(package = p), ""))]
if (length(absent) > 0) {
  cat("the Bioconductor packages", toString(absent), "are not installed\n")
  quit(status = 1)
}

on_cran <- local({
  options(timeout = 10)
  suppressWarnings(rownames(utils::available.packages(filters = c("R_version", "duplicates"))))
})
if (!"Signac" %in% on_cran) {
  cat("CRAN could not be reached\n")
  quit(status = 1)
}

utils::install.packages("Signac", lib = library_folder, Ncpus = 2, quiet = TRUE)
works <- suppressMessages(requireNamespace("Signac", lib.loc = c(library_folder, .libPaths()), quietly = TRUE))
if (!works) {
  cat("its installation from CRAN failed\n")
  quit(status = 1)
}
