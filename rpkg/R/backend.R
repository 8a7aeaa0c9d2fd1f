# Runs `python -m sailerx` and shows its progress, warnings and errors in R.

# The exit status when Python, and not R, was interrupted.
INTERRUPTED <- 130L

# Options of Python that an argument of RunSAILERX() sets, and the name of that argument.
own_options <- c(
  "output" = "keep", "o" = "keep", "embed" = "keep", "overwrite" = "keep",
  "rna-embedding" = "reference", "batch-key" = "batch", "continuous-key" = "covariates",
  "rna" = "rna.assay", "atac" = "atac.assay", "progress" = "verbose"
)

# The arguments in `...` as those of the command line: list(n_latent = 30, preset = "paper") becomes
# c("--n-latent=30", "--preset=paper"), and list(batch = c(donor = "a")) becomes "--batch=donor=a".
command_options <- function(options, own = own_options, call = rlang::caller_env()) {
  if (!length(options)) {
    return(character())
  }
  names <- sub("-+$", "", gsub("[._]", "-", rlang::names2(options)))
  if (any(names == "") || anyDuplicated(names)) {
    cli::cli_abort(c(
      "Model options in {.arg ...} must have different names: {.val {names}}.",
      i = "For example {.code RunSAILERX(object, n_latent = 30)}."
    ), call = call)
  }
  taken <- intersect(names, names(own))
  if (length(taken)) {
    cli::cli_abort("The option {.val {taken[1]}} must be set by the argument {.arg {own[[taken[1]]]}}, not in {.arg ...}.", call = call)
  }
  unlist(Map(command_option, names, options, MoreArgs = list(call = call)), use.names = FALSE)
}

command_option <- function(name, value, call) {
  if (is.null(value)) {
    return(character())
  }
  if (is.factor(value)) {
    value <- as.character(value)
  }
  if (!is.atomic(value) || !length(value) || anyNA(value)) {
    cli::cli_abort("The model option {.arg {name}} must be numbers or text without {.val {NA}}, not {.obj_type_friendly {value}}.", call = call)
  }
  is_level <- name == "batch"
  if (isTRUE(value) && !is_level) {
    return(paste0("--", name))
  }
  if (isFALSE(value) && !is_level) {
    return(paste0("--no-", name))
  }
  text <- if (is_level) level_text(value) else if (is.numeric(value)) number_text(value) else as.character(value)
  flag_values(paste0("--", name), paste0(if (!is.null(names(value))) paste0(utf8(names(value)), "="), utf8(text)))
}

# The shortest text that Python reads as the same number; whole numbers without an exponent.
number_text <- function(x) {
  vapply(x, function(value) {
    if (value == round(value) && abs(value) < 1e15) {
      return(sprintf("%.0f", value))
    }
    short <- format(value, digits = 15)
    if (as.numeric(short) == value) short else sprintf("%.17g", value)
  }, character(1))
}

fit_arguments <- function(folder, reference, batch, covariates, seed, verbose, options) {
  c(
    "fit", file.path(folder, "input.h5mu"),
    "-o", file.path(folder, "run"),
    "--embed", file.path(folder, "embedding.h5ad"),
    flag_values("--rna-embedding", if (!is.null(reference)) h5_key(paste0("X_", reference))),
    flag_values("--batch-key", batch),
    flag_values("--continuous-key", covariates),
    flag_values("--seed", if (!is.null(seed)) number_text(seed)),
    "--progress", if (verbose) "lines" else "none",
    options
  )
}

# run_sailerx() with all but `arguments` given, for verbs that run several commands.
python_runner <- function(backend, python, folder, verbose, modalities, call = rlang::caller_env()) {
  force(call)
  function(arguments) run_sailerx(arguments, backend, python, folder, verbose, modalities, call)
}

# Runs `python -m sailerx` with the arguments. Its warnings and errors become those of R. `modalities`: assays named by
# modality, to explain an error.
run_sailerx <- function(arguments, backend, python, folder, verbose, modalities = NULL, call = rlang::caller_env()) {
  lines <- character()
  show <- if (verbose) line_shower() else identity
  on_line <- function(line) {
    lines <<- c(lines, line)
    if (!grepl("^sailerx: (warning|error): ", line)) {
      show(line)
    }
  }
  if (verbose) {
    cli::cli_inform(c(i = "Running {.pkg sailerx} in {.path {python}}"))
  }
  run <- switch(backend, subprocess = run_subprocess, reticulate = run_in_process)
  status <- run(python, arguments, folder, on_line)
  raise_warnings(lines, call)
  if (status == INTERRUPTED) {
    rlang::interrupt()
  }
  if (status != 0) {
    abort_run(lines, status, python, modalities, call)
  }
}

# Interrupting R runs on.exit(), which ends Python and its child processes. If R itself is killed, processx's supervisor
# ends them.
run_subprocess <- function(python, arguments, folder, on_line) {
  own_supervisor <- !supervisor_runs()
  temporary <- tempfile("sailerx-python-")
  dir.create(temporary)
  on.exit(unlink(temporary, recursive = TRUE))
  # torch leaves folders in the directory for temporary files, so Python gets one of its own.
  environment <- c(python_environment(), TMPDIR = temporary, TEMP = temporary, TMP = temporary)
  process <- processx::process$new(
    python, c("-m", "sailerx", "--arguments", write_arguments(arguments, temporary)),
    stdout = "|", stderr = "2>&1", wd = folder, encoding = "UTF-8",
    cleanup_tree = TRUE, supervise = TRUE, env = environment[!duplicated(names(environment), fromLast = TRUE)]
  )
  on.exit(
    {
      process$kill_tree()
      if (own_supervisor) end_supervisor()
    },
    add = TRUE, after = FALSE
  )
  while (process$is_incomplete_output()) {
    process$poll_io(500)
    for (line in process$read_output_lines()) on_line(line)
  }
  process$wait()
  process$get_exit_status()
}

# The arguments as a JSON list in a file: a command line has a largest length, and holds text in the session's encoding only.
write_arguments <- function(arguments, folder) {
  path <- file.path(folder, "arguments.json")
  writeLines(jsonlite::toJSON(utf8(as.character(arguments))), path, useBytes = TRUE)
  path
}

# processx starts one supervisor for all processes of an R session. Its connections stay open until it is ended, and the
# files of the connections stay even then.
supervisor_runs <- function() {
  any(grepl("supervisor_stdin", showConnections(all = TRUE)[, "description"], fixed = TRUE))
}

end_supervisor <- function() {
  processx::supervisor_kill()
  unlink(Sys.glob(file.path(tempdir(), "supervisor_std*")))
}

run_in_process <- function(python, arguments, folder, on_line) {
  reticulate::use_python(python, required = TRUE)
  helper <- system.file("python", package = "sailerx", mustWork = TRUE)
  module <- reticulate::import_from_path("run_in_process", path = helper)
  as.integer(module$run(as.list(arguments), on_line))
}

raise_warnings <- function(lines, call) {
  pattern <- "^sailerx: warning: "
  for (text in sub(pattern, "", grep(pattern, lines, value = TRUE))) {
    rlang::warn(text, call = call, class = "sailerx_python_warning")
  }
}

abort_run <- function(lines, status, python, modalities, call) {
  pattern <- "^sailerx( [a-z]+)?: error: "
  start <- grep(pattern, lines)
  if (length(start)) {
    start <- start[length(start)]
    text <- lines[seq(start, length(lines))]
    text <- in_words_of_r(sub(pattern, "", text))
    where <- traceback_lines(lines[seq_len(start - 1)])
    text <- c(
      paste(text, collapse = "\n"), modality_hint(text, modalities),
      rlang::set_names(paste(where, collapse = "\n"), " ")[length(where) > 0]
    )
    rlang::abort(text, call = call, class = "sailerx_python_error", python_traceback = where)
  }
  tail <- escape_braces(utils::tail(lines, 12))
  cli::cli_abort(c(
    "Python ended with status {status} before the run was done.",
    rlang::set_names(tail, rep(" ", length(tail))),
    i = "Python: {.path {python}}. {.run sailerx::sailerx_sitrep()} checks the installation."
  ), call = call, class = "sailerx_python_error")
}

# What Python calls otherwise than R, in the text of an error.
in_words_of_r <- function(text) {
  text <- sub("run again with --traceback", "run again with traceback = TRUE", text, fixed = TRUE)
  for (name in c("rna-embedding", "batch-key", "continuous-key")) {
    own <- paste0("`", own_options[[name]], "`")
    text <- gsub(paste0("`", gsub("-", "_", name), "`(; in R ", own, ")?"), own, text)
  }
  text <- gsub("`([a-z_]+)=True`( \\(command line: --[a-z-]+\\))?", "`\\1 = TRUE`", text)
  text <- gsub(" (there are: none)", "", text, fixed = TRUE) # the file has no other reductions than the reference
  text <- vapply(text, with_region_from_one, character(1), USE.NAMES = FALSE)
  unknown <- grepl("^unrecognized arguments: ", text)
  text[unknown] <- vapply(text[unknown], options_of_r, character(1), USE.NAMES = FALSE)
  text
}

# --max-epochs=3 as `max_epochs`.
options_of_r <- function(text) {
  text <- sub("^unrecognized arguments: ", "there is no such option: ", text)
  flags <- gregexpr("--[^ =?)]+(=[^ ?)]*)?", text)
  names <- regmatches(text, flags)[[1]]
  regmatches(text, flags) <- list(paste0("`", gsub("-", "_", sub("=.*$", "", sub("^--", "", names))), "`", recycle0 = TRUE))
  text
}

# Python counts positions from 0, R from 1.
with_region_from_one <- function(text) {
  parts <- regmatches(text, regexec("region '(.+):([0-9]+)-([0-9]+)'", text))[[1]]
  if (!length(parts)) {
    return(text)
  }
  typed <- paste0("region '", parts[2], ":", number_text(as.numeric(parts[3]) + 1), "-", parts[4], "'")
  sub(parts[1], typed, text, fixed = TRUE)
}

# The lines from "Traceback (most recent call last):" on, which Python prints with the option `traceback`.
traceback_lines <- function(lines) {
  start <- utils::head(grep("^Traceback ", lines), 1)
  if (length(start)) lines[seq(start, length(lines))] else character()
}

# An error of Python names modalities; this says which assays they are.
modality_hint <- function(text, modalities) {
  if (!any(grepl("modality", text))) {
    return(character())
  }
  hint <- sprintf("Modality '%s' is the assay '%s'.", names(modalities), modalities)
  rlang::set_names(hint, rep("i", length(hint)))
}
