# Tests that take ten seconds or more each: for `make test-full` and R CMD check, left out of `make test`.

test_that("sets whose batch has another type are trained together, and its levels are known by any type", {
  skip_if_no_sailerx()
  object <- toy_object()
  object$lane <- rep(c(1, 2), each = 30)
  other <- toy_atac(toy_cells()[1:30])
  for (lane in list(rep(c("1", "3"), 15), rep(1:2, 15), rep(c(TRUE, FALSE), 15))) {
    other$lane <- lane
    found <- toy_run(object, batch = "lane", unpaired = SeuratObject::RenameCells(other, "x"))
    expect_equal(nrow(toy_embedding(found$unpaired)), 30)
  }
  folder <- withr::local_tempfile()
  kept <- toy_run(object, batch = "lane", keep = folder)
  expected <- NULL
  for (batch in list("1", 1, 1L, c(lane = 1))) {
    means <- toy_verb(ImputeSAILERX, kept, group.by = "donor", batch = batch)
    expect_equal(means, expected %||% means)
    expected <- means
  }
  kept$lane <- as.integer(kept$lane)
  expect_s3_class(toy_verb(FindMarkersSAILERX, kept, "a", "b", group.by = "donor"), "data.frame")
})

test_that("an SCT assay may stand beside RNA, be its reference, and be left to a file", {
  skip_if_not_installed("Seurat")
  object <- suppressWarnings(Seurat::SCTransform(toy_object(), assay = "RNA", verbose = FALSE, min_cells = 1))
  object <- suppressWarnings(Seurat::RunPCA(object, npcs = 4, verbose = FALSE))
  expect_equal(SeuratObject::DefaultAssay(object[["pca"]]), "SCT")
  expect_equal(check_rna_assay(object, NULL, "peaks", "pca"), "RNA")
  expect_equal(written(object)$rna, written(toy_object())$rna)
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(object, path, layers = "data")
  back <- ReadH5MU(path)
  expect_equal(
    SeuratObject::LayerData(back, assay = "SCT", layer = "data"), SeuratObject::LayerData(object, assay = "SCT", layer = "data")
  )
})

test_that("a chunk of a report shows the progress as text, and warnings and errors as R's own", {
  skip_if_no_sailerx()
  skip_if_not_installed("rmarkdown")
  skip_if_not(rmarkdown::pandoc_available(), "pandoc is not installed")
  folder <- withr::local_tempdir()
  file <- file.path(folder, "report.Rmd")
  saveRDS(toy_object(), file.path(folder, "object.rds"))
  writeLines(c(
    "---", "title: report", "output: md_document", "---", "", "```{r, error = TRUE}",
    "object <- readRDS(\"object.rds\"); object$site <- \"one\"",
    "object <- sailerx::RunSAILERX(object, reference = \"pca\", batch = \"site\", n_latent = 3, max_epochs = 2, threads = 1)",
    "sailerx::RunSAILERX(object, gamma = -1, verbose = FALSE)", "```"
  ), file)
  page <- paste(readLines(rmarkdown::render(file, quiet = TRUE)), collapse = "\n")
  expect_match(page, "## epoch 2/2")
  expect_match(page, "## Warning.*batch column 'site' has one level")
  expect_match(page, "Error in `sailerx::RunSAILERX()`:\n    ## ! `gamma` must be", fixed = TRUE)
  expect_no_match(page, "\033", fixed = TRUE)
})

test_that("another process of the package future gives the same embedding", {
  skip_if_no_sailerx()
  skip_if_not_installed("future")
  library <- dirname(system.file(package = "sailerx"))
  skip_if_not(dir.exists(file.path(library, "sailerx", "Meta")), "needs the installed package")
  old <- future::plan(future::cluster, workers = 1)
  withr::defer(future::plan(old))
  python <- find_python()
  object <- toy_object()
  task <- future::future({
    .libPaths(c(library, .libPaths()))
    sailerx::RunSAILERX(
      object, reference = "pca", atac.assay = "peaks", n_latent = 3, max_epochs = 2, device = "cpu", threads = 1, python = python
    )
  }, seed = TRUE, globals = list(object = object, python = python, library = library), packages = character())
  result <- suppressMessages(future::value(task))
  expect_identical(toy_embedding(result), toy_embedding(toy_result()))
})

test_that("the same call goes on from the checkpoint of a run that was killed", {
  skip_if_no_sailerx()
  run <- function(...) RunSAILERX(toy_object(), atac.assay = "peaks", reference = "pca", max_epochs = 150, threads = 1, device = "cpu", ...)
  state <- withr::local_tempfile()
  child <- start_child(c(
    sprintf("options(sailerx.python = '%s')", find_python()),
    paste("run <-", paste(deparse(run), collapse = "\n")),
    sprintf("run(checkpoint = '%s', checkpoint_epochs = 5)", state)
  ))
  expect_true(wait_until(function() file.exists(state)))
  child$kill_tree()
  expect_true(file.exists(state))
  messages <- capture_messages(resumed <- run(checkpoint = state, checkpoint_epochs = 5))
  expect_match(messages, "epoch", all = FALSE)
  expect_false(file.exists(state))
  expect_identical(toy_embedding(resumed), toy_embedding(run(backend = toy_backend(), verbose = FALSE)))
})
