test_that("labels and RNA come from the cells that are most like the new ones", {
  skip_if_no_sailerx()
  kept <- toy_kept()
  kept$kind <- factor(ifelse(SeuratObject::Embeddings(toy_reduction(toy_cells()))[, 1] > 0, "b", "a"), c("b", "a", "never"))
  query <- toy_object()
  before <- query
  expect_no_warning(query <- toy_verb(
    TransferSAILERX, kept, query,
    labels = "kind", query.rna = "RNA", assay.name = "predicted", features = c("gene7", "gene3"), n_neighbors = 5
  ))
  expect_equal(setdiff(names(query), names(before)), "predicted")
  expect_setequal(setdiff(colnames(query[[]]), colnames(before[[]])), paste0("sailerx_", c("label", "confidence", "best_label", "typicality")))
  expect_equal(levels(query$sailerx_label), c("b", "a", "unknown"))
  expect_gt(mean(as.character(query$sailerx_best_label) == kept$kind), 0.8)
  expect_equal(
    query$sailerx_label == "unknown", query$sailerx_confidence < 0.5 | query$sailerx_typicality < 0.01,
    ignore_attr = TRUE
  )
  data <- SeuratObject::LayerData(query[["predicted"]], layer = "data")
  expect_equal(dimnames(data), list(c("gene7", "gene3"), toy_cells()))
  expect_gt(min(Matrix::rowSums(data)), 0)
  expect_s4_class(query[["TransferSAILERX.peaks.predicted"]], "SeuratCommand")
})

test_that("new cells need no RNA, may lie on other peaks, and identities can be labels", {
  skip_if_no_sailerx()
  kept <- toy_kept()
  SeuratObject::Idents(kept) <- kept$donor
  query <- toy_atac(toy_cells()[1:20])
  labelled <- toy_verb(TransferSAILERX, kept, query, labels = "ident", threshold = 0)
  expect_equal(levels(labelled$sailerx_label), c("a", "b", "unknown"))
  moved <- toy_verb(TransferSAILERX, kept, toy_atac(toy_cells()[1:20], moved_peaks(50)), labels = "ident", threshold = 0)
  expect_equal(moved$sailerx_confidence, labelled$sailerx_confidence, tolerance = 1e-5)
  expect_false("predicted" %in% names(labelled))
})

test_that("arguments are checked", {
  skip_if_no_sailerx()
  kept <- toy_kept()
  expect_snapshot(error = TRUE, {
    TransferSAILERX(kept, toy_atac(toy_cells()))
    TransferSAILERX(kept, toy_atac(toy_cells()), labels = "kind")
    TransferSAILERX(kept, toy_atac(toy_cells()), assay.name = "peaks")
    TransferSAILERX(kept, toy_atac(toy_cells()), assay.name = "predicted", features = "Sox2")
    TransferSAILERX(kept, toy_atac(toy_cells()), labels = "donor", genes = "gene1")
  })
})
