test_that("the model is the one named, else the reduction's, and must be there", {
  object <- toy_object()
  folder <- withr::local_tempdir()
  dir.create(file.path(folder, "run"))
  object[["sailerx"]] <- toy_reduction(toy_cells(), "peaks", "SAILERX_")
  expect_error(model_folder(object, "sailerx", NULL), "made by `RunSAILERX\\(\\)`.*none")
  SeuratObject::Misc(object[["sailerx"]], slot = "settings") <- list(seed = 1)
  expect_error(model_folder(object, "sailerx", NULL), "must have been kept.*keep")
  SeuratObject::Misc(object[["sailerx"]], slot = "run") <- file.path(folder, "run")
  expect_error(model_folder(object, "sailerx", NULL), "is gone.*`model`")
  expect_error(model_folder(object, "sailerx", folder), "is none")
  file.create(file.path(folder, "run", "model.json"))
  expect_equal(model_folder(object, "sailerx", NULL), file.path(folder, "run"))
  for (model in c(folder, file.path(folder, "run"))) {
    expect_equal(model_folder(object, "other", model), normalizePath(file.path(folder, "run")))
  }
})

test_that("the peak assay is the reduction's, else the only one", {
  object <- toy_object()
  expect_equal(model_assay(object, "sailerx", NULL), "peaks")
  object[["ATAC"]] <- SeuratObject::CreateAssay5Object(toy_counts(toy_peaks(), toy_cells()))
  object[["sailerx"]] <- toy_reduction(toy_cells(), "ATAC", "SAILERX_")
  expect_equal(model_assay(object, "sailerx", NULL), "ATAC")
  expect_equal(model_assay(object, "sailerx", "peaks"), "peaks")
})
