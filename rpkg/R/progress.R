# Shows the lines that Python prints on R's console.

# "epoch 3/50: 900 cells/s, loss 12, 8 s left"
EPOCH_LINE <- "^epoch ([0-9]+)/([0-9]+): (.*)$"

# Returns a function that shows one line. An epoch moves a progress bar if the console can draw one; in a log file or a
# report it is a message, like every other line. The bar ends with the function that called this one.
line_shower <- function(envir = rlang::caller_env()) {
  force(envir)
  if (!cli::is_dynamic_tty()) {
    return(message)
  }
  bar <- NULL
  function(line) {
    epoch <- regmatches(line, regexec(EPOCH_LINE, line))[[1]]
    if (!length(epoch)) {
      return(cli::cli_verbatim(line))
    }
    bar <<- bar %||% cli::cli_progress_bar(
      total = as.integer(epoch[3]), clear = FALSE, .envir = envir,
      format = "{cli::pb_bar} epoch {cli::pb_current}/{cli::pb_total}: {cli::pb_status}"
    )
    cli::cli_progress_update(set = as.integer(epoch[2]), status = epoch[4], id = bar, .envir = envir)
  }
}
