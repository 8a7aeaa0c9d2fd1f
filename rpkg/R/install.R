#' Make a Python environment for sailerx
#'
#' Makes a Python environment and installs the Python package `sailerx` and its
#' dependencies into it, from the wheel that is part of this R package or from
#' its source. [RunSAILERX()] finds the environment afterwards. An environment
#' that exists is updated.
#'
#' @section Without a network:
#' On a machine with a network, download the wheels of all packages into a folder
#' with `pip download --dest wheels sailerx-0.1.0-py3-none-any.whl` (the wheel is
#' in `system.file("python", package = "sailerx")`), and copy the folder:
#' `install_sailerx(from = "wheels")` uses no package index.
#'
#' @param method `"virtualenv"` makes the environment with the module `venv` of
#'   `python`; `"conda"` makes it, with a Python of its own, by the first of
#'   `conda`, `mamba` and `micromamba` on the search path. `"auto"`: a virtual
#'   environment if there is a Python for it, else conda.
#' @param gpu `TRUE` installs the usual build of torch, which on Linux includes the
#'   libraries for NVIDIA GPUs; `FALSE` installs the much smaller CPU build
#'   (version suffix `+cpu`), or the usual one if the index has no CPU build.
#'   `"auto"`: `TRUE` if the command `nvidia-smi` shows a GPU, and on every system
#'   but Linux.
#' @param from A wheel (`.whl`), a source folder of the Python package, a folder
#'   of wheels that includes all dependencies, or the address (`https://...`) of a
#'   package index that has `sailerx`. `NULL`: the wheel inside this R package,
#'   else the source folder that the working directory is in.
#' @param envdir Folder of the environment.
#' @param python The Python (3.11 or newer, with `venv`) to make a virtual
#'   environment with. `NULL`: `python3`, then `python`, on the search path.
#' @param constraints A file of version constraints for pip.
#' @param pip_args Further arguments of `pip install`, for instance
#'   `c("--extra-index-url", "https://...")`.
#' @param verbose Show what pip prints.
#' @returns The path of the environment's Python, invisibly.
#' @seealso [sailerx_sitrep()]
#' @examples
#' \dontrun{
#' install_sailerx()
#' install_sailerx(method = "conda", gpu = FALSE)
#' install_sailerx(from = "wheels")
#' }
#' @export
install_sailerx <- function(
  method = c("auto", "virtualenv", "conda"),
  gpu = "auto",
  from = NULL,
  envdir = file.path(tools::R_user_dir("sailerx", "data"), "r-sailerx"),
  python = NULL,
  constraints = NULL,
  pip_args = character(),
  verbose = TRUE
) {
  method <- rlang::arg_match(method)
  gpu <- check_gpu(gpu)
  check_name(envdir, "envdir", call = rlang::current_env())
  from <- install_source(from)
  maker <- environment_maker(method, python)
  constraints <- check_constraints(constraints)
  envdir <- file.path(normalizePath(dirname(path.expand(envdir)), mustWork = FALSE), basename(envdir))

  is_new <- !dir.exists(envdir)
  done <- FALSE
  on.exit(if (is_new && !done) unlink(envdir, recursive = TRUE))
  run_command(make_command(maker, envdir), verbose)
  installed <- python_in(envdir)
  if (!gpu && from$kind != "wheels") {
    try_cpu_torch(installed, constraints, pip_args, verbose)
  }
  run_command(pip_command(installed, constraints, c(pip_args, from$arguments)), verbose)
  if (python_state(installed) != "ready") {
    cli::cli_abort("pip has ended without an error, but {.path {installed}} has no package {.pkg sailerx} that this R package can use: is it in {.path {from$name}}?")
  }
  done <- TRUE
  cli::cli_inform(c(v = "{.pkg sailerx} is installed in {.path {envdir}}."))
  invisible(installed)
}

check_gpu <- function(gpu, call = rlang::caller_env()) {
  if (identical(gpu, "auto")) {
    return(!identical(Sys.info()[["sysname"]], "Linux") || has_gpu())
  }
  if (!rlang::is_bool(gpu)) {
    cli::cli_abort("{.arg gpu} must be {.val auto}, {.code TRUE} or {.code FALSE}, not {.obj_type_friendly {gpu}}.", call = call)
  }
  gpu
}

has_gpu <- function() {
  program <- Sys.which("nvidia-smi")[[1]]
  nzchar(program) && grepl("^GPU", ask(program, "-L")$stdout)
}

# The program that creates the environment: a Python with venv, or conda, mamba or micromamba.
environment_maker <- function(method, python, call = rlang::caller_env()) {
  conda <- Filter(nzchar, Sys.which(c("conda", "mamba", "micromamba")))[1]
  if (method == "conda" && is.na(conda)) {
    cli::cli_abort(c(
      "{.code method = \"conda\"} needs {.code conda}, {.code mamba} or {.code micromamba} on the search path: there is none.",
      i = "Put its folder on the {.envvar PATH}, or use {.code method = \"virtualenv\"}."
    ), call = call)
  }
  if (method == "conda" || (method == "auto" && is.null(python) && !is.na(conda) && !makes_environments(usual_python()))) {
    return(list(program = unname(conda), conda = TRUE))
  }
  list(program = base_python(python, call), conda = FALSE)
}

make_command <- function(maker, envdir) {
  if (!maker$conda) {
    return(c(maker$program, "-m", "venv", envdir))
  }
  # `conda create` would replace an environment that exists; `conda install` updates it.
  c(maker$program, if (dir.exists(envdir)) "install" else "create", "--yes", "--prefix", envdir, "python>=3.11", "pip")
}

pip_command <- function(python, constraints, arguments) {
  c(
    python, "-m", "pip", "install", "--upgrade", "--disable-pip-version-check",
    if (length(constraints)) c("--constraint", constraints), arguments
  )
}

# Only some package indexes have versions labelled "+cpu". From the others, pip installs the usual build with sailerx.
try_cpu_torch <- function(python, constraints, pip_args, verbose) {
  versions <- ask(python, c("-m", "pip", "index", "versions", "torch", "--disable-pip-version-check", pip_args), timeout = 120)$stdout
  newest <- sub("[+].*", "", regmatches(versions, regexpr("[0-9]+[.][0-9]+[.][0-9]+", versions)))
  wanted <- pinned_torch(constraints) %||% newest
  command <- pip_command(python, constraints, c(pip_args, paste0("torch==", wanted, "+cpu", recycle0 = TRUE)))
  if (!length(wanted) || inherits(try(run_command(command, verbose), silent = TRUE), "try-error")) {
    cli::cli_inform(c(
      i = "The package index has no CPU build of torch; the usual build is installed, which works without a GPU too.",
      i = "PyTorch's own index has it: name that with {.code pip_args = c(\"--extra-index-url\", \"https://...\")}."
    ))
  }
}

# The version that a line such as "torch==2.9.0" of the constraints names; NULL if there is none.
pinned_torch <- function(constraints) {
  lines <- if (length(constraints)) grep("^torch==", readLines(constraints, warn = FALSE), value = TRUE)
  if (length(lines)) sub("^torch==([0-9.]+).*", "\\1", lines[1])
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
  kind <- kind_of_source(from)
  if (is.na(kind)) {
    cli::cli_abort(c(
      "{.arg from} must be a wheel, the source folder or a folder of wheels of {.pkg sailerx}, or the address of an index: {.path {from}} is none.",
      i = "A source folder has a {.file pyproject.toml} with {.code name = \"sailerx\"}, a folder of wheels a {.file sailerx-*.whl}."
    ), call = call)
  }
  if (kind != "index" && !file.exists(from)) {
    cli::cli_abort("{.arg from} must exist: there is no {.path {from}}.", call = call)
  }
  path <- if (kind == "index") from else normalizePath(from)
  arguments <- switch(kind,
    index = c("--index-url", path, "sailerx"),
    wheels = c("--no-index", "--find-links", path, "sailerx"),
    path
  )
  list(kind = kind, name = path, arguments = arguments)
}

kind_of_source <- function(from) {
  if (grepl("^https?://", from)) {
    return("index")
  }
  if (grepl("\\.whl$", from)) {
    return("wheel")
  }
  if (is_source(from)) {
    return("source")
  }
  if (length(bundled_wheel(from))) "wheels" else NA
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

usual_python <- function() {
  c(Filter(nzchar, Sys.which(c("python3", "python"))), "python3")[[1]]
}

# Can this Python create a virtual environment that sailerx runs in?
makes_environments <- function(python) {
  probe <- "import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 11) else 3)"
  identical(ask(absolute_python(python), c("-c", probe))$status, 0L)
}

base_python <- function(python, call = rlang::caller_env()) {
  named <- python %||% usual_python()
  check_name(named, "python", call = call)
  python <- absolute_python(named)
  if (!makes_environments(python)) {
    cli::cli_abort(c(
      "{.arg python} must be a Python 3.11 or newer with the modules {.code venv} and {.code ensurepip}: {.path {named}} is not.",
      i = "On Debian and Ubuntu: {.code apt-get install python3-venv}. Or name another one: {.code install_sailerx(python = \"path/to/python\")}, or use {.code method = \"conda\"}."
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
