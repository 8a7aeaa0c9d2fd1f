#' Make a Python environment for sailerx
#'
#' Makes a virtual environment and installs the Python package `sailerx` with
#' what it needs into it, from the wheel that came with this R package or from
#' its source. [RunSAILERX()] finds the environment by itself afterwards. An
#' environment that is there already is brought up to date.
#'
#' @param from A wheel (`.whl`) or a source folder of the Python package.
#'   `NULL`: the wheel inside this R package, else the source folder that holds
#'   the R package or the working directory.
#' @param envdir Folder of the environment.
#' @param python The Python (3.11 or newer, with `venv`) to make it with.
#'   `NULL`: `python3`, then `python`, on the search path.
#' @param constraints A file of version constraints for pip, for instance one
#'   that pins the CPU build of torch.
#' @param pip_args Further arguments of `pip install`.
#' @param verbose Show what pip prints.
#' @returns The path of the environment's Python, invisibly.
#' @seealso [sailerx_sitrep()]
#' @examples
#' \dontrun{
#' install_sailerx()
#' install_sailerx(from = "sailerx-0.1.0-py3-none-any.whl", constraints = "constraints.txt")
#' }
#' @export
install_sailerx <- function(
  from = NULL,
  envdir = file.path(tools::R_user_dir("sailerx", "data"), "r-sailerx"),
  python = NULL,
  constraints = NULL,
  pip_args = character(),
  verbose = TRUE
) {
  check_name(envdir, "envdir", call = rlang::current_env())
  from <- install_source(from)
  python <- base_python(python)
  constraints <- check_constraints(constraints)
  envdir <- normalizePath(path.expand(envdir), mustWork = FALSE)

  is_new <- !file.exists(python_in(envdir)) && !dir.exists(envdir)
  done <- FALSE
  on.exit(if (is_new && !done) unlink(envdir, recursive = TRUE))
  for (command in install_commands(from, envdir, python, constraints, pip_args)) {
    run_command(command, verbose)
  }
  installed <- python_in(envdir)
  if (python_state(installed) != "ready") {
    cli::cli_abort("pip has ended without an error, but {.path {installed}} has no package {.pkg sailerx}: is {.path {from}} its source?")
  }
  done <- TRUE
  cli::cli_inform(c(v = "{.pkg sailerx} is installed in {.path {envdir}}."))
  invisible(installed)
}

# One character vector per command: program, then arguments.
install_commands <- function(from, envdir, python, constraints = NULL, pip_args = character()) {
  inside <- if (.Platform$OS.type == "windows") "Scripts/python.exe" else "bin/python"
  list(
    c(python, "-m", "venv", envdir),
    c(
      file.path(envdir, inside), "-m", "pip", "install", "--upgrade", "--disable-pip-version-check",
      if (length(constraints)) c("--constraint", constraints), pip_args, from
    )
  )
}

run_command <- function(command, verbose, call = rlang::caller_env()) {
  show <- function(line, process) if (verbose) message(line)
  answer <- processx::run(
    command[1], command[-1],
    error_on_status = FALSE, stderr_to_stdout = TRUE, stdout_line_callback = show,
    cleanup_tree = TRUE, wd = tempdir(), env = python_environment()
  )
  if (answer$status != 0) {
    tail <- escape_braces(utils::tail(strsplit(answer$stdout, "\n")[[1]], 8))
    cli::cli_abort(c(
      "The installation has stopped: {.code {paste(command, collapse = ' ')}} ended with status {answer$status}.",
      rlang::set_names(tail, rep(" ", length(tail)))
    ), call = call)
  }
}

install_source <- function(from, call = rlang::caller_env()) {
  if (is.null(from)) {
    from <- c(bundled_wheel(), source_folder())[1]
    if (is.na(from)) {
      cli::cli_abort(c(
        "{.arg from} must be named: this R package came without its Python package.",
        i = "Give the wheel or the source folder of {.pkg sailerx}: {.code install_sailerx(from = \"path/to/sailerx\")}."
      ), call = call)
    }
  }
  check_name(from, "from", call = call)
  if (!grepl("\\.whl$", from) && !is_source(from)) {
    cli::cli_abort(c(
      "{.arg from} must be a wheel or the source folder of {.pkg sailerx}: {.path {from}} is neither.",
      i = "A source folder has a {.file pyproject.toml} with {.code name = \"sailerx\"}."
    ), call = call)
  }
  if (!file.exists(from)) {
    cli::cli_abort("{.arg from} must exist: there is no {.path {from}}.", call = call)
  }
  normalizePath(from)
}

bundled_wheel <- function(folder = system.file("python", package = "sailerx")) {
  sort(list.files(folder, pattern = "^sailerx-.*\\.whl$", full.names = TRUE), decreasing = TRUE)
}

source_folder <- function() {
  Filter(is_source, parents(getwd()))
}

is_source <- function(folder) {
  project <- file.path(folder, "pyproject.toml")
  file.exists(project) && any(grepl('^name *= *"sailerx"', readLines(project, warn = FALSE)))
}

base_python <- function(python, call = rlang::caller_env()) {
  named <- python %||% c(Filter(nzchar, Sys.which(c("python3", "python"))), "python3")[[1]]
  check_name(named, "python", call = call)
  python <- absolute_python(named)
  probe <- "import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 11) else 3)"
  if (!identical(ask(python, c("-c", probe))$status, 0L)) {
    cli::cli_abort(c(
      "{.arg python} must be a Python 3.11 or newer with the modules {.code venv} and {.code ensurepip}: {.path {named}} is not.",
      i = "On Debian and Ubuntu: {.code apt-get install python3-venv}. Or name another one: {.code install_sailerx(python = \"path/to/python\")}."
    ), call = call)
  }
  python
}

check_constraints <- function(constraints, call = rlang::caller_env()) {
  if (is.null(constraints)) {
    return(NULL)
  }
  check_name(constraints, "constraints", call = call)
  if (!file.exists(constraints)) {
    cli::cli_abort("{.arg constraints} must be a file: there is no {.path {constraints}}.", call = call)
  }
  normalizePath(constraints)
}
