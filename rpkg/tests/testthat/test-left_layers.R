# An assay with a layer of other features than those that subset() keeps.
left_behind <- function(kept = paste0("gene", 4:6)) {
  assay <- small_object()[["RNA"]]
  scaled <- as.matrix(small_counts()[1:2, ])
  SeuratObject::LayerData(assay, layer = "scale.data") <- scaled
  object <- SeuratObject::CreateSeuratObject(assay)
  suppressWarnings(subset(object, features = kept))
}

test_that("a layer without any of the features that subset() kept is dropped, and the rest is written", {
  object <- left_behind()
  skip_if_not(any(vapply(object@assays, has_left_layers, logical(1))), "this SeuratObject drops such layers itself")
  expect_message(file <- local_written(object), "left layer \"scale.data\"")
  expect_identical(read_index(h5_child(file, "mod/rna/var")), paste0("gene", 4:6))
  expect_equal(as.matrix(read_features_by_cells(h5_child(file, "mod/rna/X"))), as.matrix(small_counts()[4:6, ]), ignore_attr = TRUE)
  sound <- suppressMessages(check_seurat(object))
  expect_equal(dim(sound), c(3, 5))
  expect_identical(rownames(sound[["RNA"]][[]]), paste0("gene", 4:6))
})

test_that("where it cannot be told which layer was left, what to do is said", {
  map <- cbind(a = c(TRUE, TRUE, FALSE, FALSE), b = c(FALSE, FALSE, TRUE, TRUE))
  expect_null(left_layers(map, 2))
  expect_identical(left_layers(map[c(1, 2, 3), ], 2), "b")
})
