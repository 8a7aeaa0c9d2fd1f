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

test_that("a feature column of a reserved name is written once, and stays the user's own", {
  object <- random_object()
  chosen <- rownames(object) %in% SeuratObject::VariableFeatures(object)
  own <- data.frame(highly_variable = chosen, means = as.double(1:20), row.names = rownames(object))
  object[["RNA"]] <- SeuratObject::AddMetaData(object[["RNA"]], own)
  expect_no_warning(back <- local_round_trip(object))
  expect_identical(SeuratObject::VariableFeatures(back), SeuratObject::VariableFeatures(object))
  expect_identical(back[["RNA"]][[]]$highly_variable, chosen)
  expect_identical(back[["RNA"]][[]]$means, as.double(1:20))

  object[["RNA"]] <- SeuratObject::AddMetaData(object[["RNA"]], data.frame(highly_variable = rev(chosen), row.names = rownames(object)))
  expect_warning(back <- local_round_trip(object), "\"highly_variable\".*is written as \"highly_variable_1\"")
  expect_identical(back[["RNA"]][[]]$highly_variable_1, rev(chosen))
  expect_identical(SeuratObject::VariableFeatures(back), SeuratObject::VariableFeatures(object))
})

test_that("names that HDF5 cannot hold, or two columns of one name, are renamed with a warning", {
  frame <- data.frame(1, 2, 3, 4, 5)
  names(frame) <- c("x", "x", ".", "..", NA)
  expect_warning(found <- safe_names(frame, "meta.data"), "renamed to")
  expect_identical(names(found), c("x", "x.1", "_", "_.1", "NA"))
  expect_equal(unlist(found, use.names = FALSE), as.double(1:5))
})

test_that("columns beyond what an HDF5 header holds are left out with a warning that names them", {
  frame <- as.data.frame(matrix(0, 2, MOST_COLUMNS + 2, dimnames = list(c("a", "b"), NULL)))
  expect_warning(kept <- safe_names(frame, "meta.data"), "2 are left out, \"V4001\" and\\s+\"V4002\"")
  expect_identical(ncol(kept), MOST_COLUMNS)
  file <- local_h5()
  h5_attr(file, "column-order", names(kept), scalar = FALSE)
  expect_identical(h5_attribute(file, "column-order"), names(kept))
  expect_error(h5_attr(file, "too many", paste0("V", 1:4200), scalar = FALSE), "major: Attribute")
})
