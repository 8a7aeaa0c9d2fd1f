test_that("a reduction is in the modality of its assay if that has all its cells, else at the top", {
  object <- with_peaks()
  values <- matrix(1:10 / 2, 5, dimnames = list(colnames(object), c("A_1", "A_2")))
  object[["all"]] <- SeuratObject::CreateDimReducObject(values, assay = "peaks", key = "A_")
  object[["some"]] <- SeuratObject::CreateDimReducObject(values[1:2, ], assay = "peaks", key = "B_")
  file <- local_written(object)
  expect_identical(h5_names(h5_child(file, "mod/atac/obsm")), "X_some")
  expect_identical(h5_names(h5_child(file, "obsm")), "X_all")
})

test_that("reductions and graphs are written with their assay", {
  object <- with_peaks(random_object()[, 1:5])
  written <- function(assays) choose_by_assay(object, SeuratObject::Reductions(object), NULL, assays, "reductions")
  expect_identical(written(c(rna = "RNA")), "pca")
  expect_identical(written(c(atac = "peaks")), character())
})

test_that("a graph without an assay is written, and the graphs beside it too", {
  object <- random_object()
  bare <- object[["RNA_nn"]]
  SeuratObject::DefaultAssay(bare) <- character()
  object[["bare"]] <- bare
  expect_setequal(choose_by_assay(object, SeuratObject::Graphs(object), NULL, c(rna = "RNA"), "graphs"), c("bare", "RNA_nn"))
  expect_setequal(SeuratObject::Graphs(local_round_trip(object)), c("bare", "RNA_nn"))
})
