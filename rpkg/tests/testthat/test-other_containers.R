toy_list <- function() {
  object <- toy_object()
  counts <- function(assay) SeuratObject::LayerData(object[[assay]], layer = "counts")
  list(`Gene Expression` = counts("RNA"), Peaks = `rownames<-`(counts("peaks"), sub("-", ":", toy_peaks())))
}

# What the toy object gives with the peaks called as Cell Ranger calls them.
toy_embedding_of_list <- local({
  result <- NULL
  function() {
    result <<- result %||% RunSAILERX(
      toy_list(), backend = toy_backend(), verbose = FALSE, n_latent = 3, max_epochs = 2, device = "cpu", threads = 1
    )
    result
  }
})

test_that("the list that Read10X_h5() returns is taken, and becomes a Seurat object", {
  skip_if_no_sailerx()
  found <- toy_embedding_of_list()
  expect_s4_class(found, "Seurat")
  expect_setequal(SeuratObject::Assays(found), c("RNA", "ATAC"))
  expect_equal(toy_embedding(found), toy_embedding(toy_run(toy_object())), tolerance = 1e-6)
})

test_that("lists without genes and peaks, or of other cells, are refused with what to do", {
  expect_error(RunSAILERX(list(a = 1, b = 2)), "one element of genes and one of peaks.*\"a\" and \"b\"")
  other <- toy_list()
  colnames(other$Peaks) <- paste0("x", 1:60)
  expect_error(RunSAILERX(other), "no name of a cell is in both")
  three <- c(toy_list(), list(`Antibody Capture` = 1))
  expect_warning(try(RunSAILERX(three, atac.assay = "none"), silent = TRUE), "Antibody Capture")
})

test_that("names that Seurat rewrites are kept beside", {
  counts <- small_counts()
  rownames(counts) <- c("MT_CO1", "A", "A", "b|c", "d", "e")
  assay <- assay_of_counts(counts)
  expect_identical(names_in_file(assay), rownames(counts))
  expect_equal(sum(SeuratObject::LayerData(assay, layer = "counts")), sum(counts))
})

test_that("a SingleCellExperiment with an alternative experiment gains a reduced dimension", {
  skip_if_not_installed("SingleCellExperiment")
  skip_if_no_sailerx()
  counts <- toy_list()
  sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts[[1]]), altExps = list(
    Peaks = SingleCellExperiment::SingleCellExperiment(list(counts = counts[[2]]))
  ))
  found <- toy_run(sce, atac.assay = "ATAC")
  expect_equal(
    unname(SingleCellExperiment::reducedDim(found, "sailerx")), unname(toy_embedding(toy_embedding_of_list())),
    ignore_attr = TRUE
  )
  expect_equal(unname(found$sailerx_atac_weight), unname(toy_embedding_of_list()$sailerx_atac_weight))
  expect_error(toy_run(sce, atac.assay = "ATAC", reference = "PCA"), "no \"PCA\"")
})

test_that("a MultiAssayExperiment gains an experiment with the embedding", {
  skip_if_not_installed("MultiAssayExperiment")
  skip_if_no_sailerx()
  counts <- rlang::set_names(toy_list(), c("rna", "atac"))
  mae <- MultiAssayExperiment::MultiAssayExperiment(counts)
  found <- toy_run(mae, atac.assay = "ATAC")
  expect_equal(unname(t(found[["sailerx"]])), unname(toy_embedding(toy_embedding_of_list())), ignore_attr = TRUE)
})

test_that("cells of one name are refused: their rows could not be told apart", {
  skip_if_not_installed("SingleCellExperiment")
  counts <- lapply(toy_list(), function(matrix) `colnames<-`(matrix, rep(toy_cells()[1:30], 2)))
  expect_error(RunSAILERX(counts), "name of its own.*30 names occur.*\"cell1\"")
  sce <- SingleCellExperiment::SingleCellExperiment(list(counts = counts[[1]]), altExps = list(
    Peaks = SingleCellExperiment::SingleCellExperiment(list(counts = counts[[2]]))
  ))
  expect_error(RunSAILERX(sce), "name of its own")
  expect_error(RunSAILERX(lapply(toy_list(), unname)), "no names")
  expect_error(RunSAILERX(sce, unpaired = toy_object()), "needs `object` to be a <Seurat> object")
})

test_that("an embedding of that name in a MultiAssayExperiment is replaced", {
  skip_if_not_installed("MultiAssayExperiment")
  skip_if_no_sailerx()
  counts <- toy_list()
  object <- MultiAssayExperiment::MultiAssayExperiment(list(RNA = counts[[1]], ATAC = counts[[2]]))
  once <- toy_run(object, atac.assay = "ATAC")
  twice <- toy_run(once, atac.assay = "ATAC")
  expect_identical(names(twice), c("RNA", "ATAC", "sailerx"))
  expect_equal(twice[["sailerx"]], once[["sailerx"]])
  expect_error(RunSAILERX(object, unpaired = toy_object()), "needs `object` to be a <Seurat> object")
})
