test_that("a missing assay, reduction or column is named beside those that are there", {
  object <- toy_object()
  expect_snapshot(error = TRUE, {
    RunSAILERX(object, atac.assay = "ATAC")
    RunSAILERX(object, atac.assay = "peaks", rna.assay = "SCT")
    RunSAILERX(object, atac.assay = "peaks", rna.assay = "peaks")
    RunSAILERX(object, atac.assay = "peaks", reference = "umap")
    RunSAILERX(object, atac.assay = "peaks", batch = c("donor", "library"))
    RunSAILERX(object, atac.assay = "peaks", covariates = "depth")
    RunSAILERX(object, atac.assay = "peaks", batch = 1:2)
  })
})

test_that("the peak assay is found where there is only one", {
  object <- toy_object()
  expect_equal(check_atac_assay(object, NULL), "peaks")
  object[["ATAC"]] <- SeuratObject::CreateAssay5Object(toy_counts(toy_peaks(), toy_cells()))
  expect_error(check_atac_assay(object, NULL), "has 2 assays.*RNA.*peaks.*ATAC")
  object[["ATAC"]] <- NULL
  object[["peaks"]] <- NULL
  expect_error(check_atac_assay(object, NULL), "has 0 assays.*RNA")
})

test_that("an object without reductions says so", {
  object <- toy_object()
  object[["pca"]] <- NULL
  expect_error(RunSAILERX(object, atac.assay = "peaks", reference = "pca"), "none")
})

test_that("a reference must cover every cell with RNA", {
  object <- toy_object()
  object[["half"]] <- toy_reduction(toy_cells()[1:58], key = "half_")
  expect_error(RunSAILERX(object, atac.assay = "peaks", reference = "half"), "lacks 2 cells.*cell59")
})

test_that("an assay without counts is refused, naming its layers", {
  object <- with_normalised(toy_object(), "peaks", toy_peaks())
  expect_snapshot(RunSAILERX(object, atac.assay = "peaks"), error = TRUE)
})

test_that("RNA without counts is refused only where PCA is to be computed", {
  object <- with_normalised(toy_object(), "norm", paste0("gene", 1:50))
  expect_error(check_rna_assay(object, "norm", "peaks", NULL), "must have counts")
  expect_equal(check_rna_assay(object, "norm", "peaks", "pca"), "norm")
})

test_that("the RNA assay is RNA, else the assay of the reference", {
  object <- toy_object()
  expect_equal(check_rna_assay(object, NULL, "peaks", NULL), "RNA")
  object <- suppressWarnings(SeuratObject::RenameAssays(object, RNA = "gex", verbose = FALSE))
  expect_error(check_rna_assay(object, NULL, "peaks", NULL), "peaks.*gex")
  expect_equal(check_rna_assay(object, NULL, "peaks", "pca"), "gex")
})

test_that("names that Seurat would change or that are taken are refused", {
  object <- toy_object()
  expect_snapshot(error = TRUE, {
    RunSAILERX(object, atac.assay = "peaks", reduction.name = "my sailerx")
    RunSAILERX(object, atac.assay = "peaks", reduction.name = "peaks")
    RunSAILERX(object, atac.assay = "peaks", reduction.key = "SAILER_X")
    RunSAILERX(object, atac.assay = "peaks", seed = 1.5)
  })
})

test_that("a checkpoint is a file in a folder that exists, and its path is made absolute", {
  folder <- withr::local_tempdir()
  expect_null(check_checkpoint(NULL))
  expect_equal(withr::with_dir(folder, check_checkpoint("state")), file.path(normalizePath(folder), "state"))
  expect_error(check_checkpoint(folder), "must be a file")
  expect_error(check_checkpoint(file.path(folder, "no", "state")), "folder that exists")
})

test_that("a reference of the peak assay is warned of", {
  object <- toy_object()
  object[["lsi"]] <- toy_reduction(toy_cells(), "peaks", "LSI_")
  expect_warning(check_reference(object, "lsi", "RNA", "peaks"), "ATAC would teach itself")
  expect_no_warning(check_reference(object, "pca", "RNA", "peaks"))
})

test_that("seeds that Python would refuse are refused before anything is written", {
  for (seed in list(-1, 2^32, 1.5, c(1, 2), "a", NA)) expect_error(check_seed(seed), "from 0 to 4294967295")
  for (seed in list(NULL, 0, 2^32 - 1)) expect_no_error(check_seed(seed))
})

test_that("an assay takes no names of parts of an object", {
  object <- toy_object()
  expect_error(RunSAILERX(object[["peaks"]], object[["RNA"]], reduction.name = "x"), "`reduction.name` names a part")
  expect_error(RunSAILERX(object[["peaks"]]), "`rna` must be an RNA assay, not NULL")
})
