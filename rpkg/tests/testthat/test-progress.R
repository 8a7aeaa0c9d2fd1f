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

test_that("a chunk of a report shows the progress as text, and warnings and errors as R's own", {
  skip_if_no_sailerx()
  skip_if_not_installed("rmarkdown")
  skip_if_not(rmarkdown::pandoc_available(), "pandoc is not installed")
  folder <- withr::local_tempdir()
  file <- file.path(folder, "report.Rmd")
  saveRDS(toy_object(), file.path(folder, "object.rds"))
  writeLines(c(
    "---", "title: report", "output: md_document", "---", "", "```{r, error = TRUE}",
    "object <- readRDS(\"object.rds\"); object$site <- \"one\"",
    "object <- sailerx::RunSAILERX(object, reference = \"pca\", batch = \"site\", n_latent = 3, max_epochs = 2, threads = 1)",
    "sailerx::RunSAILERX(object, gamma = -1, verbose = FALSE)", "```"
  ), file)
  page <- paste(readLines(rmarkdown::render(file, quiet = TRUE)), collapse = "\n")
  expect_match(page, "## epoch 2/2")
  expect_match(page, "## Warning.*batch column 'site' has one level")
  expect_match(page, "Error in `sailerx::RunSAILERX()`:\n    ## ! `gamma` must be", fixed = TRUE)
  expect_no_match(page, "\033", fixed = TRUE)
})

test_that("another process of the package future gives the same embedding", {
  skip_if_no_sailerx()
  skip_if_not_installed("future")
  library <- dirname(system.file(package = "sailerx"))
  skip_if_not(dir.exists(file.path(library, "sailerx", "Meta")), "needs the installed package")
  old <- future::plan(future::cluster, workers = 1)
  withr::defer(future::plan(old))
  python <- find_python()
  object <- toy_object()
  task <- future::future({
    .libPaths(c(library, .libPaths()))
    sailerx::RunSAILERX(
      object, reference = "pca", atac.assay = "peaks", n_latent = 3, max_epochs = 2, device = "cpu", threads = 1, python = python
    )
  }, seed = TRUE, globals = list(object = object, python = python, library = library), packages = character())
  result <- suppressMessages(future::value(task))
  expect_identical(toy_embedding(result), toy_embedding(toy_result()))
})
