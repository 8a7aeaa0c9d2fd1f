# Small objects: 60 cells, 50 genes, 90 peaks on three chromosomes.

toy_counts <- function(features, cells, seed = 1) {
  withr::with_seed(seed, {
    values <- rpois(length(features) * length(cells), 0.7)
  })
  counts <- matrix(values, length(features), dimnames = list(features, cells))
  counts[1, ] <- counts[1, ] + 1
  methods::as(counts, "CsparseMatrix")
}

toy_peaks <- function() {
  start <- seq(1000, by = 2000, length.out = 30)
  c(outer(paste(start, start + 400, sep = "-"), paste0("chr", c(1, 2, "X")), function(range, chrom) paste(chrom, range, sep = "-")))
}

toy_cells <- function() paste0("cell", 1:60)

# `make` is SeuratObject::CreateAssay5Object or CreateAssayObject; each object is made once.
toy_object <- local({
  made <- list()
  function(make = SeuratObject::CreateAssay5Object) {
    name <- if (identical(make, SeuratObject::CreateAssay5Object)) "assay5" else "assay"
    made[[name]] <<- made[[name]] %||% new_toy_object(make)
    made[[name]]
  }
})

new_toy_object <- function(make) {
  rna <- make(counts = toy_counts(paste0("gene", 1:50), toy_cells()))
  object <- SeuratObject::CreateSeuratObject(rna, assay = "RNA")
  object[["peaks"]] <- make(counts = toy_counts(toy_peaks(), toy_cells(), seed = 2))
  object$donor <- factor(rep(c("a", "b"), 30))
  object$plate <- rep(1:3, 20)
  object$mito <- seq(0, 1, length.out = 60)
  object[["pca"]] <- toy_reduction(toy_cells())
  object
}

toy_reduction <- function(cells, assay = "RNA", key = "PC_") {
  values <- withr::with_seed(3, matrix(rnorm(length(cells) * 4), ncol = 4, dimnames = list(cells, paste0(key, 1:4))))
  SeuratObject::CreateDimReducObject(values, key = key, assay = assay)
}

# Python inside this R, where it loads torch once; a process of its own takes seconds for that at every run.
# test-backend.R, test-interrupt.R, test-progress.R and the project's parity tests start such processes.
toy_backend <- function() {
  if (rlang::is_installed("reticulate")) "reticulate" else "subprocess"
}

# Fast and the same at every run.
toy_run <- function(object, ..., atac.assay = "peaks", backend = toy_backend(), verbose = FALSE) {
  RunSAILERX(
    object, ...,
    atac.assay = atac.assay, backend = backend, verbose = verbose, n_latent = 3, max_epochs = 2, device = "cpu", threads = 1
  )
}

# toy_object() after toy_run(reference = "pca"), made once.
toy_result <- local({
  result <- NULL
  function() {
    result <<- result %||% toy_run(toy_object(), reference = "pca")
    result
  }
})

# The same with a batch, and with its model kept until R ends.
toy_kept <- local({
  result <- NULL
  function() {
    result <<- result %||% toy_run(toy_object(), reference = "pca", batch = "donor", keep = tempfile("toy-model-"))
    result
  }
})

# Another name for the verbs that use a model: quiet, and on one thread.
toy_verb <- function(verb, ...) {
  verb(..., backend = toy_backend(), verbose = FALSE, threads = 1)
}

# The peak counts of some cells in an object of their own.
toy_atac <- function(cells, peaks = toy_peaks(), assay = "peaks") {
  counts <- SeuratObject::LayerData(toy_object()[["peaks"]], layer = "counts")[, cells]
  rownames(counts) <- peaks
  object <- SeuratObject::CreateSeuratObject(SeuratObject::CreateAssay5Object(counts), assay = assay)
  object$donor <- toy_object()$donor[cells]
  object
}

# The same peaks, each moved by some bases.
moved_peaks <- function(by) {
  table <- parse_peaks(toy_peaks())
  paste(table$chrom, table$start + 1 + by, table$end + by, sep = "-")
}

# With the peak assay as Signac's, with annotation, a fragment file and motifs.
as_signac <- function(object) {
  counts <- SeuratObject::LayerData(object[["peaks"]], layer = "counts")
  fragments <- system.file("extdata", "fragments.tsv.gz", package = "Signac")
  annotation <- GenomicRanges::GRanges("chr1", IRanges::IRanges(c(900, 9000), width = 500), strand = "+")
  S4Vectors::mcols(annotation) <- S4Vectors::DataFrame(
    tx_id = c("t1", "t2"), gene_name = c("g1", "g2"), gene_id = c("i1", "i2"), gene_biotype = "protein_coding", type = "exon"
  )
  barcodes <- rlang::set_names(paste0("b", seq_along(colnames(counts))), colnames(counts))
  assay <- Signac::CreateChromatinAssay(
    counts, sep = c("-", "-"), annotation = annotation,
    genome = GenomeInfoDb::Seqinfo(c("chr1", "chr2", "chrX"), c(1e6, 1e6, 1e6), genome = "toy"),
    fragments = list(Signac::CreateFragmentObject(fragments, barcodes, validate.fragments = FALSE, verbose = FALSE))
  )
  sites <- Matrix::sparseMatrix(c(1, 5, 90), c(1, 2, 2), x = 1, dims = c(90, 2), dimnames = list(rownames(counts), c("m1", "m2")))
  Signac::Motifs(assay) <- Signac::CreateMotifObject(sites)
  object[["peaks"]] <- NULL
  object[["peaks"]] <- assay
  object
}

toy_embedding <- function(object, reduction = "sailerx") {
  SeuratObject::Embeddings(object, reduction)
}

# With one more assay that was normalised and whose counts were thrown away.
with_normalised <- function(object, name, features) {
  if (name %in% names(object)) {
    object[[name]] <- NULL
  }
  suppressWarnings({
    object[[name]] <- SeuratObject::CreateAssay5Object(data = toy_counts(features, toy_cells()))
  })
  object
}

# The two count matrices of the file that Python reads (features x cells), and the metadata.
written <- function(object, rna = "RNA", reference = "pca", columns = NULL) {
  path <- withr::local_tempfile(fileext = ".h5mu")
  write_input(object, path, rna, "peaks", reference, columns)
  file <- h5_open(path)
  on.exit(h5_close(file))
  counts <- lapply(c(rna = "rna", atac = "atac"), function(modality) {
    node <- h5_child(file, paste0("mod/", modality))
    names <- lapply(c("var", "obs"), function(frame) read_index(h5_child(node, frame)))
    as.matrix(`dimnames<-`(read_sparse(h5_child(node, "X")), names))
  })
  c(counts, list(obs = read_value(h5_child(file, "obs"))))
}
