# Objects as users have them: what Python would get is the same whatever they are made of.

with_peaks_as <- function(counts) {
  object <- toy_object()
  object[["peaks"]] <- NULL
  object[["peaks"]] <- suppressWarnings(SeuratObject::CreateAssay5Object(counts))
  object
}

peak_counts <- function() SeuratObject::LayerData(toy_object()[["peaks"]], layer = "counts")

test_that("dense layers and layers on disk are read, whole and split", {
  expected <- written(toy_object())$atac
  expect_equal(written(with_peaks_as(as.matrix(peak_counts())))$atac, expected)
  skip_if_not_installed("HDF5Array")
  for (on_disk in list(
    methods::as(peak_counts(), "HDF5Array"),
    HDF5Array::writeTENxMatrix(peak_counts(), withr::local_tempfile(), "counts")
  )) {
    object <- with_peaks_as(on_disk)
    expect_s4_class(SeuratObject::LayerData(object[["peaks"]], layer = "counts"), "DelayedMatrix")
    expect_equal(written(object)$atac, expected)
    object[["peaks"]] <- split(object[["peaks"]], object$donor)
    expect_equal(SeuratObject::Layers(object[["peaks"]]), c("counts.a", "counts.b"))
    expect_equal(written(object)$atac, expected)
  }
})

test_that("a layer of BPCells is read, whole and split", {
  skip_if_not_installed("BPCells")
  folder <- withr::local_tempdir()
  on_disk <- getExportedValue("BPCells", "write_matrix_dir")(methods::as(peak_counts(), "IterableMatrix"), file.path(folder, "counts"))
  object <- with_peaks_as(on_disk)
  expect_equal(written(object)$atac, written(toy_object())$atac)
  object[["peaks"]] <- split(object[["peaks"]], object$donor)
  expect_equal(written(object)$atac, written(toy_object())$atac)
})

test_that("merged objects are read cell by cell, and a peak that one of them lacks is 0 there", {
  other <- with_peaks_as(toy_counts(c(rev(toy_peaks()[11:90]), "chr3-1000-1500"), toy_cells(), seed = 5))
  merged <- suppressWarnings(merge(toy_object(), other, add.cell.ids = c("s1", "s2")))
  expect_gt(length(SeuratObject::Layers(merged[["peaks"]])), 1)
  found <- written(merged, reference = NULL)$atac
  expect_setequal(rownames(found), c(toy_peaks(), "chr3-1000-1500"))
  expect_equal(unname(found[toy_peaks(), 1:60]), unname(as.matrix(peak_counts())))
  own <- as.matrix(SeuratObject::LayerData(other[["peaks"]], layer = "counts"))
  expect_equal(unname(found[rownames(own), 61:120]), unname(own))
  expect_equal(sum(found["chr3-1000-1500", 1:60]) + sum(found[toy_peaks()[1:10], 61:120]), 0)
  expect_equal(colnames(found)[c(1, 61)], c("s1_cell1", "s2_cell1"))
  old <- suppressWarnings(merge(toy_object(), toy_object(SeuratObject::CreateAssayObject), add.cell.ids = c("s1", "s2")))
  expect_equal(unname(written(old, reference = NULL)$atac), unname(cbind(as.matrix(peak_counts()), as.matrix(peak_counts()))))
})

test_that("a subset of cells and features is read, with split layers too", {
  object <- toy_object()
  object[["peaks"]] <- split(object[["peaks"]], object$donor)
  cells <- toy_cells()[c(5, 3, 52, 54)]
  found <- written(suppressWarnings(subset(object, cells = cells)))
  expect_equal(found$atac[, cells], as.matrix(peak_counts())[, cells])
  found <- written(suppressWarnings(subset(toy_object(), features = c("gene3", "gene9", toy_peaks()[3:20]))))
  expect_equal(found$atac, as.matrix(peak_counts())[3:20, ])
  expect_equal(rownames(found$rna), c("gene3", "gene9"))
})

test_that("of several peak assays one must be named, and the others are left alone", {
  skip_if_no_sailerx()
  object <- toy_object()
  object[["ATAC"]] <- SeuratObject::CreateAssay5Object(toy_counts(toy_peaks()[1:40], toy_cells(), seed = 9))
  expect_error(RunSAILERX(object, reference = "pca"), "has 2 assays")
  result <- toy_run(object, reference = "pca")
  expect_identical(toy_embedding(result), toy_embedding(toy_result()))
  expect_identical(result[["ATAC"]], object[["ATAC"]])
})

test_that("factors, text, numbers and logicals name the same batches", {
  skip_if_no_sailerx()
  object <- toy_object()
  level <- rep(1:2, 30)
  kinds <- list(
    factor = factor(level), unused = factor(level, levels = c("0", "1", "2")), ordered = ordered(level), text = as.character(level),
    whole = level, double = as.double(level), other = factor(c("\u7d30 \u80de", "b/c=d")[level])
  )
  embeddings <- lapply(kinds, function(kind) {
    object$kind <- kind
    toy_embedding(toy_run(object, reference = "pca", batch = "kind"))
  })
  for (kind in names(kinds)[-7]) {
    expect_equal(embeddings[[kind]], embeddings$factor, info = kind)
  }
  expect_equal(nrow(embeddings$other), 60)
  object$kind <- as.Date("2022-01-01") + level
  expect_error(toy_run(object, batch = "kind"), "numbers, text, logicals or factors: \"kind\"")
})

test_that("an object that an older version saved is to be updated first", {
  old <- toy_object()
  attr(old, "images") <- NULL
  expect_error(RunSAILERX(old), "lacks \"images\".*UpdateSeuratObject")
  expect_error(WriteH5MU(old, tempfile(fileext = ".h5mu")), "UpdateSeuratObject")
  expect_error(MapSAILERX(toy_object(), old), "`query` must be an object of this version.*UpdateSeuratObject")
  oldest <- structure(list(), class = "seurat")
  expect_error(RunSAILERX(oldest), "UpdateSeuratObject")
  expect_error(ImputeSAILERX(oldest), "UpdateSeuratObject")
})
