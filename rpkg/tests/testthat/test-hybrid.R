test_that("cells without RNA are trained beside the others, from one object or from two", {
  skip_if_no_sailerx()
  paired <- subset(toy_object(), cells = toy_cells()[1:40])
  expect_no_warning(result <- toy_run(paired, reference = "pca", unpaired = list(alone = toy_atac(toy_cells()[41:60]))))
  expect_named(result, c("object", "unpaired"))
  expect_equal(rownames(toy_embedding(result$object)), toy_cells()[1:40])
  expect_equal(rownames(toy_embedding(result$unpaired$alone)), toy_cells()[41:60])

  one <- toy_object()
  one[["pca"]] <- NULL
  SeuratObject::DefaultAssay(one) <- "peaks"
  one[["RNA"]] <- NULL
  suppressWarnings(one[["RNA"]] <- paired[["RNA"]])
  one[["pca"]] <- paired[["pca"]]
  expect_warning(one <- toy_run(one, reference = "pca"), "no 'rna'")
  expect_equal(rbind(toy_embedding(result$object), toy_embedding(result$unpaired$alone)), toy_embedding(one))
})

test_that("one object needs no list and no name", {
  skip_if_no_sailerx()
  paired <- subset(toy_object(), cells = toy_cells()[1:40])
  result <- toy_run(paired, reference = "pca", unpaired = toy_atac(toy_cells()[41:60]))
  expect_s4_class(result$unpaired, "Seurat")
  expect_equal(rownames(toy_embedding(result$unpaired)), toy_cells()[41:60])
})

test_that("several sets, with barcodes in common and other peaks, come back each to its object", {
  skip_if_no_sailerx()
  keep <- file.path(withr::local_tempdir(), "hybrid")
  unpaired <- list(same = toy_atac(toy_cells()[1:20]), moved = toy_atac(toy_cells()[21:50], moved_peaks(50), "ATAC"))
  expect_no_warning(
    result <- toy_run(toy_object(), reference = "pca", batch = "donor", unpaired = unpaired, keep = keep, atac_weight = 0.5)
  )
  settings <- SeuratObject::Misc(result$object[["sailerx"]], slot = "settings")
  expect_equal(settings$batch_key, c("donor", SET_COLUMN))
  expect_equal(settings$n_cells, 110)
  expect_equal(names(result$unpaired), names(unpaired))
  # The ATAC part, the last columns, takes accessibility alone, so that the same counts have the same place whatever their set.
  atac_part <- function(object) unname(toy_embedding(object)[, -seq_len(ncol(toy_object()[["pca"]]))])
  expected <- atac_part(result$object)
  expect_equal(atac_part(result$unpaired$same), expected[1:20, ], tolerance = 1e-5)
  expect_equal(atac_part(result$unpaired$moved), expected[21:50, ], tolerance = 1e-5)
  expect_equal(SeuratObject::DefaultAssay(result$unpaired$moved[["sailerx"]]), "ATAC")
  misc <- lapply(c(list(result$object), result$unpaired), function(object) SeuratObject::Misc(object[["sailerx"]]))
  expect_equal(vapply(misc, `[[`, "", "set"), c(PAIRED, "same", "moved"), ignore_attr = TRUE)
  expect_equal(lengths(lapply(misc, `[[`, "matched.peaks")) > 0, c(FALSE, FALSE, TRUE), ignore_attr = TRUE)
  expect_equal(misc[[3]]$run, misc[[1]]$run)
  expect_setequal(list.files(keep), c("input.h5mu", "run", "embedding.h5ad"))
  expect_equal(SeuratObject::Command(result$object, "RunSAILERX.peaks.sailerx", "unpaired"), c("same", "moved"))
})

test_that("unpaired objects are named, whole, and have the batches", {
  object <- toy_object()
  atac <- toy_atac(toy_cells())
  bare <- atac
  bare$donor <- NULL
  run <- function(unpaired, ...) RunSAILERX(object, atac.assay = "peaks", unpaired = unpaired, ...)
  expect_snapshot(error = TRUE, {
    run("atac")
    run(list(atac))
    run(list(paired = atac))
    run(list(a = atac, b = bare), batch = "donor")
    run(list(a = atac), reduction.name = "peaks")
    RunSAILERX(object[["peaks"]], rna = object[["RNA"]], unpaired = list(a = atac))
  })
})

test_that("RNA of unpaired objects is said to be without use, and names are asked for", {
  object <- toy_object()
  other <- SeuratObject::RenameCells(object, add.cell.id = "u")
  expect_message(check_unpaired(other, "peaks", NULL, "sailerx", "SAILERX_"), "RNA of \"unpaired\" is not used")
  expect_error(check_unpaired(list(other, other), "peaks", NULL, "sailerx", "SAILERX_"), "Name each object")
})
