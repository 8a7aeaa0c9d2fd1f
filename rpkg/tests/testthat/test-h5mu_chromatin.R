test_that("peaks become a ChromatinAssay, one base later on the start, with seqlengths and no download", {
  skip_if_not_installed("Signac")
  object <- random_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")[1:3, ]
  rownames(counts) <- c("chr1-6-9", "HLA-A*01:01-1-5", "chr1-KI270706v1-random-100-149")
  info <- GenomeInfoDb::Seqinfo(c("chr1", "HLA-A*01:01", "chr1-KI270706v1-random"), c(100L, NA, 200L), genome = "hg38")
  ranges <- GenomicRanges::GRanges(GenomeInfoDb::seqnames(info), IRanges::IRanges(c(6, 1, 100), c(9, 5, 149)))
  object[["peaks"]] <- Signac::CreateChromatinAssay(counts, ranges = ranges, genome = info, verbose = FALSE)
  back <- local_round_trip(object)
  expect_s4_class(back[["peaks"]], "ChromatinAssay")
  expect_identical(rownames(back[["peaks"]]), rownames(counts))
  expect_identical(as.data.frame(Signac::granges(back[["peaks"]])), as.data.frame(Signac::granges(object[["peaks"]])))
  expect_identical(GenomeInfoDb::seqinfo(back[["peaks"]]), info)
  plain <- local_round_trip(object, chromatin = FALSE)
  expect_s4_class(plain[["peaks"]], "Assay5")
  expect_identical(plain[["peaks"]][[]]$start, c(5L, 0L, 99L))
})

test_that("a fragment file that is gone is left out with a warning", {
  expect_warning(found <- new_fragments(list(path = "/nowhere/fragments.tsv.gz"), "cell1"), "is not there")
  expect_null(found)
})

test_that("names that several ranges of the annotation share are kept", {
  skip_if_not_installed("GenomicRanges")
  exons <- GenomicRanges::GRanges("chr1", IRanges::IRanges(c(5, 5, 20), c(9, 9, 30)), strand = "+", tx_id = c("t1", "t2", "t2"))
  names(exons) <- c("e1", "e1", "e2")
  file <- h5_create(withr::local_tempfile(fileext = ".h5"))
  withr::defer(h5_close(file))
  write_dataframe(write_dict(file, "uns"), "annotation", ranges_frame(exons))
  expect_identical(names(read_annotation(file)), names(exons))
  expect_identical(colnames(S4Vectors::mcols(read_annotation(file))), "tx_id")
})
