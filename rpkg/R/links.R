#' Link peaks to genes
#'
#' Finds the peaks near a gene's start whose accessibility follows its
#' expression. Imputed accessibility and RNA are averaged over metacells, groups
#' of like cells in the embedding. The correlation of a gene with a peak is
#' compared with its correlations with peaks of like accessibility on other
#' chromosomes, as in `Signac::LinkPeaks()`, but after Fisher's
#' transform. Needs the model: train it with
#' `RunSAILERX(object, keep = "folder")`.
#'
#' @inheritParams ImputeSAILERX
#' @param object A `Seurat` object with RNA counts and a peak assay.
#' @param genes Names of genes; by default all that are in the RNA assay and the
#'   annotation.
#' @param annotation Where genes start: the path of a GTF file, or a `GRanges`
#'   with a column `gene_name`. `NULL`: `Signac::Annotation()` of the peak assay.
#' @param distance Largest distance of a peak's centre from a gene's start, in
#'   bases.
#' @param p.cutoff Pairs with a p-value below it become links of the assay.
#' @param rna.assay Name of the RNA assay. `NULL`: the assay `RNA`.
#' @param ... Options of Python, by name: `n_metacells`, `n_background`, `fdr`,
#'   `seed`, `depth`, `batch`, `threads`. `python -m sailerx links --help`
#'   describes them.
#' @returns The object. `SeuratObject::Misc(object[[atac.assay]], "sailerx")$links` is
#'   a data frame with one row per pair of a gene and a peak near it, the smallest
#'   p-value first: `gene`, `peak`, `tss` (0-based), `distance` (of the peak's
#'   centre, positive downstream), `correlation`, `z`, `p_value` (two-sided, by
#'   comparison with pairs on different chromosomes), `fdr` and `linked` (is `fdr` at
#'   most the option `fdr`?). If the peak assay is a
#'   `ChromatinAssay`, `Signac::Links()` has the pairs with a p-value below
#'   `p.cutoff`, from the gene's start to the peak's centre, with the correlation
#'   as `score`.
#' @references Ma and others (2020), Chromatin potential identified by shared
#'   single-cell profiling of RNA and chromatin, Cell 183:1103,
#'   \doi{10.1016/j.cell.2020.09.056}.
#' @seealso [ImputeSAILERX()], [MotifActivitySAILERX()]
#' @examplesIf sailerx_available() && requireNamespace("Signac", quietly = TRUE)
#' set.seed(1)
#' cells <- paste0("cell", 1:60)
#' counts <- function(features) {
#'   values <- rpois(length(features) * 60, 1)
#'   matrix <- matrix(values, ncol = 60, dimnames = list(features, cells))
#'   as(matrix, "CsparseMatrix")
#' }
#' start <- seq(1000, by = 2000, length.out = 45)
#' peaks <- c(paste("chr1", start, start + 500, sep = "-"),
#'            paste("chr2", start, start + 500, sep = "-"))
#' object <- SeuratObject::CreateSeuratObject(counts(paste0("gene", 1:80)))
#' object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts(peaks))
#' folder <- tempfile()
#' object <- RunSAILERX(object, n_latent = 5, max_epochs = 2, keep = folder, verbose = FALSE)
#'
#' genes <- GenomicRanges::GRanges("chr1", IRanges::IRanges(c(5000, 20000), width = 900), "+")
#' genes$gene_name <- c("gene1", "gene2")
#' object <- LinksSAILERX(object, annotation = genes, distance = 20000, verbose = FALSE)
#' head(SeuratObject::Misc(object[["peaks"]], "sailerx")$links)
#' unlink(folder, recursive = TRUE)
#' @export
LinksSAILERX <- function(
  object,
  genes = NULL,
  annotation = NULL,
  distance = 5e5,
  p.cutoff = 0.05,
  reduction = "sailerx",
  atac.assay = NULL,
  rna.assay = NULL,
  model = NULL,
  backend = c("subprocess", "reticulate"),
  python = NULL,
  verbose = TRUE,
  ...
) {
  object <- check_seurat(object)
  backend <- rlang::arg_match(backend)
  model <- model_folder(object, reduction, model)
  record <- model_record(model)
  atac.assay <- model_assay(object, reduction, atac.assay)
  rna.assay <- check_rna_assay(object, rna.assay, atac.assay, NULL)
  check_members(genes, rownames(object[[rna.assay]]), "genes", "genes of assay {.val {name}}", rna.assay, rlang::current_env())
  annotation <- check_annotation(annotation, object[[atac.assay]], atac.assay)
  options <- command_options(list(...), link_options)
  python <- find_python(python, backend)

  folder <- working_folder()
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  input <- file.path(folder, "input.h5mu")
  output <- file.path(folder, "table.csv")
  write_both(input, object, c(rna.assay, atac.assay), record, object[[]][character()], "object")
  arguments <- c(
    "links", model, input, annotation_file(annotation, folder), "-o", output, "--distance", number_text(distance),
    flag_values("--genes", if (!is.null(genes)) names_of_genes(object[[rna.assay]], genes)), options
  )
  run_sailerx(arguments, backend, python, folder, verbose, rlang::set_names(c(rna.assay, atac.assay), c(record$rna, record$atac)))

  links <- read_links(output, object[[rna.assay]], object[[atac.assay]], atac.assay)
  params <- list(
    genes = brief(genes), distance = distance, p.cutoff = p.cutoff, reduction = reduction, atac.assay = atac.assay,
    rna.assay = rna.assay, model = model, backend = backend, python = python, ...
  )
  add_links(object, links, atac.assay, p.cutoff) |>
    log_command(atac.assay, "links", params, "LinksSAILERX")
}

# Options of Python that an argument of LinksSAILERX() sets, and the name of that argument.
link_options <- c("output" = "reduction", "o" = "reduction", "genes" = "genes", "distance" = "distance")

# The path of a GTF file, or a data frame with gene, chrom, start, end and strand.
check_annotation <- function(annotation, assay, name, call = rlang::caller_env()) {
  if (is.null(annotation) && has_chromatin(assay)) {
    annotation <- Signac::Annotation(assay)
  }
  if (is.null(annotation)) {
    cli::cli_abort(c(
      "{.arg annotation} must say where genes start: the peak assay {.val {name}} has no annotation.",
      i = "Name a GTF file, give a {.cls GRanges} with a column {.field gene_name}, or set {.fn Signac::Annotation}."
    ), call = call)
  }
  if (inherits(annotation, "GRanges")) genes_of_ranges(annotation, call) else check_file(annotation, "annotation", call)
}

# One row per gene: from its first to its last base in the ranges (exons, transcripts or genes).
genes_of_ranges <- function(ranges, call) {
  names <- S4Vectors::mcols(ranges)$gene_name
  if (is.null(names)) {
    cli::cli_abort("{.arg annotation} must have a column {.field gene_name}.", call = call)
  }
  frame <- data.frame(
    gene = as.character(names), chrom = as.character(GenomeInfoDb::seqnames(ranges)),
    start = IRanges::start(ranges) - 1, end = IRanges::end(ranges), strand = as.character(GenomicRanges::strand(ranges))
  )
  frame <- frame[!is.na(frame$gene) & nzchar(frame$gene), ]
  key <- paste(frame$gene, frame$chrom, frame$strand)
  frame$start <- as.vector(tapply(frame$start, key, min)[key])
  frame$end <- as.vector(tapply(frame$end, key, max)[key])
  frame[!duplicated(key), ]
}

annotation_file <- function(annotation, folder) {
  if (!is.data.frame(annotation)) {
    return(annotation)
  }
  path <- file.path(folder, "genes.csv")
  utils::write.csv(annotation, path, row.names = FALSE, fileEncoding = "UTF-8")
  path
}

names_of_genes <- function(assay, genes) {
  training_names(assay)[match(genes, rownames(assay))]
}

# The table of `sailerx links`, with the names of genes and peaks in the object.
read_links <- function(path, rna, atac, name) {
  text <- c(gene = "character", peak = "character", chrom = "character")
  table <- utils::read.csv(path, colClasses = text, encoding = "UTF-8")
  rows <- match(table$gene, training_names(rna))
  table$gene <- ifelse(is.na(rows), table$gene, rownames(rna)[rows])
  peaks <- unique(table[c("peak", PEAK_COLUMNS)])
  rownames(peaks) <- peaks$peak
  own <- rows_of_peaks(peaks, atac, name)
  table$peak <- ifelse(is.na(own), peaks$peak, rownames(atac)[own])[match(table$peak, peaks$peak)]
  table$linked <- as.logical(table$linked)
  table
}

add_links <- function(object, links, name, cutoff) {
  assay <- object[[name]]
  if (inherits(assay, "ChromatinAssay")) {
    Signac::Links(assay) <- links_as_ranges(links[!is.na(links$p_value) & links$p_value < cutoff, ])
  }
  # as a list, because Seurat would make one of a bare data frame
  suppressWarnings(SeuratObject::Misc(assay, slot = "sailerx") <- list(links = links))
  suppressWarnings(object[[name]] <- assay)
  object
}

# From the start of the gene to the centre of the peak, as Signac::LinkPlot() draws them.
links_as_ranges <- function(links) {
  centre <- (links$start + links$end) %/% 2
  ranges <- IRanges::IRanges(pmin(links$tss, centre) + 1, pmax(links$tss, centre) + 1)
  GenomicRanges::GRanges(
    links$chrom, ranges,
    score = links$correlation, gene = links$gene, peak = links$peak, zscore = links$z, pvalue = links$p_value
  )
}
