test_that("whole files have no endless heap", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(random_object(), path)
  bytes <- readBin(path, "raw", file.size(path))
  expect_gt(length(grepRaw("GCOL", bytes, fixed = TRUE, all = TRUE)), 0)
  expect_false(has_endless_heap(path))
  expect_false(has_endless_heap(tempfile()))
})

test_that("a heap with zeros is refused and not read", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(random_object(), path)
  bytes <- readBin(path, "raw", file.size(path))
  start <- grepRaw("GCOL", bytes, fixed = TRUE)
  bytes[start + 16:500] <- as.raw(0)
  writeBin(bytes, path)
  expect_error(ReadH5MU(path), "texts.*damaged")
})

test_that("numbers of several bytes come lowest byte first", {
  expect_identical(numbers_at(as.raw(c(9, 1, 2, 0)), c(0, 1), 2), c(9 + 256, 1 + 512))
  expect_identical(numbers_at(raw(4), numeric(), 2), numeric())
})
