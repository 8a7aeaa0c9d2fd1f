test_that("a graph of some cells comes back with these cells and its edges", {
  object <- small_object()
  cells <- paste0("cell", c(1, 2, 4))
  edges <- matrix(c(0, 1, 0, 0.5, 0, 0, 0, 2, 0), 3, dimnames = list(cells, cells))
  object[["mine"]] <- SeuratObject::as.Graph(methods::as(edges, "CsparseMatrix"))
  back <- local_round_trip(object)[["mine"]]
  expect_identical(rownames(back), cells)
  expect_equal(as.matrix(back)[cells, cells], edges)
})

test_that("the graph of an assay is in its modality, any other at the top of the file", {
  object <- random_object()
  object[["other"]] <- object[["RNA_nn"]]
  file <- local_written(object)
  expect_identical(h5_names(h5_child(file, "mod/rna/obsp")), "nn")
  expect_identical(h5_names(h5_child(file, "obsp")), "other")
})
