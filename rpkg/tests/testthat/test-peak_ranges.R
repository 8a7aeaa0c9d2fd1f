test_that("peak names are read from the right", {
  names <- c("chr1-KI270706v1-random-100-149", "HLA-A*01:01-5-9", "chr1:5-9", "chrUn_gl000211_7_8", "chr1-5-9.1")
  found <- parse_peaks(names)
  expect_identical(as.character(found$chrom), c("chr1-KI270706v1-random", "HLA-A*01:01", "chr1", "chrUn_gl000211", "chr1"))
  # Two hyphens count from 1, as Signac writes them; all else is as in BED files.
  expect_identical(found$start, c(99L, 4L, 5L, 7L, 4L))
  expect_identical(found$end, c(149L, 9L, 9L, 8L, 9L))
  expect_null(parse_peaks(c("chr1-5-9", "peak7")))
  expect_identical(parse_peaks("chr1:1,000-2,300")$start, 1000L)
  expect_identical(parse_peaks("chr1-0-9")$start, 0L)
  expect_error(parse_peaks("chr1:5-3000000000"), "whole number from 0 to 2.31 - 1.*3000000000")
})

test_that("coordinates as text, with thousands separators or not, are read as numbers", {
  table <- data.frame(chrom = "chr1", start = c("1,000", "25"), end = factor(c("2,000", "30")), row.names = c("a", "b"))
  found <- as_positions(table, "peaks")
  expect_identical(found$start, c(1000L, 25L))
  expect_identical(found$end, c(2000L, 30L))
  expect_error(as_positions(transform(table, start = c("x", "1")), "peaks"), "\"x\" of \"a\"")
  expect_error(as_positions(transform(table, end = c(NA, "1")), "peaks"), "1 of \"peaks\" lack one, first \"a\"")
})

# Peaks as other tools name them, in an assay that Seurat has renamed.
named_assay <- function(names) {
  counts <- small_counts()
  rownames(counts) <- names
  file <- withr::local_tempfile(fileext = ".h5mu")
  suppressWarnings(WriteH5MU(SeuratObject::CreateSeuratObject(counts, assay = "peaks"), file))
  raw <- hdf5r::H5File$new(file, "r+")
  raw[["mod/atac/var/_index"]]$write(list(seq_along(names)), names)
  raw[["mod/atac/var"]]$attr_delete("column-order")
  h5_attr(raw[["mod/atac/var"]], "column-order", character(), scalar = FALSE)
  raw$close_all()
  suppressWarnings(ReadH5MU(file, verbose = FALSE))
}

test_that("coordinates and contigs come from the names in the file, not from Seurat's", {
  names <- paste0(c("NC_052532.1", "chr1"), ":", 10 * 1:6, "-", 10 * 1:6 + 5)
  object <- named_assay(names)
  found <- peak_coordinates(object[["peaks"]], "peaks", "atac")
  expect_identical(as.character(found$chrom), rep(c("NC_052532.1", "chr1"), 3))
  expect_identical(found$start, 10L * 1:6)
  file <- local_written(object)
  expect_identical(read_index(h5_child(file, "mod/atac/var")), names)
  expect_identical(read_dataframe(h5_child(file, "mod/atac/var"))$start, 10L * 1:6)
})

test_that("a model's peaks are known by name where coordinates were counted otherwise", {
  folder <- withr::local_tempdir()
  assay <- toy_object()[["peaks"]]
  table <- peak_coordinates(assay, "peaks", "atac")
  known <- data.frame(peak = sub("-", ":", rownames(assay)), table$chrom, start = table$start + 1, end = table$end)
  names(known)[2] <- "chrom"
  utils::write.csv(known, file.path(folder, "peaks.csv"), row.names = FALSE)
  expect_false(lacks_peaks(assay, "peaks", folder))
  known$peak[3] <- "chr9:1-2"
  utils::write.csv(known, file.path(folder, "peaks.csv"), row.names = FALSE)
  expect_true(lacks_peaks(assay, "peaks", folder))
})

test_that("regions are counted from 1, chromosomes are taken whole", {
  expect_equal(python_regions(c("chr1:1,000-5,000", "chr1-2-3", "chrX", "GL_1-5-9"), c("chr1", "GL_1-5-9"), NULL), c("chr1:999-5,000", "chr1:1-3", "chrX", "GL_1-5-9"))
  skip_if_not_installed("GenomicRanges")
  ranges <- GenomicRanges::GRanges("chr2", IRanges::IRanges(11, 20))
  expect_equal(python_regions(ranges, "chr2", NULL), "chr2:10-20")
})

test_that("peaks are found by name, else by coordinates", {
  assay <- toy_object()[["peaks"]]
  table <- data.frame(chrom = "chr1", start = c(2999, 1), end = c(3400, 2), row.names = c("other", "unknown"))
  expect_equal(rows_of_peaks(table, assay, "any"), c(2, NA))
  expect_equal(rows_of_peaks(table[c(1, 1), 0], assay, "any"), c(NA_integer_, NA_integer_))
})

test_that("ranges and the table of the file differ by one in start alone, in both directions", {
  skip_if_not_installed("GenomicRanges")
  ranges <- GenomicRanges::GRanges(c("chr2", "chr1"), IRanges::IRanges(c(1, 11), c(5, 20)), strand = c("+", "*"))
  names(ranges) <- c("a", "b")
  ranges$score <- c(0.5, 2)
  table <- ranges_frame(ranges)
  expect_identical(table$start, c(0L, 10L))
  expect_identical(table$end, c(5L, 20L))
  expect_identical(as.character(as_ranges(table)), as.character(ranges), ignore_attr = TRUE)
  expect_identical(peak_names(ranges), c("chr2-1-5", "chr1-11-20"))
  expect_identical(parse_peaks(peak_names(ranges))$start, table$start)
})
