test_that("columns that do not fit are left out or renamed with a warning", {
  object <- small_object()
  object$day <- as.Date("2022-01-01") + 0:4
  object[["a/b"]] <- 1:5
  expect_warning(expect_warning(file <- local_written(object), "\"day\" left out"), "renamed to \"a_b\"")
  expect_true("a_b" %in% h5_attribute(h5_child(file, "obs"), "column-order"))
})

test_that("the columns of a modality join the metadata and go back where they came from", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  object <- random_object()
  SeuratObject::Misc(object, "h5mu") <- list(modalities = c(RNA = "rna"), columns = list(RNA = c(kind = "label")), global = "note")
  WriteH5MU(object, path)
  back <- ReadH5MU(path)
  expect_identical(back$kind, object$label, ignore_attr = TRUE)
  expect_identical(SeuratObject::Misc(back, "h5mu")$columns, list(RNA = c(kind = "kind")))
})
