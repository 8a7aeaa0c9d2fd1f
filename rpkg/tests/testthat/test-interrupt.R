# R in a process of its own, which can be interrupted as a user does it.
start_child <- function(code, env = parent.frame()) {
  skip_on_os("windows")
  skip_if_not(dir.exists(system.file("Meta", package = "sailerx")), "needs the installed package")
  script <- withr::local_tempfile(fileext = ".R", .local_envir = env)
  writeLines(c(
    sprintf("library(sailerx, lib.loc = '%s')", dirname(system.file(package = "sailerx"))),
    sprintf("source('%s')", normalizePath(test_path("helper-objects.R"))),
    code
  ), script)
  child <- processx::process$new(file.path(R.home("bin"), "Rscript"), script, stdout = "|", stderr = "2>&1")
  withr::defer(child$kill_tree(), envir = env)
  child
}

wait_until <- function(condition, seconds = 60) {
  deadline <- Sys.time() + seconds
  while (!condition() && Sys.time() < deadline) Sys.sleep(0.1)
  condition()
}

# Ended processes that nobody has collected yet (state Z) do not run.
is_running <- function(pid) {
  state <- suppressWarnings(system2("ps", c("-o", "stat=", "-p", pid), stdout = TRUE))
  length(state) == 1 && !startsWith(state, "Z")
}

test_that("an interrupt of R ends Python with its children and removes the files", {
  pids <- withr::local_tempfile()
  python <- fake_python(does = c("sleep 300 &", sprintf("echo $$ $! > '%s'", pids), "wait"))
  child <- start_child(c(
    sprintf("run <- function() RunSAILERX(toy_object(), atac.assay = 'peaks', python = '%s')", python),
    "tryCatch(run(), interrupt = function(condition) cat('interrupted\\n'))",
    "cat('left:', list.files(tempdir(), pattern = '^sailerx'), '\\n')"
  ))
  expect_true(wait_until(function() file.exists(pids) && length(scan(pids, quiet = TRUE)) == 2))
  running <- scan(pids, quiet = TRUE)
  expect_true(all(vapply(running, is_running, logical(1))))
  child$interrupt()
  child$wait(30000)
  expect_match(child$read_all_output(), "interrupted\nleft: +\n")
  expect_true(wait_until(function() !any(vapply(running, is_running, logical(1))), 10))
})

test_that("an R session that ends takes Python with it", {
  pids <- withr::local_tempfile()
  python <- fake_python(does = c("sleep 2", sprintf("echo $$ > '%s'", pids), "exec sleep 300"))
  child <- start_child(sprintf("RunSAILERX(toy_object(), atac.assay = 'peaks', python = '%s')", python))
  expect_true(wait_until(function() file.exists(pids) && length(scan(pids, quiet = TRUE)) == 1))
  child$signal(15)
  child$wait(30000)
  expect_true(wait_until(function() !is_running(scan(pids, quiet = TRUE)), 10))
})

test_that("the same call goes on from the checkpoint of a run that was killed", {
  skip_if_no_sailerx()
  run <- function(...) RunSAILERX(toy_object(), atac.assay = "peaks", reference = "pca", max_epochs = 150, threads = 1, device = "cpu", ...)
  state <- withr::local_tempfile()
  child <- start_child(c(
    sprintf("options(sailerx.python = '%s')", find_python()),
    paste("run <-", paste(deparse(run), collapse = "\n")),
    sprintf("run(checkpoint = '%s', checkpoint_epochs = 5)", state)
  ))
  expect_true(wait_until(function() file.exists(state)))
  child$kill_tree()
  expect_true(file.exists(state))
  messages <- capture_messages(resumed <- run(checkpoint = state, checkpoint_epochs = 5))
  expect_match(messages, "epoch", all = FALSE)
  expect_false(file.exists(state))
  expect_identical(toy_embedding(resumed), toy_embedding(run(backend = toy_backend(), verbose = FALSE)))
})
