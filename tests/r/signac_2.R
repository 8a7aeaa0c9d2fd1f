# What is kept of the assays of Signac 2, by its own accessors. Run by test_signac_2.py where such a Signac is installed.

annotation_of <- function() {
  ranges <- GenomicRanges::GRanges("chr1", IRanges::IRanges(c(900, 9000), width = 500), strand = c("+", "-"))
  S4Vectors::mcols(ranges) <- S4Vectors::DataFrame(
    tx_id = c("t1", "t2"), gene_name = c("g1", "g2"), gene_id = c("i1", "i2"), gene_biotype = "protein_coding", type = "exon"
  )
  ranges
}

fragments_of <- function(cells) {
  path <- system.file("extdata", "fragments.tsv.gz", package = "Signac")
  barcodes <- rlang::set_names(paste0("b", seq_along(cells)), cells)
  Signac::CreateFragmentObject(path, cells = barcodes, validate.fragments = FALSE, verbose = FALSE)
}

# toy_object() with its peaks in a GRangesAssay, under names that Signac 2 makes.
signac_2_object <- function() {
  object <- toy_object()
  counts <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  ranges <- as_ranges(parse_peaks(rownames(counts)))
  info <- GenomeInfoDb::Seqinfo(c("chr1", "chr2", "chrX"), c(1e6, 2e6, 3e6), c(FALSE, FALSE, NA), genome = "toy")
  GenomeInfoDb::seqinfo(ranges) <- info
  rownames(counts) <- as.character(ranges)
  object[["peaks"]] <- NULL
  object[["peaks"]] <- Signac::CreateGRangesAssay(
    counts,
    ranges = ranges, annotation = annotation_of(), fragments = list(fragments_of(colnames(counts)))
  )
  object
}

expect_same_chromatin <- function(found, expected) {
  expect_identical(Signac::Annotation(found)$gene_name, Signac::Annotation(expected)$gene_name)
  where <- function(assay) as.data.frame(unname(Signac::Annotation(assay)))[1:5]
  expect_equal(where(found), where(expected))
  pieces <- function(assay) {
    lapply(Signac::Fragments(assay), function(each) lapply(c("file.path", "cells"), Signac::GetFragmentData, object = each))
  }
  expect_length(Signac::Fragments(found), 1)
  expect_identical(pieces(found), pieces(expected))
}

test_that("a GRangesAssay comes back from a file with its ranges, genome, fragments and annotation", {
  object <- signac_2_object()
  path <- withr::local_tempfile(fileext = ".h5mu")
  expect_no_warning(WriteH5MU(object, path))
  expect_no_warning(back <- ReadH5MU(path))
  found <- back[["peaks"]]
  expect_s4_class(found, "GRangesAssay")
  expect_true(methods::validObject(found))
  expect_identical(rownames(found), rownames(object[["peaks"]]))
  expect_null(found[[]][["original_name"]])
  expect_identical(GenomicRanges::granges(found), GenomicRanges::granges(object[["peaks"]]))
  expect_same_chromatin(found, object[["peaks"]])
  counts <- function(assay) as.matrix(SeuratObject::LayerData(assay, layer = "counts"))
  expect_identical(counts(found), counts(object[["peaks"]]))
})

test_that("names in the file count as their form says: chr1:1000-1400 of Signac 2 is chr1-1000-1400", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  object <- signac_2_object()
  WriteH5MU(object, path)
  file <- h5_open(path)
  withr::defer(h5_close(file))
  node <- h5_child(file, "mod/atac")
  names <- read_index(h5_child(node, "var"))
  expect_identical(rownames(object[["peaks"]])[1], "chr1:1000-1400")
  expect_identical(names[1], "chr1-1000-1400")
  expect_identical(unname(as.list(parse_peaks(names))), unname(as.list(read_peaks(node))))
})

test_that("a ChromatinAssay5 without ranges keeps its class, fragments and annotation", {
  object <- toy_object()
  counts <- toy_counts(paste0("bin", 1:90), toy_cells(), seed = 2)
  object[["bins"]] <- Signac::CreateChromatinAssay5(
    counts,
    annotation = annotation_of(), fragments = list(fragments_of(colnames(counts)))
  )
  path <- withr::local_tempfile(fileext = ".h5mu")
  expect_no_warning(WriteH5MU(object, path, assays = "bins"))
  expect_no_warning(back <- ReadH5MU(path))
  expect_identical(class(back[["bins"]])[[1]], "ChromatinAssay5")
  expect_identical(rownames(back[["bins"]]), rownames(counts))
  expect_same_chromatin(back[["bins"]], object[["bins"]])
  expect_s4_class(ReadH5MU(path, chromatin = FALSE)[["bins"]], "Assay5")
})

test_that("peaks of a file that Python wrote become a GRangesAssay", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(toy_object(), path)
  forget_class(path, "atac")
  assay <- ReadH5MU(path)[["peaks"]]
  expect_s4_class(assay, "GRangesAssay")
  expect_identical(assay[[]]$original_name, NULL)
  expect_identical(rownames(assay)[1], "chr1:1000-1400")
})

test_that("RunSAILERX leaves the assay as it is, and embeds as from a plain one", {
  skip_if_no_sailerx()
  object <- signac_2_object()
  expect_no_warning(result <- toy_run(object, reference = "pca"))
  expect_identical(result[["peaks"]], object[["peaks"]])
  expect_identical(toy_embedding(result), toy_embedding(toy_result()))
})

test_that("imputed values come as a GRangesAssay of the same ranges, fragments and annotation", {
  skip_if_no_sailerx()
  object <- signac_2_object()
  result <- toy_run(object, reference = "pca", keep = tempfile("toy-model-"))
  result <- toy_verb(ImputeSAILERX, result)
  expect_s4_class(result[["imputed"]], "GRangesAssay")
  expect_identical(GenomicRanges::granges(result[["imputed"]]), GenomicRanges::granges(object[["peaks"]]))
  expect_same_chromatin(result[["imputed"]], object[["peaks"]])
  markers <- toy_verb(FindMarkersSAILERX, result, ident.1 = "a", ident.2 = "b", group.by = "donor")
  expect_true(all(rownames(markers) %in% rownames(object[["peaks"]])))
})

test_that("equal ranges, which a GRangesAssay cannot hold, are refused with what to do", {
  ranges <- rep(GenomicRanges::granges(signac_2_object()[["peaks"]])[1:2], 2)
  values <- toy_counts(paste0("p", 1:4), toy_cells())
  expect_error(create_chromatin_assay(values, "counts", ranges), "chr1:1000-1400.*chromatin = FALSE")
})

test_that("an index elsewhere and renamed contigs, which the file cannot hold, are said", {
  cells <- toy_cells()
  path <- system.file("extdata", "fragments.tsv.gz", package = "Signac")
  renamed <- Signac::CreateFragmentObject(
    path,
    cells = rlang::set_names(cells), seqlevels = c(chr1 = "1"), validate.fragments = FALSE, verbose = FALSE
  )
  expect_warning(found <- fragment_path(renamed), "its\\s+contigs|how\\s+its|contigs\\s+are")
  expect_identical(basename(found), "fragments.tsv.gz")
})
