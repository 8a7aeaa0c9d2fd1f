toy_motifs <- function(peaks = toy_peaks()) {
  hits <- withr::with_seed(1, matrix(runif(length(peaks) * 2) < 0.3, ncol = 2))
  dimnames(hits) <- list(peaks, c("MA0497.1", "MA0035.4"))
  hits
}

activity_of <- function(...) suppressWarnings(MotifActivitySAILERX(..., backend = toy_backend(), verbose = FALSE, threads = 1))

test_that("z-scores are those of Python, as an assay", {
  skip_if_no_sailerx()
  object <- activity_of(toy_object(), motifs = toy_motifs(), n_background = 5, seed = 1)
  assay <- object[["chromvar"]]
  expect_s4_class(assay, "Assay")
  expect_equal(dimnames(assay), list(c("MA0497.1", "MA0035.4"), toy_cells()))
  expect_equal(assay[[]]$n_peaks, unname(colSums(toy_motifs())))
  expect_equal(SeuratObject::DefaultAssay(object), "RNA")
  z <- as.matrix(SeuratObject::LayerData(assay, layer = "data"))
  expect_true(all(is.finite(z)) && all(abs(rowMeans(z)) < 1) && all(apply(z, 1, sd) > 0.3))

  shuffled <- activity_of(toy_object(), motifs = Matrix::Matrix(toy_motifs()[90:1, ] + 0, sparse = TRUE), n_background = 5, seed = 1)
  expect_equal(as.matrix(SeuratObject::LayerData(shuffled[["chromvar"]], layer = "data")), z)
  expect_equal(object[["MotifActivitySAILERX.peaks.chromvar"]]$assay.name, "chromvar")
})

test_that("deviations follow the peaks: a motif of the peaks that are open in a group is more active there", {
  skip_if_no_sailerx()
  object <- toy_object()
  counts <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  counts[1:10, 1:30] <- counts[1:10, 1:30] + 3
  counts[11:20, 31:60] <- counts[11:20, 31:60] + 3
  object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts)
  motifs <- toy_motifs()
  motifs[, 1] <- seq_len(90) <= 10
  z <- SeuratObject::LayerData(activity_of(object, motifs = motifs)[["chromvar"]], layer = "data")
  expect_gt(mean(z[1, 1:30]), mean(z[1, 31:60]) + 1)
})

test_that("imputed accessibility is that of the model", {
  skip_if_no_sailerx()
  object <- activity_of(toy_kept(), motifs = toy_motifs(), imputed = TRUE, assay.name = "smooth", n_background = 5)
  expect_equal(dim(object[["smooth"]]), c(2, 60))
  expect_error(activity_of(toy_object(), motifs = toy_motifs(), imputed = TRUE), "made by")
})

test_that("a genome is scanned for the motifs of a file", {
  skip_if_no_sailerx()
  folder <- withr::local_tempdir()
  genome <- file.path(folder, "genome.fa")
  letters <- withr::with_seed(1, replicate(3, paste(sample(c("A", "C", "G", "T"), 6e4, TRUE), collapse = "")))
  writeLines(paste0(">chr", c(1, 2, "X"), "\n", letters), genome)
  file <- file.path(folder, "motifs.txt")
  writeLines(c(">M1 GATA", "A [0 9 0 9]", "C [0 0 0 0]", "G [9 0 0 0]", "T [0 0 9 0]"), file)
  object <- activity_of(toy_object(), genome = genome, motifs = file, p_value = 0.005, n_background = 5)
  expect_equal(object[["chromvar"]][[]]$name, "GATA")
  sites <- unlist(Map(function(chrom, start, end) {
    peak <- substr(letters[match(chrom, paste0("chr", c(1, 2, "X")))], start + 1, end)
    grepl("GATA|TATC", peak)
  }, as.character(parse_peaks(toy_peaks())$chrom), parse_peaks(toy_peaks())$start, parse_peaks(toy_peaks())$end))
  expect_equal(object[["chromvar"]][[]]$n_peaks, sum(sites))
})

test_that("motifs of a ChromatinAssay are taken, with their names", {
  skip_if_no_sailerx()
  skip_if_not_installed("Signac")
  object <- as_signac(toy_object())
  assay <- activity_of(object, n_background = 5)[["chromvar"]]
  expect_equal(rownames(assay), c("m1", "m2"))
  expect_equal(assay[[]]$n_peaks, c(1, 2))
})

test_that("what cannot be used is told", {
  object <- toy_object()
  expect_snapshot(error = TRUE, {
    MotifActivitySAILERX(object)
    MotifActivitySAILERX(object, genome = "no/genome.fa")
    MotifActivitySAILERX(object, motifs = "motifs.txt")
    MotifActivitySAILERX(object, motifs = toy_motifs()[-1, ])
    MotifActivitySAILERX(object, motifs = toy_motifs(), taxon = "insects", genome = 1)
    MotifActivitySAILERX(object, motifs = toy_motifs(), assay.name = "peaks")
    MotifActivitySAILERX(object, motifs = toy_motifs(), matches = "x")
  })
})
