imputed_all <- local({
  object <- NULL
  function() {
    object <<- object %||% toy_verb(ImputeSAILERX, toy_kept())
    object
  }
})

probabilities <- function(object, assay = "imputed") {
  as.matrix(SeuratObject::LayerData(object, assay = assay, layer = "data"))
}

test_that("the object gains an assay of its peaks and a log entry", {
  skip_if_no_sailerx()
  kept <- toy_kept()
  expect_no_warning(object <- imputed_all())
  expect_equal(setdiff(names(object), names(kept)), "imputed")
  expect_equal(setdiff(colnames(object[[]]), colnames(kept[[]])), character())
  expect_equal(SeuratObject::DefaultAssay(object), "RNA")
  expect_s4_class(object[["imputed"]], "Assay5")
  expect_equal(dimnames(probabilities(object)), dimnames(kept[["peaks"]]))
  expect_true(all(probabilities(object) > 0 & probabilities(object) < 1))
  expect_true("ImputeSAILERX.peaks.imputed" %in% SeuratObject::Command(object))
  expect_identical(object[["peaks"]], kept[["peaks"]])
})

test_that("group means are the means over the cells of each group, in the order asked for", {
  skip_if_no_sailerx()
  object <- toy_kept()
  object$side <- factor(rep(c("b", "a", "b"), 20), c("b", "a", "none"))
  features <- toy_peaks()[c(70, 3, 31)]
  means <- toy_verb(ImputeSAILERX, object, features = features, group.by = "side")
  values <- probabilities(imputed_all())[features, ]
  expected <- vapply(c("b", "a"), function(side) rowMeans(values[, object$side == side]), numeric(3))
  expect_equal(means, expected, tolerance = 1e-5)
})

test_that("a ChromatinAssay keeps ranges, genome, annotation, fragments and motifs of what was chosen", {
  skip_if_not_installed("Signac")
  skip_if_no_sailerx()
  object <- as_signac(toy_kept())
  cells <- toy_cells()[c(9, 2, 30)]
  # chr1-9000-9400 is the fifth peak and ends where the region begins; both ends count.
  expect_no_warning(
    object <- toy_verb(ImputeSAILERX, object, regions = c("chr1:9400-13,000", "chrX-59000-60000"), cells = cells, assay.name = "open")
  )
  assay <- object[["open"]]
  expect_s4_class(assay, "ChromatinAssay")
  expect_equal(rownames(assay), toy_peaks()[c(5:7, 90)])
  expect_equal(colnames(assay), paste0("cell", c(2, 9, 30)), ignore_attr = TRUE)
  expected <- probabilities(imputed_all())[rownames(assay), colnames(assay)]
  expect_equal(unname(probabilities(object, "open")), unname(expected), tolerance = 1e-6)
  source <- object[["peaks"]]
  expect_equal(GenomicRanges::granges(assay), GenomicRanges::granges(source)[c(5:7, 90)])
  expect_equal(GenomeInfoDb::seqinfo(assay), GenomeInfoDb::seqinfo(source))
  expect_identical(Signac::Annotation(assay), Signac::Annotation(source))
  fragments <- Signac::Fragments(assay)[[1]]
  expect_equal(Signac::GetFragmentData(fragments, "cells"), c(cell2 = "b2", cell9 = "b9", cell30 = "b30"))
  motifs <- Signac::GetMotifData(assay)
  expect_equal(dimnames(motifs), list(rownames(assay), c("m1", "m2")))
  expect_equal(Matrix::colSums(motifs), c(m1 = 0, m2 = 2))
})

test_that("a threshold makes it sparse, and samples give their deviation beside it", {
  skip_if_no_sailerx()
  object <- toy_object(SeuratObject::CreateAssayObject)
  object[["sailerx"]] <- toy_kept()[["sailerx"]]
  expect_no_warning(
    object <- toy_verb(ImputeSAILERX, object, features = toy_peaks()[1:20], threshold = 0.5, samples = 3, batch = c(donor = "a"))
  )
  for (name in c("imputed", "imputed.std")) {
    expect_s4_class(object[[name]], "Assay")
    expect_s4_class(SeuratObject::LayerData(object[[name]], layer = "data"), "dgCMatrix")
  }
  expect_true(all(SeuratObject::LayerData(object[["imputed"]], layer = "data")@x > 0.5))
  expect_true(all(probabilities(object, "imputed.std") < 0.5))
})

test_that("a file holds everything, and is read as it is used", {
  skip_if_no_sailerx()
  file <- file.path(withr::local_tempdir(), "imputed.h5ad")
  if (!rlang::is_installed("HDF5Array")) {
    expect_error(toy_verb(ImputeSAILERX, toy_kept(), file = file), "HDF5Array")
    return(expect_false(file.exists(file)))
  }
  matrix <- toy_verb(ImputeSAILERX, toy_kept(), file = file)
  expect_s4_class(matrix, "DelayedMatrix")
  expect_equal(as.matrix(matrix), probabilities(imputed_all()), tolerance = 1e-6)
})

test_that("what is missing or cannot be is said before Python runs", {
  object <- toy_object()
  model <- withr::local_tempdir()
  file.create(file.path(model, "model.json"))
  impute <- function(...) ImputeSAILERX(object, model = model, atac.assay = "peaks", ...)
  expect_snapshot(error = TRUE, {
    ImputeSAILERX(matrix(1))
    impute(features = c("chr1-1000-1400", "chr9-1-2"))
    impute(features = toy_peaks()[c(1, 1)])
    impute(cells = "nobody")
    impute(regions = 5)
    impute(group.by = "cluster")
    impute(assay.name = "peaks")
    impute(assay.name = "my assay")
    impute(file = "imputed.csv")
    impute(peaks = "chr1-1000-1400")
  })
})

test_that("what would not fit into memory is refused with the ways out", {
  expect_no_error(check_fits(list(size = c(131364, 3000))))
  expect_error(check_fits(list(size = c(131364, 11331))), "12 GB.*group.by")
})
