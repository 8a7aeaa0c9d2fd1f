test_that("epochs move a bar where the console can draw one, and other lines are messages", {
  withr::local_options(cli.dynamic = TRUE, cli.progress_show_after = 0, cli.ansi = FALSE, cli.width = 200)
  drawn <- character()
  run <- function() {
    show <- line_shower()
    for (line in c("500 cells on cpu", "epoch 1/4: 90 cells/s, loss 3, 6 s left", "epoch 4/4: 80 cells/s, loss 2, 0 s left")) show(line)
  }
  withCallingHandlers(run(), cliMessage = function(condition) {
    drawn <<- c(drawn, paste(condition$type, conditionMessage(condition)))
  }) |> utils::capture.output(type = "message") -> shown
  expect_match(paste(shown, collapse = "\n"), "epoch 4/4: 80 cells/s, loss 2, 0 s left", fixed = TRUE)
  expect_match(paste(shown, collapse = "\n"), "500 cells on cpu", fixed = TRUE)
  expect_equal(cli::cli_progress_num(), 0)
})

test_that("in a log file, every line is a message of its own", {
  withr::local_options(cli.dynamic = FALSE)
  show <- line_shower()
  expect_message(show("epoch 1/4: 90 cells/s"), "^epoch 1/4: 90 cells/s\n$")
})

test_that("a bar goes when the run is broken off", {
  withr::local_options(cli.dynamic = TRUE, cli.progress_show_after = 0, cli.ansi = FALSE)
  python <- fake_python(does = c("echo 'epoch 1/9: slow' >&2", "exit 130"))
  folder <- withr::local_tempdir()
  run <- function() run_sailerx("fit", "subprocess", python, folder, TRUE)
  utils::capture.output(caught <- tryCatch(run(), interrupt = function(condition) "interrupted"), type = "message")
  expect_equal(caught, "interrupted")
  expect_equal(cli::cli_progress_num(), 0)
})
