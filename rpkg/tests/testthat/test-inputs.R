test_that("the file for Python holds counts, reference and named columns, and no more", {
  object <- toy_object()
  object[["pca"]] <- SeuratObject::CreateDimReducObject(
    SeuratObject::Embeddings(object[["pca"]]), key = "PC_", assay = "peaks",
    loadings = matrix(1, 90, 4, dimnames = list(rownames(object[["peaks"]]), paste0("PC_", 1:4)))
  )
  object[["other"]] <- toy_reduction(toy_cells(), key = "other_")
  path <- withr::local_tempfile(fileext = ".h5mu")
  write_input(object, path, "RNA", "peaks", "pca", list(batch = "donor", covariates = "mito"))
  file <- hdf5r::H5File$new(path, mode = "r")
  withr::defer(file$close_all())
  expect_setequal(setdiff(hdf5r::list.datasets(file[["obs"]], recursive = FALSE), "_index"), "mito")
  expect_true(file$exists("obs/donor"))
  expect_false(file$exists("obs/plate"))
  expect_equal(names(file[["mod/rna/obsm"]]), "X_pca")
  expect_length(names(file[["mod/atac/obsm"]]), 0)
  expect_length(names(file[["mod/rna/varm"]]), 0)
  expect_equal(file[["mod/atac/X/data"]]$read(), SeuratObject::LayerData(object[["peaks"]], layer = "counts")@x)
})

test_that("RNA without counts travels with its depth column", {
  object <- with_normalised(toy_object(), "norm", paste0("gene", 1:50))
  path <- withr::local_tempfile(fileext = ".h5mu")
  write_input(object, path, "norm", "peaks", "pca", NULL)
  file <- hdf5r::H5File$new(path, mode = "r")
  withr::defer(file$close_all())
  expect_true(file$exists("obs/nCount_RNA"))
  expect_false(file$exists("mod/rna/X"))
})
