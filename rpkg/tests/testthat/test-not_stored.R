test_that("nothing is said of an object that the file holds", {
  expect_no_message(WriteH5MU(toy_object(), withr::local_tempfile(fileext = ".h5mu")))
})

test_that("what the file has no place for is named", {
  object <- toy_object()
  methods::slot(object[["peaks"]], "misc") <- list(note = 1)
  methods::slot(object, "tools") <- list(scorer = 2)
  SeuratObject::Misc(object, "who") <- "me"
  SeuratObject::Misc(object[["pca"]], "how") <- "well"
  methods::slot(object[["pca"]], "feature.loadings.projected") <- matrix(1, 2, 4, dimnames = list(c("gene1", "gene2"), paste0("PC_", 1:4)))
  methods::slot(object, "neighbors")[["near"]] <- methods::new("Neighbor", cell.names = colnames(object))
  SeuratObject::Idents(object) <- rep(c("x", "y"), each = 30)
  said <- expect_message(WriteH5MU(object, withr::local_tempfile(fileext = ".h5mu")), "saveRDS")
  for (part in c(
    "misc \\(note\\) of assay \"peaks\"", "projected loadings, misc \\(how\\) of reduction \"pca\"", "neighbors \\(near\\)", "tools \\(scorer\\)", "misc \\(who\\)", "the active identities"
  )) {
    expect_match(gsub("\\s+", " ", conditionMessage(said)), part)
  }
  fewer <- expect_message(WriteH5MU(object, withr::local_tempfile(fileext = ".h5mu"), assays = "RNA", reductions = character()))
  expect_no_match(conditionMessage(fewer), "peaks|how")
})

test_that("motifs of Signac's assays are named", {
  skip_if_not_installed("Signac")
  counts <- small_counts()
  rownames(counts) <- peak_names_of(6)
  ranges <- GenomicRanges::GRanges("chr1", IRanges::IRanges(seq(100, 600, 100), width = 50))
  assay <- Signac::CreateChromatinAssay(counts, ranges = ranges, verbose = FALSE)
  skip_if_not(methods::.hasSlot(assay, "motifs"))
  hits <- methods::as(Matrix::Matrix(c(1, 0, 1, 0, 0, 1), 6, 1, dimnames = list(rownames(assay), "M1"), sparse = TRUE), "CsparseMatrix")
  Signac::Motifs(assay) <- Signac::CreateMotifObject(data = hits)
  object <- small_object()
  object[["peaks"]] <- assay
  expect_message(WriteH5MU(object, withr::local_tempfile(fileext = ".h5mu")), "motifs of assay \"peaks\"")
})
