test_that("only objects with assays are taken", {
  expect_snapshot(RunSAILERX(matrix(1)), error = TRUE)
  expect_error(RunSAILERX(NULL), "must be a .* object")
})

test_that("the object grows by a reduction, a column of metadata and a log entry alone", {
  skip_if_no_sailerx()
  object <- toy_object()
  result <- toy_result()
  expect_equal(setdiff(names(result), names(object)), "sailerx")
  expect_equal(SeuratObject::Command(result), "RunSAILERX.peaks.sailerx")
  expect_equal(setdiff(colnames(result[[]]), colnames(object[[]])), "sailerx_atac_weight")
  expect_identical(result[[]][colnames(object[[]])], object[[]])
  parts <- setdiff(methods::slotNames(object), c("reductions", "commands", "meta.data"))
  for (part in parts) {
    expect_identical(methods::slot(result, part), methods::slot(object, part))
  }
  expect_identical(result[["pca"]], object[["pca"]])
})

test_that("the reduction has its key, assay and names", {
  skip_if_no_sailerx()
  reduction <- toy_result()[["sailerx"]]
  embedding <- SeuratObject::Embeddings(reduction)
  expect_s4_class(reduction, "DimReduc")
  expect_equal(SeuratObject::Key(reduction), "SAILERX_", ignore_attr = TRUE)
  expect_equal(SeuratObject::DefaultAssay(reduction), "peaks")
  expect_equal(dimnames(embedding), list(toy_cells(), paste0("SAILERX_", seq_len(ncol(embedding)))))
  # The RNA part has as many columns as the reference.
  expect_equal(unname(rowSums(embedding[, seq_len(ncol(toy_object()[["pca"]]))]^2)), rep(1, 60), tolerance = 1e-6)
})

test_that("the weight of ATAC is its share of the squared length of a row", {
  skip_if_no_sailerx()
  result <- toy_result()
  squares <- SeuratObject::Embeddings(result, "sailerx")^2
  of_rna <- seq_len(ncol(result[["pca"]]))
  expect_equal(result$sailerx_atac_weight, 1 - rowSums(squares[, of_rna, drop = FALSE]) / rowSums(squares), tolerance = 1e-5)
})

test_that("Seurat finds neighbours in it", {
  skip_if_not_installed("Seurat")
  skip_if_no_sailerx()
  result <- Seurat::FindNeighbors(toy_result(), reduction = "sailerx", dims = 1:3, verbose = FALSE)
  expect_equal(SeuratObject::Graphs(result), c("peaks_nn", "peaks_snn"))
})

test_that("settings, versions and history are kept with the reduction", {
  skip_if_no_sailerx()
  misc <- SeuratObject::Misc(toy_result()[["sailerx"]])
  expect_equal(misc$settings$n_latent, 3)
  expect_match(misc$settings$reference, "X_pca")
  expect_s3_class(misc$history, "data.frame")
  expect_equal(misc$history$epoch, c(0, 1), ignore_attr = TRUE)
  expect_type(misc$history$loss, "double")
  expect_true(all(c("R", "SeuratObject", "torch") %in% names(misc$versions)))
  expect_null(misc$run)
})

test_that("the log is small and says what was asked for, even by do.call", {
  skip_if_no_sailerx()
  expect_no_warning(
    result <- do.call(toy_run, list(toy_result(), batch = c("donor", "plate"), covariates = "mito", seed = 4, reduction.name = "sailerx.b"))
  )
  command <- result[["RunSAILERX.peaks.sailerx.b"]]
  expect_equal(command$batch, c("donor", "plate"))
  expect_equal(command$n_latent, 3)
  expect_lt(as.numeric(object.size(command)), 20000)
  expect_lt(nchar(command@call.string), 1000)
  settings <- SeuratObject::Misc(result[["sailerx.b"]], slot = "settings")
  expect_equal(settings$seed, 4)
  expect_equal(settings$batch_key, c("donor", "plate"))
  expect_equal(settings$continuous_key, "mito")
})

test_that("another name gets its own key and leaves the first reduction alone", {
  skip_if_no_sailerx()
  expect_no_warning(result <- toy_run(toy_result(), reference = "pca", seed = 2, reduction.name = "sailerx.b"))
  expect_identical(result[["sailerx"]], toy_result()[["sailerx"]])
  expect_equal(colnames(result[["sailerx.b"]])[1:3], paste0("SAILERXB_", 1:3))
  expect_equal(SeuratObject::Command(result), c("RunSAILERX.peaks.sailerx", "RunSAILERX.peaks.sailerx.b"))
  losses <- lapply(c("sailerx", "sailerx.b"), function(name) sailerx_history(result, name)$loss)
  expect_false(isTRUE(all.equal(losses[[1]], losses[[2]])))
})

test_that("running twice replaces the reduction without a warning", {
  skip_if_no_sailerx()
  object <- toy_result()
  object[["sailerx"]] <- NULL
  object[["sailerx"]] <- toy_reduction(toy_cells()[1:10], "peaks", "SAILERX_")
  expect_no_warning(object <- toy_run(object, reference = "pca"))
  expect_identical(toy_embedding(object), toy_embedding(toy_result()))
})

test_that("v4 assays give the same embedding", {
  skip_if_no_sailerx()
  v4 <- toy_object(SeuratObject::CreateAssayObject)
  expect_identical(toy_embedding(toy_run(v4, reference = "pca")), toy_embedding(toy_result()))
})

test_that("split v5 layers are joined for the run and stay split in the object", {
  skip_if_no_sailerx()
  object <- toy_object()
  object[["RNA"]] <- split(object[["RNA"]], object$plate)
  object[["peaks"]] <- split(object[["peaks"]], object$donor)
  result <- toy_run(object, reference = "pca")
  expect_identical(toy_embedding(result), toy_embedding(toy_result()))
  expect_equal(SeuratObject::Layers(result[["peaks"]]), c("counts.a", "counts.b"))
})

test_that("assays alone give the same reduction as the object that holds them", {
  skip_if_no_sailerx()
  object <- toy_object()
  expect_no_warning(reduction <- RunSAILERX(
    object[["peaks"]], rna = object[["RNA"]], reference = object[["pca"]],
    backend = toy_backend(), n_latent = 3, max_epochs = 2, device = "cpu", threads = 1, verbose = FALSE
  ))
  expect_identical(SeuratObject::Embeddings(reduction), toy_embedding(toy_result()))
})

test_that("assays alone are checked", {
  object <- toy_object()
  expect_error(RunSAILERX(object[["peaks"]], rna = "RNA"), "must be an RNA assay")
  expect_error(RunSAILERX(object[["peaks"]], rna = object[["RNA"]], reference = "pca"), "DimReduc")
  expect_error(
    RunSAILERX(object[["peaks"]], rna = object[["RNA"]], meta.data = object[[]], batch = "library"), "no \"library\""
  )
})

test_that("cells are matched by name", {
  skip_if_no_sailerx()
  object <- toy_object()
  object[["gex"]] <- suppressWarnings(SeuratObject::CreateAssay5Object(
    SeuratObject::LayerData(object[["RNA"]], layer = "counts")[, rev(toy_cells())]
  ))
  object[["pca"]] <- toy_reduction(toy_cells())
  result <- toy_run(object, reference = "pca", rna.assay = "gex")
  expect_identical(toy_embedding(result), toy_embedding(toy_result()))
})

test_that("cells without accessibility have no row", {
  skip_if_no_sailerx()
  object <- toy_object()
  object[["few"]] <- SeuratObject::CreateAssay5Object(toy_counts(toy_peaks(), toy_cells()[50:1], seed = 2))
  expect_warning(result <- toy_run(object, atac.assay = "few"), "10 of 60 cells")
  expect_equal(SeuratObject::Cells(result[["sailerx"]]), toy_cells()[1:50])
})

test_that("a run is kept whole where it was asked for, and its files are closed", {
  skip_if_no_sailerx()
  folder <- normalizePath(withr::local_tempdir())
  keep <- file.path(folder, "my r\u00fcn")
  result <- toy_run(toy_object(), reference = "pca", keep = keep)
  expect_setequal(list.files(keep), c("input.h5mu", "run", "embedding.h5ad"))
  expect_equal(SeuratObject::Misc(result[["sailerx"]], slot = "run"), file.path(keep, "run"))
  expect_equal(list.files(folder, all.files = TRUE, no.. = TRUE), "my r\u00fcn")
  for (file in file.path(keep, c("input.h5mu", "embedding.h5ad"))) {
    again <- hdf5r::H5File$new(file, mode = "r+")
    expect_true(again$is_valid)
    again$close_all()
  }
})

test_that("an error of Python leaves no file, in the temporary folder or beside `keep`", {
  skip_if_no_sailerx()
  folder <- normalizePath(withr::local_tempdir())
  before <- list.files(tempdir())
  expect_error(toy_run(toy_object(), gamma = -1, keep = file.path(folder, "run")), "gamma", class = "sailerx_python_error")
  expect_error(toy_run(toy_object(), no_such_option = 1), "no such option: `no_such_option`", class = "sailerx_python_error")
  expect_equal(list.files(folder, all.files = TRUE, no.. = TRUE), character())
  expect_equal(list.files(tempdir()), before)
})

test_that("accessibility that is not counts is refused, naming the assay", {
  skip_if_no_sailerx()
  object <- toy_object()
  counts <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  SeuratObject::LayerData(object[["peaks"]], layer = "counts") <- log1p(counts)
  expect_error(toy_run(object), "whole numbers.*'atac' is the assay 'peaks'")
})

test_that("a batch column with missing values is refused, naming a cell", {
  skip_if_no_sailerx()
  object <- toy_object()
  object$donor[3] <- NA
  expect_error(toy_run(object, reference = "pca", batch = "donor"), "donor.*cell3")
})

test_that("progress shows, and what Python warns of is a warning", {
  skip_if_no_sailerx()
  object <- toy_object()
  object$site <- "one"
  lines <- character()
  withCallingHandlers(
    expect_warning(toy_run(object, reference = "pca", batch = "site", verbose = TRUE), "site.*one level"),
    message = function(condition) {
      lines <<- c(lines, conditionMessage(condition))
      rlang::cnd_muffle(condition)
    }
  )
  expect_match(lines, "epoch 2/2.*cells/s", all = FALSE)
})
