# A file or folder gets its name only once it is complete: it is written under a temporary name beside it, then renamed.

# Runs `write(path)` on a temporary name in the same folder, then renames: nobody ever sees half a file.
write_atomically <- function(file, overwrite, write) {
  check_target(file, overwrite)
  path <- tempfile(paste0(".", basename(file), "."), dirname(file))
  on.exit(unlink(path))
  write(path)
  if (!file.rename(path, file)) {
    cli::cli_abort("{.path {file}} must be writable, but the finished file could not be moved there.")
  }
  invisible(file)
}

check_target <- function(file, overwrite) {
  if (!rlang::is_string(file)) {
    cli::cli_abort("{.arg file} must be one path, not {.obj_type_friendly {file}}.")
  }
  if (!dir.exists(dirname(file))) {
    cli::cli_abort(c(
      "{.arg file} must lie in a folder that exists: there is no {.path {dirname(file)}}.",
      i = "Create it with {.fun dir.create}."
    ))
  }
  if (file.exists(file) && !overwrite) {
    cli::cli_abort(c("{.path {file}} exists.", i = "Choose another name, or set {.code overwrite = TRUE}."))
  }
}

# Temporary, or beside `keep`, so that the run can be renamed into its place.
working_folder <- function(keep) {
  folder <- if (is.null(keep)) {
    tempfile("sailerx-")
  } else {
    tempfile(paste0(".", basename(keep), "-"), tmpdir = dirname(keep))
  }
  if (!dir.create(folder)) {
    cli::cli_abort("A temporary folder is needed, and {.path {folder}} cannot be made.", call = NULL)
  }
  normalizePath(folder)
}

keep_run <- function(folder, keep) {
  if (!file.rename(folder, keep)) {
    cli::cli_abort("The run cannot be moved to {.path {keep}} ({.arg keep}).", call = NULL)
  }
}

check_keep <- function(keep, call = rlang::caller_env()) {
  if (is.null(keep)) {
    return(NULL)
  }
  check_name(keep, "keep", call = call)
  if (file.exists(keep)) {
    cli::cli_abort(c(
      "{.arg keep} must be a new folder: {.path {keep}} is there already.",
      i = "Remove it or name another one."
    ), call = call)
  }
  if (!dir.exists(dirname(keep))) {
    cli::cli_abort("{.arg keep} must lie in a folder that exists: there is no {.path {dirname(keep)}}.", call = call)
  }
  file.path(normalizePath(dirname(keep)), basename(keep))
}
