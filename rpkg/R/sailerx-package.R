#' @details
#' Start with [RunSAILERX()]. [sailerx_sitrep()] shows which Python it will use,
#' and [install_sailerx()] installs one.
#' @keywords internal
"_PACKAGE"

## usethis namespace: start
#' @importFrom methods new
#' @importFrom rlang %||% .data
#' @importClassesFrom SeuratObject SeuratCommand
## usethis namespace: end
NULL
