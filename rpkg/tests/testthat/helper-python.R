# Asked once: each answer starts a Python.
skip_if_no_sailerx <- local({
  available <- NULL
  function() {
    available <<- available %||% sailerx_available()
    skip_if_not(available, "no Python with sailerx: see sailerx_sitrep()")
  }
})

# No place where Python might be found, but those set by the test.
local_no_python <- function(env = parent.frame()) {
  empty <- withr::local_tempdir(.local_envir = env)
  withr::local_options(sailerx.python = NULL, .local_envir = env)
  withr::local_dir(empty, .local_envir = env)
  withr::local_envvar(
    SAILERX_PYTHON = NA, RETICULATE_PYTHON = NA, VIRTUAL_ENV = NA, CONDA_PREFIX = NA,
    R_USER_DATA_DIR = empty, PATH = empty,
    .local_envir = env
  )
}

# A program that stands for a Python: answers the question whether it has
# sailerx with `has` (0 yes, 3 no), then runs the shell commands `does`.
fake_python <- function(has = 0, does = "exit 0", folder = NULL, name = "python", env = parent.frame()) {
  skip_on_os("windows")
  path <- file.path(folder %||% withr::local_tempdir(.local_envir = env), name)
  dir.create(dirname(path), recursive = TRUE, showWarnings = FALSE)
  writeLines(c("#!/bin/sh", sprintf("[ \"$1\" = -c ] && exit %d", has), does), path)
  Sys.chmod(path, "755")
  normalizePath(path)
}
