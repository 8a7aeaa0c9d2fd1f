test_that("known cells under new names, with their peaks in another order, find their places", {
  skip_if_no_sailerx()
  kept <- toy_kept()
  expected <- toy_embedding(toy_verb(MapSAILERX, kept, toy_atac(toy_cells())))
  query <- toy_atac(toy_cells()[1:20])[90:1, ]
  query <- SeuratObject::RenameCells(query, new.names = paste0("new", 1:20))
  before <- query
  expect_no_warning(query <- toy_verb(MapSAILERX, kept, query))
  expect_equal(unname(toy_embedding(query)), unname(expected[1:20, ]), tolerance = 1e-5)
  expect_equal(dim(expected), dim(toy_embedding(kept)))
  expect_equal(rownames(toy_embedding(query)), paste0("new", 1:20))
  expect_equal(setdiff(names(query), names(before)), "sailerx")
  misc <- SeuratObject::Misc(query[["sailerx"]])
  expect_equal(misc$run, SeuratObject::Misc(kept[["sailerx"]], slot = "run"))
  expect_null(misc$matched.peaks)
})

test_that("counts on other peaks are brought onto the model's by overlap, for cells of the same names too", {
  skip_if_no_sailerx()
  kept <- toy_kept()
  query <- toy_atac(toy_cells()[1:20], moved_peaks(50), assay = "elsewhere")
  expect_no_warning(query <- toy_verb(MapSAILERX, kept, query, query.assay = "elsewhere", reduction.name = "mapped"))
  expected <- toy_embedding(toy_verb(MapSAILERX, kept, toy_atac(toy_cells())))
  expect_equal(unname(toy_embedding(query, "mapped")), unname(expected[1:20, ]), tolerance = 1e-5)
  matched <- SeuratObject::Misc(query[["mapped"]], slot = "matched.peaks")
  expect_equal(matched$peaks_kept, 90, ignore_attr = TRUE)
  expect_equal(matched$counts_kept, sum(query$nCount_elsewhere), ignore_attr = TRUE)
})

test_that("cells with RNA find the places they had in training", {
  skip_if_no_sailerx()
  kept <- toy_kept()
  query <- toy_object()
  expect_no_warning(query <- toy_verb(MapSAILERX, kept, query, query.rna = "RNA"))
  expect_equal(toy_embedding(query), toy_embedding(kept), tolerance = 1e-5)
  query[["pca"]] <- NULL
  expect_error(toy_verb(MapSAILERX, kept, query, query.rna = "RNA"), "reduction .*pca")
  expect_error(toy_verb(MapSAILERX, kept, query, query.rna = "nope"), "nope")
})

test_that("RunSAILERX() with a model trains none, and uses the RNA that is there", {
  skip_if_no_sailerx()
  kept <- toy_kept()
  model <- SeuratObject::Misc(kept[["sailerx"]], slot = "run")
  both <- toy_verb(RunSAILERX, toy_object(), model = model)
  expect_equal(toy_embedding(both), toy_embedding(kept), tolerance = 1e-5)
  expect_true("sailerx_atac_weight" %in% colnames(both[[]]))
  alone <- toy_verb(RunSAILERX, toy_atac(toy_cells()), model = model)
  expect_equal(toy_embedding(alone), toy_embedding(toy_verb(MapSAILERX, kept, toy_atac(toy_cells()))), tolerance = 1e-5)
  expect_error(
    RunSAILERX(toy_object(), model = model, batch = "donor", seed = 1), "`batch` and `seed` have no effect"
  )
})

test_that("object and query are checked", {
  expect_error(MapSAILERX(toy_object(), matrix(1)), "`query` must be a <Seurat> object")
  expect_error(MapSAILERX(toy_object(), toy_object()), "made by `RunSAILERX")
})
