# Can this R run the project? Prints two facts for setup/r.sh, or what is missing (exit status 1).
# Usage: Rscript setup/check_r.R   (in the root of the repository)

description <- read.dcf("rpkg/DESCRIPTION", fields = c("Imports", "Suggests"))

# "Seurat (>= 5.0.0), cli"  ->  c(Seurat = "5.0.0", cli = "0")
least_versions <- function(field) {
  entries <- trimws(strsplit(field, ",")[[1]])
  version <- ifelse(grepl(">=", entries), gsub(".*>= *|\\).*", "", entries), "0")
  stats::setNames(version, sub("[ (].*", "", entries))
}

lacking <- function(needed) {
  found <- function(package) suppressWarnings(utils::packageDescription(package, fields = "Version"))
  old <- function(package) {
    version <- found(package)
    is.na(version) || package_version(version) < needed[[package]]
  }
  Filter(old, names(needed))
}

suggested <- least_versions(description[, "Suggests"])
has_signac <- length(lacking(suggested["Signac"])) == 0
required <- c(least_versions(description[, "Imports"]), suggested["Seurat"])
optional <- suggested[setdiff(names(suggested), c("Seurat", "Signac"))]

if (getRversion() < "4.3") {
  cat("R 4.3 or newer is needed; this is R", format(getRversion()), "in", R.home(), "\n")
  quit(status = 1)
}
missing <- lacking(required)
if (length(missing) > 0) {
  cat("R", format(getRversion()), "in", R.home(), "lacks these packages:\n")
  cat(sprintf("    %s (>= %s)\n", missing, required[missing]), sep = "")
  cat("They can be installed from CRAN and Bioconductor by\n")
  cat("    Rscript -e 'install.packages(\"BiocManager\")'\n")
  cat(sprintf("    Rscript -e 'BiocManager::install(c(%s))'\n", toString(dQuote(missing, q = FALSE))))
  quit(status = 1)
}
unused <- lacking(optional)
if (length(unused) > 0) message("R lacks ", toString(unused), ": the checks that need them are skipped.")

cat("R ", format(getRversion()), " in ", R.home(), "\n", sep = "")
cat(if (has_signac) "Signac\n")
