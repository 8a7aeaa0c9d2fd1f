test_that("a file that another program has open, or that may not be read, is not called damaged", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(random_object(), path)
  other <- processx::process$new(file.path(R.home("bin"), "Rscript"), c(
    "-e", "f <- hdf5r::H5File$new(commandArgs(TRUE)[1], 'r+'); cat('open\\n'); invisible(readLines('stdin', 1))", path
  ), stdin = "|", stdout = "|")
  withr::defer(other$kill())
  other$poll_io(20000)
  error <- expect_error(ReadH5MU(path), "another program has it open for writing")
  expect_no_match(conditionMessage(error), "cut short")
  expect_error(ReadH5MU(withr::local_tempdir()), "it is a folder")
  mocked <- tryCatch(stop("unable to lock file"), error = identity)
  expect_error(abort_unopened(path, mocked, NULL), "another program")
})

test_that("what HDF5 says becomes one sentence", {
  long <- simpleError("HDF5-API Errors:\n  error #000: a.c in H5Fopen(): line 8: unable to open file\n    class: HDF5\n  error #001: b.c in f(): line 34: no such thing")
  expect_equal(first_line(long), "no such thing")
  expect_equal(first_line(simpleError("bad value.\nmore")), "bad value")
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(random_object(), path)
  file <- hdf5r::H5File$new(path, "r+")
  file[["mod/rna/obs"]]$link_delete("_index")
  file$close_all()
  expect_error(ReadH5MU(path), "cannot be read: .*write or copy it again")
})

test_that("a failure of writing says what and where, and leaves nothing", {
  folder <- withr::local_tempdir()
  path <- file.path(folder, "new.h5mu")
  expect_error(write_atomically(path, FALSE, function(path) stop("No space left on device")), "new.h5mu.*disk is full")
  expect_error(write_atomically(path, FALSE, function(path) stop("odd {thing}")), "cannot be written: odd \\{thing\\}")
  expect_error(write_atomically(path, FALSE, function(path) cli::cli_abort("our own")), "^our own$")
  expect_length(list.files(folder, all.files = TRUE, no.. = TRUE), 0)
})
