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

# `make` is SeuratObject::CreateAssay5Object or CreateAssayObject.
toy_object <- function(make = SeuratObject::CreateAssay5Object) {
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

# Fast and the same at every run.
toy_run <- function(object, ..., atac.assay = "peaks", verbose = FALSE) {
  RunSAILERX(
    object, ...,
    atac.assay = atac.assay, verbose = verbose, n_latent = 3, max_epochs = 2, device = "cpu", threads = 1
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
