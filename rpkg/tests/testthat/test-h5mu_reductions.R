test_that("a reduction of some cells has NaN for the others", {
  object <- small_object()
  embedding <- matrix(1:6 / 2, 3, dimnames = list(paste0("cell", c(1, 3, 5)), c("PC_1", "PC_2")))
  object[["pca"]] <- SeuratObject::CreateDimReducObject(embedding, assay = "RNA", key = "PC_")
  file <- local_written(object)
  stored <- t(h5_read(h5_child(file, "mod/rna/obsm/X_pca")))
  expect_equal(stored[c(1, 3, 5), ], unname(embedding))
  expect_true(all(is.na(stored[c(2, 4), ])))
})
