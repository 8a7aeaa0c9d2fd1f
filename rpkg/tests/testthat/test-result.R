test_that("a reduction takes the order of the object's cells and drops none of its own", {
  embedding <- matrix(as.double(1:6), 3, dimnames = list(c("c", "a", "b"), NULL))
  result <- list(embedding = embedding, settings = list(seed = 1), versions = list(torch = "2"), history = data.frame(epoch = 0))
  reduction <- as_reduction(result, "peaks", "SAILERX_", c("a", "b", "c", "d"))
  expect_equal(
    SeuratObject::Embeddings(reduction),
    matrix(c(2, 3, 1, 5, 6, 4), 3, dimnames = list(c("a", "b", "c"), c("SAILERX_1", "SAILERX_2")))
  )
  expect_equal(SeuratObject::Misc(reduction)$settings, list(seed = 1))
  expect_equal(SeuratObject::Misc(reduction)$versions$torch, "2")
})

test_that("one latent dimension stays a matrix in an object", {
  embedding <- matrix(1, 60, 1, dimnames = list(rev(toy_cells()), NULL))
  result <- list(embedding = embedding, settings = list(), versions = list(), history = data.frame())
  object <- toy_object()
  object <- add_reduction(object, as_reduction(result, "peaks", "SAILERX_", colnames(object)), "sailerx")
  expect_equal(dim(SeuratObject::Embeddings(object, "sailerx")), c(60, 1))
})

test_that("the history is a data frame with a row per epoch, from the object or the reduction", {
  skip_if_no_sailerx()
  history <- sailerx_history(toy_result())
  expect_equal(history$epoch, c(0, 1), ignore_attr = TRUE)
  expect_type(history$loss, "double")
  expect_identical(sailerx_history(toy_result()[["sailerx"]]), history)
})

test_that("a reduction without history is refused, naming those that have one", {
  expect_error(sailerx_history(toy_object(), "pca"), "made by `RunSAILERX\\(\\)`: \"pca\" is none")
  expect_error(sailerx_history(1), "must be a <Seurat> object")
})
