test_that("only objects with assays are taken", {
  expect_snapshot(RunSAILERX(matrix(1)), error = TRUE)
  expect_error(RunSAILERX(NULL), "not `NULL`")
})

test_that("the object grows by a reduction and a log entry alone", {
  skip_if_no_sailerx()
  object <- toy_object()
  result <- toy_run(object, reference = "pca", batch = c("donor", "plate"), covariates = "mito")
  expect_s4_class(result[["sailerx"]], "DimReduc")
  expect_equal(setdiff(names(result), names(object)), "sailerx")
  expect_equal(SeuratObject::Command(result), "RunSAILERX.peaks.sailerx")
  expect_lt(object.size(result[["RunSAILERX.peaks.sailerx"]]), 20000)
  stripped <- result
  stripped[["sailerx"]] <- NULL
  stripped[["RunSAILERX.peaks.sailerx"]] <- NULL
  expect_equal(stripped, object)
})

test_that("the reduction has its key, assay, names and record", {
  skip_if_no_sailerx()
  reduction <- toy_run(toy_object(), seed = 4)[["sailerx"]]
  embedding <- SeuratObject::Embeddings(reduction)
  expect_equal(SeuratObject::Key(reduction), c(sailerx = "SAILERX_"), ignore_attr = TRUE)
  expect_equal(SeuratObject::DefaultAssay(reduction), "peaks")
  expect_equal(dimnames(embedding), list(toy_cells(), paste0("SAILERX_", 1:3)))
  expect_equal(unname(rowSums(embedding^2)), rep(1, 60), tolerance = 1e-6)
  misc <- SeuratObject::Misc(reduction)
  expect_equal(misc$settings$n_latent, 3)
  expect_equal(misc$settings$seed, 4)
  expect_equal(misc$history$epoch, c(0, 1), ignore_attr = TRUE)
  expect_type(misc$history$loss, "double")
  expect_true(all(c("R", "SeuratObject", "torch") %in% names(misc$versions)))
  expect_null(misc$run)
})

test_that("the log says how the reduction was made, even by do.call", {
  skip_if_no_sailerx()
  result <- do.call(toy_run, list(toy_object(), reference = "pca", batch = "donor"))
  command <- result[["RunSAILERX.peaks.sailerx"]]
  expect_equal(command$batch, "donor")
  expect_equal(command$n_latent, 3)
  expect_lt(object.size(command), 20000)
  expect_lt(nchar(command@call.string), 1000)
})

test_that("the same seed gives the same embedding, another seed another one", {
  skip_if_no_sailerx()
  embedding <- function(...) SeuratObject::Embeddings(toy_run(toy_object(), ...), "sailerx")
  first <- embedding(reference = "pca", seed = 1)
  expect_identical(embedding(reference = "pca", seed = 1), first)
  expect_false(isTRUE(all.equal(embedding(reference = "pca", seed = 2), first)))
})

test_that("running twice replaces, and another name does not clash", {
  skip_if_no_sailerx()
  object <- toy_run(toy_object())
  expect_no_warning(object <- RunSAILERX(
    object, atac.assay = "peaks", n_latent = 2, max_epochs = 1, device = "cpu", threads = 1, verbose = FALSE
  ))
  expect_equal(ncol(object[["sailerx"]]), 2)
  expect_no_warning(object <- toy_run(object, reduction.name = "sailerx.b"))
  expect_equal(SeuratObject::Key(object[["sailerx.b"]]), c(sailerx.b = "SAILERXB_"), ignore_attr = TRUE)
  expect_equal(colnames(object[["sailerx.b"]]), paste0("SAILERXB_", 1:3))
  expect_equal(SeuratObject::Command(object), c("RunSAILERX.peaks.sailerx", "RunSAILERX.peaks.sailerx.b"))
})

test_that("v4 and v5 assays, split or whole, give the same embedding", {
  skip_if_no_sailerx()
  v5 <- toy_object()
  expected <- SeuratObject::Embeddings(toy_run(v5, reference = "pca"), "sailerx")
  v4 <- toy_object(SeuratObject::CreateAssayObject)
  expect_identical(SeuratObject::Embeddings(toy_run(v4, reference = "pca"), "sailerx"), expected)
  v5[["RNA"]] <- split(v5[["RNA"]], v5$plate)
  v5[["peaks"]] <- split(v5[["peaks"]], v5$donor)
  expect_identical(SeuratObject::Embeddings(toy_run(v5, reference = "pca"), "sailerx"), expected)
  expect_equal(SeuratObject::Layers(v5[["peaks"]]), c("counts.a", "counts.b"))
})

test_that("a ChromatinAssay is found without being named and gives the same embedding", {
  skip_if_not_installed("Signac")
  skip_if_no_sailerx()
  object <- toy_object()
  expected <- SeuratObject::Embeddings(toy_run(object, reference = "pca"), "sailerx")
  counts <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  object[["peaks"]] <- NULL
  object[["open"]] <- Signac::CreateChromatinAssay(counts, sep = c("-", "-"))
  result <- RunSAILERX(
    object, reference = "pca", n_latent = 3, max_epochs = 2, device = "cpu", threads = 1, verbose = FALSE
  )
  expect_equal(SeuratObject::DefaultAssay(result[["sailerx"]]), "open")
  expect_identical(SeuratObject::Embeddings(result, "sailerx"), expected)
})

test_that("Signac's example object can be embedded", {
  skip_if_not_installed("Signac")
  skip_if_no_sailerx()
  object <- Signac::atac_small
  expect_no_error(result <- RunSAILERX(
    object, atac.assay = "peaks", rna.assay = "RNA", n_latent = 3, max_epochs = 2, device = "cpu", threads = 1, verbose = FALSE
  ))
  expect_setequal(SeuratObject::Cells(result[["sailerx"]]), colnames(object))
})

test_that("assays alone give the same reduction as the object that holds them", {
  skip_if_no_sailerx()
  object <- toy_object()
  expected <- toy_run(object, reference = "pca", batch = "donor")[["sailerx"]]
  reduction <- RunSAILERX(
    object[["peaks"]], rna = object[["RNA"]], reference = object[["pca"]], meta.data = object[[]], batch = "donor",
    n_latent = 3, max_epochs = 2, device = "cpu", threads = 1, verbose = FALSE
  )
  expect_identical(SeuratObject::Embeddings(reduction), SeuratObject::Embeddings(expected))
  expect_error(RunSAILERX(object[["peaks"]], rna = "RNA"), "must be an RNA assay")
  expect_error(RunSAILERX(object[["peaks"]], rna = object[["RNA"]], reference = "pca"), "DimReduc")
})

test_that("cells are matched by name", {
  skip_if_no_sailerx()
  object <- toy_object()
  expected <- SeuratObject::Embeddings(toy_run(object, reference = "pca"), "sailerx")
  counts <- SeuratObject::LayerData(object[["RNA"]], layer = "counts")
  object[["gex"]] <- suppressWarnings(SeuratObject::CreateAssay5Object(counts[, rev(colnames(counts))]))
  result <- toy_run(object, reference = "pca", rna.assay = "gex")
  expect_identical(SeuratObject::Embeddings(result, "sailerx"), expected)
})

test_that("cells without a peak assay have no row", {
  skip_if_no_sailerx()
  object <- toy_object()
  object[["few"]] <- SeuratObject::CreateAssay5Object(toy_counts(toy_peaks(), toy_cells()[1:50], seed = 2))
  result <- suppressWarnings(RunSAILERX(
    object, atac.assay = "few", n_latent = 3, max_epochs = 1, device = "cpu", threads = 1, verbose = FALSE
  ))
  expect_equal(SeuratObject::Cells(result[["sailerx"]]), toy_cells()[1:50])
})

test_that("a run is kept whole where it was asked for", {
  skip_if_no_sailerx()
  folder <- normalizePath(withr::local_tempdir())
  keep <- file.path(folder, "my r\u00fcn")
  result <- toy_run(toy_object(), keep = keep)
  expect_setequal(list.files(keep), c("input.h5mu", "run", "embedding.h5ad"))
  expect_equal(SeuratObject::Misc(result[["sailerx"]], slot = "run"), file.path(keep, "run"))
  expect_equal(list.files(folder, all.files = TRUE, no.. = TRUE), "my r\u00fcn")
})

test_that("an error of Python leaves no file, in the temporary folder or beside `keep`", {
  skip_if_no_sailerx()
  folder <- normalizePath(withr::local_tempdir())
  before <- list.files(tempdir())
  expect_error(toy_run(toy_object(), gamma = -1, keep = file.path(folder, "run")), "gamma", class = "sailerx_python_error")
  expect_error(toy_run(toy_object(), no_such_option = 1), "no-such-option", class = "sailerx_python_error")
  expect_equal(list.files(folder, all.files = TRUE, no.. = TRUE), character())
  expect_equal(list.files(tempdir()), before)
})

test_that("bad values are refused in Python's words, which name the assay", {
  skip_if_no_sailerx()
  object <- toy_object()
  counts <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  SeuratObject::LayerData(object[["peaks"]], layer = "counts") <- log1p(counts)
  expect_error(toy_run(object), "whole numbers.*'atac' is the assay 'peaks'")
  object <- toy_object()
  object$donor[3] <- NA
  expect_error(toy_run(object, batch = "donor"), "donor.*cell3")
  object$site <- "one"
  expect_warning(toy_run(object, batch = "site"), "site.*one level")
  expect_error(toy_run(object, covariates = "site"), "site.*numeric")
})

test_that("progress shows while Python runs", {
  skip_if_no_sailerx()
  expect_message(
    RunSAILERX(toy_object(), atac.assay = "peaks", n_latent = 3, max_epochs = 2, device = "cpu", threads = 1),
    "epoch 2/2.*cells/s"
  )
})
