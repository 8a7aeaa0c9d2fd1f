test_that("counts move to the peaks that they overlap, in the reference's order and names", {
  skip_if_no_sailerx()
  object <- toy_object()
  reference <- toy_atac(toy_cells()[1:5], moved_peaks(50))[c(90:1), ]
  expect_silent(matched <- MatchPeaksSAILERX(object, reference, backend = toy_backend(), verbose = FALSE))
  counts <- SeuratObject::LayerData(matched[["matched"]], layer = "counts")
  expected <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  expect_equal(rownames(counts), rownames(reference[["peaks"]]))
  rownames(expected) <- moved_peaks(50)
  expect_equal(as.matrix(counts), as.matrix(expected[rownames(counts), ]))
  report <- SeuratObject::Misc(matched[["matched"]], slot = "matched.peaks")
  expect_equal(report$counts_kept, sum(expected), ignore_attr = TRUE)
  expect_setequal(setdiff(names(matched), names(object)), "matched")
  expect_equal(SeuratObject::DefaultAssay(matched), SeuratObject::DefaultAssay(object))
})

test_that("what does not overlap is lost, and the report says so", {
  skip_if_no_sailerx()
  object <- toy_object()
  reference <- toy_atac(toy_cells()[1:5])[1:30, ]
  expect_warning(matched <- MatchPeaksSAILERX(object, reference, assay.name = "few", backend = toy_backend(), verbose = FALSE), "counts")
  expect_equal(SeuratObject::Misc(matched[["few"]], slot = "matched.peaks")$peaks_kept, 30, ignore_attr = TRUE)
  expect_equal(nrow(matched[["few"]]), 30)
})

test_that("a ChromatinAssay's peaks make a ChromatinAssay", {
  skip_if_no_sailerx()
  skip_if_not_installed("Signac")
  reference <- suppressWarnings(as_signac(toy_object()))
  matched <- MatchPeaksSAILERX(toy_object(), reference, backend = toy_backend(), verbose = FALSE)
  expect_s4_class(matched[["matched"]], "ChromatinAssay")
  expect_equal(GenomicRanges::granges(matched[["matched"]]), GenomicRanges::granges(reference[["peaks"]]))
})

test_that("objects, names and options are checked", {
  expect_error(MatchPeaksSAILERX(matrix(1), toy_object()), "`object` must be a <Seurat> object")
  expect_error(MatchPeaksSAILERX(toy_object(), 1), "`reference` must be a <Seurat> object")
  expect_error(MatchPeaksSAILERX(toy_object(), toy_object(), assay.name = "pca"), "must be free")
  expect_error(MatchPeaksSAILERX(toy_object(), toy_object(), atac.assay = "ATAC"), "ATAC")
})
