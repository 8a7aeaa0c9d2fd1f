#' Which Python, which versions, which device
#'
#' Prints what [RunSAILERX()] will use: the Python and where it was found, the
#' versions of the packages in R and Python, the device that trains and the
#' version of the exchange file. If something is missing, it prints the command
#' that installs it.
#'
#' @inheritParams RunSAILERX
#' @returns Invisibly, a list: `ready` (`TRUE` if nothing is missing), `python`
#'   (path or `NA`), `r` and `py` (versions), `device`, `format_version`,
#'   `places` (data frame of the places that were searched) and `repair`
#'   (commands).
#' @examples
#' sailerx_sitrep()
#' @export
sailerx_sitrep <- function(python = NULL) {
  places <- search_python(python)
  chosen <- places[places$state == "ready", ]
  report <- list(
    python = c(chosen$path, NA)[1], r = r_versions(), py = list(),
    device = NA_character_, format_version = NA_integer_, places = places, problems = character(), repair = character()
  )
  report <- if (nrow(chosen)) ask_python(report) else no_python(report)
  report$ready <- !length(report$problems)
  print_sitrep(report)
  invisible(report[setdiff(names(report), "problems")])
}

r_versions <- function() {
  packages <- c("sailerx", "SeuratObject", "Seurat", "Signac", "hdf5r", "reticulate")
  # not requireNamespace(), which would load the packages and take seconds
  version <- function(package) {
    if (nzchar(system.file(package = package))) as.character(utils::packageVersion(package)) else NA_character_
  }
  c(R = as.character(getRversion()), vapply(packages, version, character(1)))
}

no_python <- function(report) {
  report$problems <- "No Python with the package sailerx was found."
  named <- report$places[report$places$binding, ]
  if (nrow(named)) {
    report$problems <- sprintf("%s, named by %s: %s.", named$path, named$source, named$state)
  }
  report$repair <- repair_commands(named)
  report
}

# For a Python that the user named: how to undo that, then how to install one. `named`: the rows of python_places().
repair_commands <- function(named) {
  if (nrow(named) == 0) {
    return("sailerx::install_sailerx()")
  }
  unset <- c(
    "argument python" = "leave out the argument `python`",
    "option sailerx.python" = "options(sailerx.python = NULL)",
    "SAILERX_PYTHON" = "Sys.unsetenv(\"SAILERX_PYTHON\")"
  )
  c(unset[[named$source]], "sailerx::install_sailerx()")
}

# Adds what `python -m sailerx info` prints (a JSON object): versions, device, file format.
ask_python <- function(report) {
  answer <- ask(report$python, c("-m", "sailerx", "info"), timeout = 300)
  info <- try(jsonlite::fromJSON(answer$stdout), silent = TRUE)
  if (!identical(answer$status, 0L) || inherits(info, "try-error")) {
    report$problems <- c("Python has sailerx, but it does not run:", utils::tail(strsplit(answer$stderr, "\n")[[1]], 3))
    report$repair <- "sailerx::install_sailerx()"
    return(report)
  }
  report$py <- unlist(info$versions)
  report$device <- info$device
  report$format_version <- info$format_version
  check_versions(report)
}

check_versions <- function(report) {
  if (!identical(as.integer(report$format_version), H5MU_VERSION)) {
    report$problems <- sprintf(
      "R writes version %d of the exchange file and Python version %s: update the older of the two.",
      H5MU_VERSION, report$format_version
    )
    report$repair <- "sailerx::install_sailerx()"
  }
  report
}

print_sitrep <- function(report) {
  cli::cli_h1("sailerx")
  cli::cli_h2("R")
  cli::cli_dl(shown(report$r))
  cli::cli_h2("Python")
  for (row in seq_len(nrow(report$places))) {
    place <- report$places[row, ]
    cli::cli_bullets(rlang::set_names("{.path {place$path}} ({place$source}): {place$state}", if (place$state == "ready") "v" else "x"))
  }
  cli::cli_dl(shown(c(report$py, device = report$device, `file format` = report$format_version)))
  if (!report$ready) {
    cli::cli_h2("To repair")
    cli::cli_bullets(rlang::set_names(escape_braces(report$problems), rep("x", length(report$problems))))
    cli::cli_text("Type:")
    cli::cli_code(report$repair)
  }
}

shown <- function(values) {
  values <- values[!is.na(values) | names(values) %in% names(r_versions())]
  rlang::set_names(ifelse(is.na(values), "not installed", as.character(values)), names(values))
}
