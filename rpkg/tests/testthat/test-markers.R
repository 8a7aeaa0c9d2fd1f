test_that("peaks come with the columns that a user of FindMarkers() looks for, the most probable first", {
  skip_if_no_sailerx()
  object <- toy_kept()
  object$side <- rep(c("x", "y", "z"), 20)
  SeuratObject::Idents(object) <- "side"
  markers <- toy_verb(FindMarkersSAILERX, object, "x", c("y", "z"), min_change = 0.1)
  expect_setequal(rownames(markers), toy_peaks())
  expect_equal(colnames(markers)[1:5], c("probability", "avg_log2FC", "pct.1", "pct.2", "fdr"))
  expect_false(is.unsorted(-markers$probability))
  expect_equal(markers$differential, markers$fdr <= 0.05)
  open <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")[rownames(markers), ] > 0
  expect_equal(markers$pct.1, unname(Matrix::rowMeans(open[, object$side == "x"])))
  expect_equal(markers$pct.2, unname(Matrix::rowMeans(open[, object$side != "x"])))
  expect_equal(markers$avg_log2FC, log2(markers$accessibility.1 / markers$accessibility.2))

  swapped <- toy_verb(FindMarkersSAILERX, object, toy_cells()[object$side != "x"], only.pos = TRUE, min_change = 0.1)
  expect_setequal(rownames(swapped), rownames(markers)[markers$avg_log2FC < 0])
  expect_equal(swapped$avg_log2FC, -markers[rownames(swapped), "avg_log2FC"], tolerance = 1e-6)
})

test_that("groups are named, or cells, and share none", {
  object <- toy_object()
  groups <- function(...) as.character(two_groups(object, "peaks", ..., group.by = "plate")[[1]])
  expect_equal(groups(1, 2), rep(c("ident.1", "ident.2", NA), 20))
  expect_equal(groups("3", NULL), rep(c("ident.2", "ident.2", "ident.1"), 20))
  expect_equal(which(groups(toy_cells()[4:5], 3) == "ident.1"), 4:5)
  expect_snapshot(error = TRUE, {
    groups(9, NULL)
    groups(1, c(1, 2))
    groups(NULL, 1)
  })
})

test_that("the batches of the training must be there; the set is known from the reduction", {
  object <- toy_object()
  object[["sailerx"]] <- toy_reduction(toy_cells(), "peaks", "SAILERX_")
  expect_equal(dim(batch_columns(object, "sailerx", NULL)), c(60, 0))
  expect_error(batch_columns(object, "sailerx", c("donor", "library")), "no \"library\"")
  SeuratObject::Misc(object[["sailerx"]], slot = "set") <- "other"
  expect_identical(batch_columns(object, "sailerx", c("donor", SET_COLUMN))[[SET_COLUMN]], factor(rep("other", 60)))
})

test_that("groups that leave no cell are refused, and one cell is found by its name", {
  object <- toy_object()
  expect_error(two_groups(object, "peaks", "SeuratProject", NULL, NULL), "`ident.1` is all cells")
  found <- two_groups(object, "peaks", "cell7", NULL, NULL)
  expect_identical(rownames(found)[found$groups == "ident.1"], "cell7")
})
