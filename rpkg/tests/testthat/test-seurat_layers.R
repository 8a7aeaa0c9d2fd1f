test_that("v4 and v5 assays give the same matrix, and split layers are joined", {
  old <- SeuratObject::CreateAssayObject(small_counts())
  split <- small_object()
  split[["RNA"]] <- suppressWarnings(split(split[["RNA"]], f = c("a", "b", "a", "b", "b")))
  expect_gt(length(SeuratObject::Layers(split)), 1)
  expect_equal(layer_matrix(old, "counts", "RNA"), small_counts())
  expect_equal(layer_matrix(split[["RNA"]], "counts", "RNA")[, colnames(small_counts())], small_counts())
})

test_that("layers of genes and of peaks over the same cells are refused, with what to do", {
  counts <- list(`Gene Expression` = small_counts(), Peaks = small_counts(prefix = "peak"))
  object <- suppressWarnings(SeuratObject::CreateSeuratObject(counts))
  path <- withr::local_tempfile(fileext = ".h5mu")
  expect_error(WriteH5MU(object, path), "must be of different cells.*Gene Expression.*CreateAssay5Object")
  expect_false(file.exists(path))
  object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts$Peaks)
  expect_error(RunSAILERX(object), "must be of different cells")
})

test_that("the values of a written layer sum to those of the object", {
  object <- small_object()
  path <- withr::local_tempfile(fileext = ".h5mu")
  less <- small_counts()
  less@x[1] <- 0
  local_mocked_bindings(layer_matrix = function(...) less)
  expect_error(WriteH5MU(object, path), "sum to 306, those of the object to 307")
  expect_false(file.exists(path))
  split <- small_object()
  split[["RNA"]] <- suppressWarnings(split(split[["RNA"]], f = c("a", "b", "a", "b", "b")))
  expect_equal(layer_total(split[["RNA"]], "counts.a") + layer_total(split[["RNA"]], "counts.b"), 307)
})

test_that("a layer can be chosen, added or left out", {
  object <- small_object()
  SeuratObject::LayerData(object[["RNA"]], layer = "data") <- small_counts() / 3
  file <- local_written(object, layers = "data")
  expect_equal(read_features_by_cells(h5_child(file, "mod/rna/layers/data"))@x, c(1, 2, 300, 4) / 3)
  file <- local_written(object, layer = c(RNA = "data"))
  expect_equal(read_features_by_cells(h5_child(file, "mod/rna/X"))@x, c(1, 2, 300, 4) / 3)
  suppressWarnings(object[["smooth"]] <- SeuratObject::CreateAssay5Object(data = small_counts() / 3))
  file <- local_written(object)
  expect_equal(read_features_by_cells(h5_child(file, "mod/rna/X"))@x, c(1, 2, 300, 4))
  expect_equal(read_features_by_cells(h5_child(file, "mod/smooth/X"))@x, c(1, 2, 300, 4) / 3)
  file <- local_written(object, layer = NA)
  expect_false(h5_has(file, "mod/rna/X"))
})
