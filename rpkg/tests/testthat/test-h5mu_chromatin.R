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
