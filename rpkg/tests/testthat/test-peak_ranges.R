test_that("peak names are read from the right", {
  names <- c("chr1-KI270706v1-random-100-149", "HLA-A*01:01-5-9", "chr1:5-9", "chrUn_gl000211_7_8", "chr1-5-9.1")
  found <- parse_peaks(names)
  expect_identical(as.character(found$chrom), c("chr1-KI270706v1-random", "HLA-A*01:01", "chr1", "chrUn_gl000211", "chr1"))
  expect_identical(found$start, c(99L, 4L, 4L, 6L, 4L))
  expect_identical(found$end, c(149L, 9L, 9L, 8L, 9L))
  expect_null(parse_peaks(c("chr1-5-9", "peak7")))
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
