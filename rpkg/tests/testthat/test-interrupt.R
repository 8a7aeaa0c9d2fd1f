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
