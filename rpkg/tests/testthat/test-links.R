toy_genes <- function() {
  data.frame(gene = paste0("gene", 1:10), chrom = "chr1", start = 2000L + 4000L * 0:9, end = 50000L, strand = "+")
}

genes_file <- function(folder) {
  genes <- toy_genes()
  path <- file.path(folder, "genes.gtf")
  writeLines(sprintf(
    "chr1\tx\tgene\t%d\t%d\t.\t+\t.\tgene_id \"%s\"; gene_name \"%s\";", genes$start + 1, genes$end, genes$gene, genes$gene
  ), path)
  path
}

links_of <- function(...) toy_verb(LinksSAILERX, ..., n_metacells = 10, distance = 20000)

test_that("the table has the pairs near the genes, by the names of the object", {
  skip_if_no_sailerx()
  object <- links_of(toy_kept(), annotation = genes_file(withr::local_tempdir()), genes = c("gene2", "gene3"))
  links <- SeuratObject::Misc(object[["peaks"]], "sailerx")$links
  expect_setequal(links$gene, c("gene2", "gene3"))
  expect_true(all(links$peak %in% toy_peaks()) && all(links$chrom == "chr1"))
  expect_true(all(abs(links$distance) <= 20000))
  expect_equal(links$distance, (links$start + links$end) %/% 2 - links$tss)
  expect_false(is.unsorted(links$p_value, na.rm = TRUE))
  expect_equal(object[["LinksSAILERX.peaks.links"]]$genes, c("gene2", "gene3"))
})

test_that("a ChromatinAssay gets links that Signac draws", {
  skip_if_no_sailerx()
  skip_if_not_installed("Signac")
  object <- as_signac(toy_kept())
  genes <- toy_genes()
  annotation <- GenomicRanges::GRanges("chr1", IRanges::IRanges(c(genes$start + 1, genes$start + 301), width = 200), "+")
  annotation$gene_name <- rep(genes$gene, 2)
  object <- links_of(object, annotation = annotation, p.cutoff = 1)
  pairs <- SeuratObject::Misc(object[["peaks"]], "sailerx")$links
  expect_setequal(pairs$tss, genes$start)
  links <- Signac::Links(object[["peaks"]])
  tested <- pairs[!is.na(pairs$p_value) & pairs$p_value < 1, ]
  expect_equal(length(links), nrow(tested))
  expect_equal(links$score, tested$correlation)
  expect_equal(links$peak, tested$peak)
  ends <- cbind(IRanges::start(links), IRanges::end(links))
  centre <- (tested$start + tested$end) %/% 2
  expect_equal(ends, unname(cbind(pmin(tested$tss, centre), pmax(tested$tss, centre)) + 1))
})

# A fragment file with index, one fragment for each open peak of each cell.
fragments_of <- function(counts, folder) {
  peaks <- parse_peaks(rownames(counts))
  open <- Matrix::summary(counts)
  start <- peaks$start[open$i] + 100
  lines <- data.frame(peaks$chrom[open$i], start, start + 200, colnames(counts)[open$j], 1L)
  path <- file.path(folder, "fragments.tsv")
  utils::write.table(lines[order(lines[[1]], start), ], path, sep = "\t", quote = FALSE, row.names = FALSE, col.names = FALSE)
  zipped <- Rsamtools::bgzip(path)
  Rsamtools::indexTabix(zipped, format = "bed")
  Signac::CreateFragmentObject(zipped, cells = colnames(counts), verbose = FALSE)
}

test_that("CoveragePlot draws the links below the fragments", {
  skip_if_no_sailerx()
  skip_if_not_installed("Signac")
  skip_if_not_installed("Rsamtools")
  object <- as_signac(toy_kept())
  assay <- object[["peaks"]]
  Signac::Fragments(assay) <- NULL
  Signac::Fragments(assay) <- fragments_of(SeuratObject::LayerData(assay, layer = "counts"), withr::local_tempdir())
  object[["peaks"]] <- assay
  object <- links_of(object, annotation = genes_file(withr::local_tempdir()), p.cutoff = 1)
  SeuratObject::DefaultAssay(object) <- "peaks"
  SeuratObject::Idents(object) <- "donor"
  links <- Signac::Links(object[["peaks"]])
  inside <- sum(IRanges::start(links) >= 1 & IRanges::end(links) <= 40000)
  # without the package ggforce Signac takes the links, but draws no curves and warns
  draw <- if (rlang::is_installed("ggforce")) identity else suppressWarnings
  picture <- draw(Signac::CoveragePlot(object, "chr1-1-40000", annotation = FALSE, links = TRUE, peaks = TRUE, window = 200))
  bytes <- vapply(list(picture, ggplot2::ggplot()), function(plot) {
    file <- withr::local_tempfile(fileext = ".png")
    suppressMessages(ggplot2::ggsave(file, plot, width = 8, height = 6, dpi = 90))
    file.size(file)
  }, numeric(1))
  expect_gt(bytes[1], 2 * bytes[2]) # something is drawn
  expect_gt(inside, 5)
  curves <- draw(Signac::LinkPlot(object, "chr1-1-40000"))
  points <- if (rlang::is_installed("ggforce")) 3 else 1 # of each curve
  expect_equal(nrow(curves$data), points * inside)
  expect_setequal(curves$data$score, links$score[IRanges::end(links) <= 40000])
})

test_that("what cannot be linked is told", {
  skip_if_no_sailerx()
  object <- toy_kept()
  expect_snapshot(error = TRUE, {
    LinksSAILERX(object)
    LinksSAILERX(object, annotation = "no.gtf")
    LinksSAILERX(object, annotation = "no.gtf", genes = "NOT")
    LinksSAILERX(toy_object(), annotation = "no.gtf")
  })
})
