# Files and folders that appear under their name only when they are complete: each is written under a temporary name in
# the same folder, then renamed.

# Calls `write(path)` with the temporary name; after an error, nothing is left.
write_atomically <- function(file, overwrite, write, call = rlang::caller_env()) {
  check_target(file, overwrite, call)
  path <- tempfile(paste0(".", basename(file), "."), dirname(file))
  on.exit(unlink(path))
  said_of_new_file(file, path, write(path), call)
  if (!file.rename(path, file)) {
    cli::cli_abort("{.path {file}} must be writable, but the finished file could not be moved there.", call = call)
  }
  invisible(file)
}

check_target <- function(file, overwrite, call) {
  if (!rlang::is_string(file)) {
    cli::cli_abort("{.arg file} must be one path, not {.obj_type_friendly {file}}.", call = call)
  }
  absolute_in_folder(file, "file", call)
  if (dir.exists(file)) {
    cli::cli_abort("{.arg file} must be a file: {.path {file}} is a folder. Choose another name.", call = call)
  }
  if (file.exists(file) && !overwrite) {
    cli::cli_abort(
      c("{.arg file} must be a new file: {.path {file}} exists.", i = "Choose another name, or set {.code overwrite = TRUE}."),
      call = call
    )
  }
}

# The absolute path of a file or folder to be made, whose own folder must exist.
absolute_in_folder <- function(path, arg, call) {
  if (!dir.exists(dirname(path))) {
    cli::cli_abort(c(
      "{.arg {arg}} must lie in a folder that exists: there is no {.path {dirname(path)}}.",
      i = "Create it with {.fun dir.create}."
    ), call = call)
  }
  file.path(normalizePath(dirname(path)), basename(path))
}

# The folder of a run while it is running: temporary, or beside `keep` so that keep_run() can rename it.
working_folder <- function(keep = NULL) {
  folder <- if (is.null(keep)) {
    tempfile("sailerx-")
  } else {
    tempfile(paste0(".", basename(keep), "-"), tmpdir = dirname(keep))
  }
  if (!dir.create(folder)) {
    cli::cli_abort("The folder for temporary files must be writable, but {.path {folder}} cannot be created.", call = NULL)
  }
  normalizePath(folder)
}

# The folder of the model, once the run is complete under its name.
keep_run <- function(folder, keep) {
  if (!file.rename(folder, keep)) {
    cli::cli_abort("{.arg keep} must be writable, but the run cannot be moved to {.path {keep}}.", call = NULL)
  }
  file.path(keep, "run")
}

check_keep <- function(keep, call = rlang::caller_env()) {
  if (is.null(keep)) {
    return(NULL)
  }
  check_name(keep, "keep", call = call)
  if (file.exists(keep)) {
    cli::cli_abort(c(
      "{.arg keep} must be a new folder: {.path {keep}} exists.",
      i = "Remove it, or name another one."
    ), call = call)
  }
  absolute_in_folder(keep, "keep", call)
}
