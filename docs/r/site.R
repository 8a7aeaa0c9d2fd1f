# Builds the R half of the site with pkgdown, without asking anything of the network.
# Usage, from the root of the repository: Rscript docs/r/site.R FOLDER
# Vignettes, which take minutes, are run again only when they, the package or these settings have changed.

folder <- commandArgs(trailingOnly = TRUE)[1]
options(pkgdown.internet = FALSE, rlang_interactive = FALSE)

# pkgdown would fetch scripts for its menu, search and copy buttons; pkgdown.js beside this file does without them.
only_local <- function(pkg, ...) list(fontawesome::fa_html_dependency())
utils::assignInNamespace("external_dependencies", only_local, "pkgdown")
# It would also ask other packages' sites where their pages are; without an answer it links to rdrr.io.
utils::assignInNamespace("fetch_yaml", function(url) NULL, "downlit")

# Examples are shown and not run; pkgdown asks their @examplesIf all the same, and would hide them where it is FALSE.
sailerx_available <- function(...) TRUE

# The part of README.md under a heading.
readme <- function(heading) {
  lines <- readLines("README.md", encoding = "UTF-8")
  starts <- grep("^## ", lines)
  first <- match(paste("##", heading), lines)
  lines[(first + 1):(min(starts[starts > first]) - 1)]
}

# What pkgdown reads: a copy of the package with the vignettes in it.
source <- file.path(tempdir(), "rpkg")
dir.create(file.path(source, "pkgdown", "assets"), recursive = TRUE)
package <- setdiff(list.files("rpkg", full.names = TRUE), c("rpkg/tests", "rpkg/vignettes"))
invisible(file.copy(c(package, "vignettes", "docs/r/_pkgdown.yml"), source, recursive = TRUE, copy.date = TRUE))
invisible(file.copy("docs/r/extra.css", file.path(source, "pkgdown")))
invisible(file.copy("docs/r/pkgdown.js", file.path(source, "pkgdown", "assets")))
index <- readLines("docs/r/index.md", encoding = "UTF-8")
place <- match("<!-- README.md: In R -->", index)
writeLines(append(index[-place], readme("In R"), place - 1), file.path(source, "index.md"), useBytes = TRUE)

pkg <- pkgdown::as_pkgdown(source, override = list(destination = folder))
articles <- file.path(folder, pkg$vignettes$file_out)
newest <- max(file.mtime(c(".rlib/sailerx.stamp", "docs/r/_pkgdown.yml", "docs/r/site.R")))
unlink(articles[file.exists(articles) & file.mtime(articles) < newest])
pkgdown::init_site(pkg)
pkgdown::build_home(pkg)
pkgdown::build_reference(pkg, lazy = FALSE, examples = FALSE)
pkgdown::build_articles(pkg, lazy = TRUE)
pkgdown::build_news(pkg)
