# Why a file cannot be read or written, in one sentence each, and what to do. HDF5's own errors are pages long and name
# functions of its source.

# HDF5 could not open the file.
abort_unopened <- function(file, error, call) {
  why <- if (dir.exists(file)) {
    c("it is a folder", i = "Name a file. A {.val .zarr} folder is converted by Python: {.code sailerx.read(\"folder.zarr\").write(\"file.h5mu\")}.")
  } else if (file.access(file, 4L) != 0L) {
    c("you have no permission to read it", i = "Ask its owner for permission, or for a copy.")
  } else if (grepl("unable to lock", conditionMessage(error)) || is_whole_h5(file)) {
    c("another program has it open for writing", i = "Close it there, then try again.")
  } else {
    c("it is of another kind, or was cut short", i = "Write or copy it again.")
  }
  cli::cli_abort(c(paste0("{.arg file} must be an .h5mu file, but {.path {file}} cannot be opened as HDF5: ", why[[1]], "."), why[-1]), call = call)
}

# Whether a file begins as HDF5 does and is as long as it says, so that it was not cut short. HDF5's own reason why it cannot be
# opened may be missing: R cuts errors, and other packages bring other versions of HDF5.
is_whole_h5 <- function(file) {
  start <- readBin(file, "raw", 2048L)
  signature <- as.raw(c(0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a))
  at <- Filter(function(at) identical(start[at + 1:8], signature), c(0L, 512L, 1024L))
  if (!length(at)) {
    return(FALSE)
  }
  # the superblock of versions 0 to 3 has the end of the file here, in 8 bytes, the lowest first
  end_at <- at[1] + c("00" = 40L, "01" = 44L, "02" = 28L, "03" = 28L)[as.character(start[at[1] + 9L])]
  bytes <- as.integer(start[end_at + 1:8])
  !anyNA(bytes) && file.size(file) >= sum(bytes * 256^(0:7))
}

# Evaluates `value`, which reads the file; an error that is not of this package becomes a sentence about the file.
said_of_file <- function(file, value, call = rlang::caller_env()) {
  tryCatch(value, error = function(error) {
    if (inherits(error, "rlang_error")) rlang::cnd_signal(error)
    cli::cli_abort(c(
      "{.path {file}} cannot be read: {first_line(error)}.",
      i = "If it was cut short or is damaged, write or copy it again; {.code sailerx check} in Python says what a valid file lacks."
    ), call = call)
  })
}

# Evaluates `value`, which writes to the temporary file `path` that becomes `file`.
said_of_new_file <- function(file, path, value, call) {
  tryCatch(value, error = function(error) {
    if (inherits(error, "rlang_error")) rlang::cnd_signal(error)
    what <- if (file.access(dirname(path), 2L) != 0L) {
      c("you have no permission to write into its folder", i = "Choose another folder.")
    } else if (grepl("No space left|file write failed|quota", conditionMessage(error))) {
      c("the disk is full", i = "Free some space, or choose another disk.")
    } else {
      c(first_line(error), i = "Nothing was left behind.")
    }
    cli::cli_abort(c(paste0("{.path {file}} cannot be written: ", escape_braces(what[[1]]), "."), what[-1]), call = call)
  })
}

# The first line of an error's message that tells what went wrong.
first_line <- function(error) {
  lines <- trimws(strsplit(conditionMessage(error), "\n", fixed = TRUE)[[1]])
  reasons <- grep("^error #[0-9]+:", lines, value = TRUE)
  line <- if (length(reasons)) sub("^.*line [0-9]+: ", "", utils::tail(reasons, 1)) else c(lines[nzchar(lines)], "no reason given")[1]
  sub("[.!]+$", "", substr(line, 1, 300))
}
