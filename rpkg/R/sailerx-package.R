#' @details
#' [RunSAILERX()] is the verb to start with. [sailerx_sitrep()] says which
#' Python it will use, and [install_sailerx()] makes one where there is none.
#' @keywords internal
"_PACKAGE"

## usethis namespace: start
#' @importFrom methods new
#' @importFrom rlang %||% .data
#' @importClassesFrom SeuratObject SeuratCommand
## usethis namespace: end
NULL
