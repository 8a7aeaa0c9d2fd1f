test_that("a file that is there is replaced only if asked, and an error leaves nothing behind", {
  folder <- withr::local_tempdir()
  path <- file.path(folder, "\u00e9 a.h5mu")
  WriteH5MU(small_object(), path)
  expect_error(WriteH5MU(small_object(), path), "exists")
  expect_no_error(WriteH5MU(small_object(), path, overwrite = TRUE))
  expect_error(write_atomically(file.path(folder, "b"), FALSE, function(path) {
    writeLines("half", path)
    stop("the disk is full")
  }), "the disk is full")
  expect_identical(list.files(folder, all.files = TRUE, no.. = TRUE), basename(path))
})

test_that("a run is kept only in a new folder inside one that exists", {
  folder <- withr::local_tempdir()
  expect_null(check_keep(NULL))
  expect_equal(check_keep(file.path(folder, "run")), file.path(normalizePath(folder), "run"))
  expect_error(check_keep(folder), "new folder")
  expect_error(check_keep(file.path(folder, "no", "run")), "folder that exists")
  expect_error(check_keep(c("a", "b")), "one name")
})
