# Small objects for ReadH5MU() and WriteH5MU(), and open files.

small_counts <- function(n_features = 6, n_cells = 5, prefix = "gene") {
  counts <- Matrix::sparseMatrix(
    i = c(1, 2, 4, 6), j = c(1, 3, 3, 5), x = c(1, 2, 300, 4), dims = c(n_features, n_cells),
    dimnames = list(paste0(prefix, seq_len(n_features)), paste0("cell", seq_len(n_cells)))
  )
  methods::as(counts, "generalMatrix")
}

small_object <- function(...) {
  SeuratObject::CreateSeuratObject(small_counts(), ...)
}

peak_names_of <- function(n) paste0("chr", seq_len(n), "-", 10 * seq_len(n), "-", 10 * seq_len(n) + 5)

with_peaks <- function(object = small_object()) {
  counts <- small_counts()
  rownames(counts) <- peak_names_of(6)
  object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts[, 1:3])
  object
}

local_written <- function(object, ..., env = parent.frame()) {
  path <- withr::local_tempfile(fileext = ".h5mu", .local_envir = env)
  WriteH5MU(object, path, ...)
  file <- h5_open(path)
  withr::defer(h5_close(file), envir = env)
  file
}

local_round_trip <- function(object, ..., env = parent.frame()) {
  path <- withr::local_tempfile(fileext = ".h5mu", .local_envir = env)
  WriteH5MU(object, path)
  ReadH5MU(path, ...)
}

random_object <- function() {
  withr::local_seed(1)
  counts <- Matrix::rsparsematrix(20, 10, 0.3, rand.x = function(n) stats::rpois(n, 3) + 1)
  dimnames(counts) <- list(paste0("gene-", 1:20), paste0("cell", 1:10))
  object <- SeuratObject::CreateSeuratObject(counts)
  object$label <- factor(rep(c("b", NA, "a", "b", "a"), 2), levels = c("b", "unused", "a"))
  object$note <- rep(c("x", NA), 5)
  SeuratObject::Idents(object) <- "label"
  SeuratObject::VariableFeatures(object) <- paste0("gene-", c(7, 2, 11))
  embedding <- matrix(stats::rnorm(30), 10, dimnames = list(colnames(object), paste0("PC_", 1:3)))
  loadings <- matrix(stats::rnorm(9), 3, dimnames = list(paste0("gene-", c(7, 2, 11)), paste0("PC_", 1:3)))
  object[["pca"]] <- SeuratObject::CreateDimReducObject(embedding, loadings, stdev = c(3, 2, 1), assay = "RNA", key = "PC_")
  edges <- Matrix::sparseMatrix(c(1, 2, 9), c(2, 3, 10), x = c(1, 0.5, 1), dims = c(10, 10))
  dimnames(edges) <- list(colnames(object), colnames(object))
  graph <- SeuratObject::as.Graph(edges)
  SeuratObject::DefaultAssay(graph) <- "RNA"
  object[["RNA_nn"]] <- graph
  object
}

# An open file, removed when the test ends.
local_h5 <- function(env = parent.frame()) {
  path <- tempfile(fileext = ".h5")
  file <- h5_create(path)
  withr::defer({
    h5_close(file)
    unlink(path)
  }, envir = env)
  file
}

# As a file that was born in Python: without the note of which class an assay had in R.
forget_class <- function(path, modalities) {
  file <- hdf5r::H5File$new(path, "r+")
  for (modality in modalities) {
    file[[paste0("mod/", modality, "/uns/seurat")]]$link_delete("class")
  }
  file$close_all()
}
