test_that("the active assay, identities and project come back", {
  object <- with_peaks()
  object$kind <- factor(c("x", "y", "x", "y", "x"), levels = c("y", "x", "unused"))
  SeuratObject::Idents(object) <- "kind"
  SeuratObject::DefaultAssay(object) <- "peaks"
  SeuratObject::Project(object) <- "mine"
  back <- local_round_trip(object, chromatin = FALSE)
  expect_identical(SeuratObject::DefaultAssay(back), "peaks")
  expect_identical(as.character(SeuratObject::Idents(back)), as.character(object$kind))
  expect_identical(SeuratObject::Project(back), "mine")
})

test_that("a note that is missing at any depth is NULL", {
  file <- local_h5()
  expect_null(read_note(file, "key"))
  write_dict(file, "uns")
  notes_group(file, "reductions")
  expect_null(read_note(file, "reductions", "pca", "key"))
  write_value(h5_child(file, "uns/seurat/reductions"), "pca", list(key = scalar("PC_")))
  expect_identical(read_note(file, "reductions", "pca", "key"), "PC_")
})

test_that("identities that a column of text holds come back", {
  object <- toy_object()
  object$type <- rep(c("b", "a", "c"), 20)
  SeuratObject::Idents(object) <- "type"
  path <- withr::local_tempfile(fileext = ".h5mu")
  expect_no_message(WriteH5MU(object, path))
  back <- ReadH5MU(path)
  expect_identical(as.character(SeuratObject::Idents(back)), object$type |> unname())
  expect_type(back$type, "character")
})
