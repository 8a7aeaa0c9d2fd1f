# Finds a Python that has the package `sailerx`, in the order documented at RunSAILERX().

# The Python in the folder of an environment; a path that is no folder is returned unchanged.
python_in <- function(path) {
  if (!dir.exists(path)) {
    return(path)
  }
  inside <- if (.Platform$OS.type == "windows") c("Scripts/python.exe", "python.exe") else "bin/python"
  found <- file.path(path, inside)
  c(found[file.exists(found)], found)[1]
}

# The absolute path, because Python runs in another folder. Links are not followed: the Python of an environment is a link,
# and Python finds the environment by the path of that link.
absolute_python <- function(path) {
  path <- python_in(path.expand(path))
  if (!grepl("[/\\\\]", path)) {
    path <- c(Filter(nzchar, Sys.which(path)[[1]]), path)[1]
  }
  sub("^//", "/", file.path(normalizePath(dirname(path), mustWork = FALSE), basename(path)))
}

# The environment variables that Python would have if R had not started it. On Linux, R adds its library folders to
# LD_LIBRARY_PATH, and Python could load another libssl or libstdc++ from them than the one it was built with.
python_environment <- function() {
  variables <- unclass(Sys.getenv())
  variables[c("PYTHONUTF8", "PYTHONUNBUFFERED")] <- "1"
  path <- Sys.getenv("LD_LIBRARY_PATH")
  added <- library_path_of_r()
  if (nzchar(added) && startsWith(paste0(path, ":"), paste0(added, ":"))) {
    rest <- substring(path, nchar(added) + 2)
    variables <- variables[names(variables) != "LD_LIBRARY_PATH"]
    variables <- c(variables, if (nzchar(rest)) c(LD_LIBRARY_PATH = rest))
  }
  variables
}

# The folders that R's start script adds to the front of LD_LIBRARY_PATH; "" if there is no such script.
library_path_of_r <- function() {
  script <- file.path(R.home("etc"), "ldpaths")
  if (!file.exists(script)) {
    return("")
  }
  code <- "unset LD_LIBRARY_PATH; . \"$1\"; printf %s \"$LD_LIBRARY_PATH\""
  processx::run("/bin/sh", c("-c", code, "sh", script), error_on_status = FALSE, env = c("current", R_HOME = R.home()))$stdout
}

parents <- function(folder) {
  folder <- normalizePath(folder, mustWork = FALSE)
  above <- dirname(folder)
  if (above == folder) folder else c(folder, parents(above))
}

project_environment <- function() {
  folders <- file.path(parents(getwd()), ".venv")
  folders[dir.exists(folders)][1]
}

# The environment that install_sailerx() creates by default.
environment_folder <- function() {
  file.path(tools::R_user_dir("sailerx", "data"), "r-sailerx")
}

# Every place in the order of search: its `source`, the `path` found there (NA if none), and whether it is `binding`, that
# is, used without looking further.
python_places <- function(python = NULL) {
  option <- getOption("sailerx.python")
  variable <- function(name) Sys.getenv(name, unset = NA)
  places <- c(
    "argument python" = python %||% NA,
    "option sailerx.python" = option %||% NA,
    "SAILERX_PYTHON" = variable("SAILERX_PYTHON"),
    "RETICULATE_PYTHON" = variable("RETICULATE_PYTHON"),
    "VIRTUAL_ENV" = variable("VIRTUAL_ENV"),
    "CONDA_PREFIX" = variable("CONDA_PREFIX"),
    ".venv of the project" = project_environment(),
    "install_sailerx()" = environment_folder(),
    "python3 on the search path" = Sys.which("python3")[[1]],
    "python on the search path" = Sys.which("python")[[1]]
  )
  places[!is.na(places) & !nzchar(places)] <- NA
  path <- vapply(places, function(place) if (is.na(place)) place else absolute_python(place), character(1))
  data.frame(source = names(places), path = unname(path), binding = seq_along(places) <= 3)
}

# Prints the version of the exchange file that Python reads, without importing torch; exits with 3 if sailerx is missing.
PROBE <- "
import importlib.util, sys
if not importlib.util.find_spec('sailerx'): sys.exit(3)
try:
    from sailerx.data.contract import format_schema
    print(format_schema()['x-version'])
except Exception:
    pass
"

# "ready", "lacks sailerx", "not found", or why its sailerx is too old. Only the version of the exchange file decides, not
# those of the packages; Python reads older files too.
python_state <- function(path) {
  if (!file.exists(path)) {
    return("not found")
  }
  answer <- ask(path, c("-c", PROBE))
  if (!answer$status %in% c(0L, 3L)) {
    return("not found")
  }
  if (answer$status == 3) {
    return("lacks sailerx")
  }
  version <- suppressWarnings(as.integer(answer$stdout))
  if (is.na(version) || version >= H5MU_VERSION) {
    return("ready")
  }
  sprintf("its sailerx is too old (reads version %d of the exchange file, R writes %d)", version, H5MU_VERSION)
}

# Runs a program. Returns its status (NA if it does not start, negative if it does not end in time), stdout and stderr.
ask <- function(program, arguments, timeout = 60) {
  tryCatch(
    processx::run(
      program, arguments,
      error_on_status = FALSE, timeout = timeout, wd = tempdir(), env = python_environment()
    ),
    error = function(condition) list(status = NA_integer_, stdout = "", stderr = conditionMessage(condition))
  )
}

# The places, each with its `state`, up to the first that is ready.
search_python <- function(python = NULL) {
  places <- python_places(python)
  places <- places[!is.na(places$path), ]
  if (any(places$binding)) {
    places <- places[which(places$binding)[1], ]
  }
  places$state <- rep(NA_character_, nrow(places))
  for (row in seq_len(nrow(places))) {
    places$state[row] <- python_state(places$path[row])
    if (places$state[row] == "ready") {
      return(places[seq_len(row), ])
    }
  }
  places
}

find_python <- function(python = NULL, backend = "subprocess", call = rlang::caller_env()) {
  if (!is.null(python)) {
    check_name(python, "python", call = call)
  }
  if (backend == "reticulate") {
    python <- running_python(python, call)
  }
  places <- search_python(python)
  if (backend == "reticulate" && !any(places$state == "ready" | places$binding) && declare_python()) {
    places <- rbind(places, provided_python())
  }
  if (!any(places$state == "ready")) {
    abort_no_python(places, call)
  }
  places$path[nrow(places)]
}

# The Python inside the R process: once one runs, reticulate cannot change to another.
running_python <- function(python, call) {
  if (!rlang::is_installed("reticulate")) {
    cli::cli_abort(c(
      "{.code backend = \"reticulate\"} needs the R package {.pkg reticulate}, which is not installed.",
      i = "Install it, or use {.code backend = \"subprocess\"}."
    ), call = call)
  }
  if (!reticulate::py_available(initialize = FALSE)) {
    return(python)
  }
  running <- reticulate::py_config()$python
  places <- python_places(python)
  named <- places$path[places$binding & !is.na(places$path)]
  if (length(named) && !same_python(named[1], running)) {
    cli::cli_abort(c(
      "{.arg python} must be the Python that already runs in this R session: {.path {running}}, not {.path {named[1]}}.",
      i = "Restart R, or use {.code backend = \"subprocess\"}."
    ), call = call)
  }
  running
}

# Tells reticulate (1.41 or later) which packages Python needs; it then creates an environment with them if it finds no
# Python. Returns FALSE if reticulate is older or there is no wheel.
declare_python <- function() {
  wheel <- utils::head(bundled_wheel(), 1)
  if (utils::packageVersion("reticulate") < "1.41" || !length(wheel)) {
    return(FALSE)
  }
  reticulate::py_require(paste0("sailerx @ file://", utils::URLencode(wheel)), python_version = ">=3.11")
  TRUE
}

# The Python that reticulate chooses; asking for it starts it.
provided_python <- function() {
  path <- tryCatch(suppressWarnings(reticulate::py_config()$python), error = function(error) NULL)
  if (is.null(path)) {
    return(NULL)
  }
  data.frame(source = "py_require()", path = path, binding = FALSE, state = python_state(path))
}

# `bin/python` and `bin/python3` of one environment are the same.
same_python <- function(one, other) {
  dirname(absolute_python(one)) == dirname(absolute_python(other))
}

abort_no_python <- function(places, call) {
  found <- sprintf("%s (%s): %s", places$path, places$source, places$state)
  cli::cli_abort(c(
    "A Python with the package {.pkg sailerx} is needed, and none was found.",
    rlang::set_names(escape_braces(found), rep("x", length(found))),
    i = "Make one with {.run sailerx::install_sailerx()}.",
    i = "Or name one that has it: {.code options(sailerx.python = \"path/to/python\")}.",
    i = "{.run sailerx::sailerx_sitrep()} lists the places that were searched."
  ), call = call, class = "sailerx_no_python")
}

# Escapes text that cli would read as its markup.
escape_braces <- function(text) {
  gsub("}", "}}", gsub("{", "{{", text, fixed = TRUE), fixed = TRUE)
}

#' Is there a Python with sailerx?
#'
#' @inheritParams RunSAILERX
#' @returns `TRUE` if [RunSAILERX()] would find a Python that has the package
#'   `sailerx`, else `FALSE`.
#' @examples
#' sailerx_available()
#' @export
sailerx_available <- function(python = NULL) {
  any(search_python(python)$state == "ready")
}
