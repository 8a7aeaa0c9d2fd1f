# Signac's own functions go on working on what sailerx gives back.

# Signac's example object with the fragment file that comes with the package.
signac_object <- function() {
  object <- Signac::atac_small
  path <- system.file("extdata", "fragments.tsv.gz", package = "Signac")
  fragments <- Signac::CreateFragmentObject(path, cells = colnames(object), validate.fragments = FALSE, verbose = FALSE)
  Signac::Fragments(object[["peaks"]]) <- fragments
  object
}

# One value of each function.
signac_values <- function(object) {
  SeuratObject::DefaultAssay(object) <- "peaks"
  peaks <- rownames(object[["peaks"]])
  list(
    # the few fragments that come with Signac lie beside the genes, which are long and of other kinds than are counted by default
    genes = Signac::GeneActivity(
      object,
      assay = "peaks", extend.upstream = 1e5, extend.downstream = 1e5, max.width = NULL, biotypes = NULL, verbose = FALSE
    ),
    motifs = Signac::FindMotifs(object, features = peaks[1:10], background = peaks, assay = "peaks", verbose = FALSE),
    coverage = Signac::CoveragePlot(object, region = peaks[1], assay = "peaks", features = NULL, annotation = TRUE, peaks = TRUE)
  )
}

# Peaks on three chromosomes, which LinkPeaks() needs for its background, with what else it looks for; three genes on chr1.
linked <- function(object) {
  assay <- object[["peaks"]]
  columns <- data.frame(
    GC.percent = seq(40, 60, length.out = nrow(assay)), sequence.length = 401,
    count = Matrix::rowSums(SeuratObject::LayerData(assay, layer = "counts")), row.names = rownames(assay)
  )
  object[["peaks"]] <- SeuratObject::AddMetaData(assay, columns)
  genes <- GenomicRanges::granges(assay)[c(3, 10, 20)]
  genes$gene_name <- rownames(object[["RNA"]])[1:3]
  object <- Signac::LinkPeaks(
    object, peak.assay = "peaks", expression.assay = "RNA", expression.slot = "counts", gene.coords = genes, genes.use = genes$gene_name,
    distance = 1e6, min.cells = 1, pvalue_cutoff = 1, score_cutoff = 0, n_sample = 5, verbose = FALSE
  )
  Signac::Links(object[["peaks"]])
}

test_that("a ChromatinAssay is found without being named and gives the same embedding", {
  skip_if_not_installed("Signac")
  skip_if_no_sailerx()
  object <- toy_object()
  counts <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  object[["peaks"]] <- NULL
  object[["open"]] <- Signac::CreateChromatinAssay(counts, sep = c("-", "-"))
  result <- toy_run(object, atac.assay = NULL, reference = "pca")
  expect_equal(SeuratObject::DefaultAssay(result[["sailerx"]]), "open")
  expect_identical(toy_embedding(result), toy_embedding(toy_result()))
})

test_that("Signac's example object can be embedded", {
  skip_if_not_installed("Signac")
  skip_if_no_sailerx()
  object <- Signac::atac_small
  result <- toy_run(object)
  expect_equal(SeuratObject::Cells(result[["sailerx"]]), colnames(object))
})

test_that("CoveragePlot, GeneActivity and FindMotifs give what they gave before", {
  skip_if_no_sailerx()
  skip_if_not_installed("Signac")
  object <- signac_object()
  expect_no_warning(result <- toy_run(object))
  expect_identical(result[["peaks"]], object[["peaks"]])
  before <- suppressMessages(suppressWarnings(withr::with_seed(1, signac_values(object))))
  after <- suppressMessages(suppressWarnings(withr::with_seed(1, signac_values(result))))
  expect_identical(after[c("genes", "motifs")], before[c("genes", "motifs")])
  expect_s3_class(after$coverage, "ggplot")
  expect_gt(sum(after$genes), 0)
})

test_that("LinkPeaks links the same peaks as before", {
  skip_if_no_sailerx()
  skip_if_not_installed("Signac")
  object <- as_signac(toy_kept())
  result <- toy_run(object, reference = "pca")
  links <- function(object) suppressMessages(suppressWarnings(withr::with_seed(1, linked(object))))
  before <- links(object)
  expect_gt(length(before), 10)
  expect_identical(links(result), before)
})

test_that("what came from Python and went through a file can be used in the same way", {
  skip_if_not_installed("Signac")
  object <- signac_object()
  path <- withr::local_tempfile(fileext = ".h5mu")
  suppressWarnings(WriteH5MU(object, path, assays = c("RNA", "peaks")))
  back <- ReadH5MU(path, chromatin = TRUE)
  expect_true(methods::validObject(back[["peaks"]]))
  activity <- function(object) {
    SeuratObject::DefaultAssay(object) <- "peaks"
    suppressMessages(suppressWarnings(Signac::GeneActivity(object, assay = "peaks", verbose = FALSE)))
  }
  expect_equal(activity(back), activity(object))
  expect_s3_class(suppressWarnings(Signac::CoveragePlot(back, region = rownames(back[["peaks"]])[1], assay = "peaks")), "ggplot")
})

# Signac 2 puts ranges on Assay5: this stands for its class.
signac_2_assay <- function(counts, where = parent.frame()) {
  withr::defer({
    methods::removeMethod("granges", "GRangesAssay", where = where)
    methods::removeClass("GRangesAssay", where = where)
    methods::removeClass("ChromatinAssay5", where = where)
  }, envir = where)
  methods::setClass("ChromatinAssay5", contains = "Assay5", where = where)
  methods::setClass("GRangesAssay", contains = "ChromatinAssay5", slots = c(ranges = "ANY"), where = where)
  methods::setMethod("granges", "GRangesAssay", function(x, use.names = TRUE, use.mcols = FALSE, ...) x@ranges, where = where)
  plain <- SeuratObject::CreateAssay5Object(counts)
  slots <- rlang::set_names(lapply(methods::slotNames(plain), methods::slot, object = plain), methods::slotNames(plain))
  table <- parse_peaks(rownames(counts))
  do.call(methods::new, c("GRangesAssay", slots, ranges = as_ranges(table)))
}

test_that("the classes of Signac 2 are found and read, and what is not carried is said", {
  skip_if_no_sailerx()
  skip_if_not_installed("GenomicRanges")
  granges <- GenomicRanges::granges
  object <- toy_object()
  counts <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  object[["peaks"]] <- NULL
  object[["open"]] <- signac_2_assay(counts)
  expect_no_warning(result <- toy_run(object, atac.assay = NULL, reference = "pca"))
  expect_identical(toy_embedding(result), toy_embedding(toy_result()))
  expect_s4_class(result[["open"]], "GRangesAssay")
  expect_warning(WriteH5MU(result, withr::local_tempfile(fileext = ".h5mu")), "GRangesAssay.*annotation are not")
  expect_warning(assay <- assay_like(result[["open"]], as.matrix(counts) / 9, list(rows = 1:90)), "plain Assay5")
  expect_s4_class(assay, "Assay5")
})
