test_that("files that cannot be read are refused with a reason", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  expect_error(ReadH5MU(path), "there is no")
  writeLines("text", path)
  expect_error(ReadH5MU(path), "cannot be opened as HDF5")
  unlink(path)
  WriteH5MU(random_object(), path)
  expect_error(ReadH5MU(path, assays = "atac"), "no \"atac\".*\"rna\"")
  file <- hdf5r::H5File$new(path, "r+")
  hdf5r::h5attr(file, "sailerx-format") <- 2L
  file$close_all()
  expect_error(ReadH5MU(path), "version 1 or older, but it is of version 2")
})
