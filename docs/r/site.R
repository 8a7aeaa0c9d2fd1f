# Builds the R half of the site with pkgdown, without asking anything of the network.
# Usage: Rscript docs/r/site.R FOLDER SITE   (FOLDER: a copy of rpkg/ with _pkgdown.yml, index.md and vignettes/)

args <- commandArgs(trailingOnly = TRUE)
options(pkgdown.internet = FALSE, rlang_interactive = FALSE)

# pkgdown would fetch scripts for its menu, search and copy buttons; docs/r/assets/pkgdown.js does their work.
only_local <- function(pkg, ...) list(fontawesome::fa_html_dependency())
utils::assignInNamespace("external_dependencies", only_local, "pkgdown")

# Examples are shown and not run; pkgdown asks their @examplesIf all the same, and would hide them where it is FALSE.
sailerx_available <- function(...) TRUE

pkg <- pkgdown::as_pkgdown(args[1], override = list(destination = args[2]))
pkgdown::init_site(pkg)
pkgdown::build_home(pkg)
pkgdown::build_reference(pkg, examples = FALSE)
for (article in pkg$vignettes$name) pkgdown::build_article(article, pkg, new_process = FALSE)
pkgdown::build_articles_index(pkg)
pkgdown::build_news(pkg)
pkgdown::build_search(pkg)

# A page that was opened as a file may not fetch search.json, but may load a script.
index <- file.path(args[2], "search.json")
writeLines(c("window.sailerxPages =", readLines(index, encoding = "UTF-8")), file.path(args[2], "search.js"), useBytes = TRUE)
invisible(file.remove(index))
