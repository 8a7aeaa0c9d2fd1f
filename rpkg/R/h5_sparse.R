# Sparse matrices. A dgCMatrix (features x cells) and a CSR matrix (cells x features) hold the same three arrays, so
# nothing is transposed.

# `matrix`: a dgCMatrix, features x cells. It becomes a csr_matrix, cells x features.
write_csr <- function(parent, name, matrix, gzip = 0L) {
  node <- h5_encoding(h5_group(parent, name), "csr_matrix", "0.1.0")
  h5_attr(node, "shape", rev(dim(matrix)), scalar = FALSE, as = "int64")
  write_array(node, "data", matrix@x, as = if (fits_float32(matrix@x)) "float32", gzip = gzip)
  write_array(node, "indices", matrix@i, gzip = gzip)
  write_array(node, "indptr", matrix@p)
}

# Whole numbers below 2^24 are exact in single precision, so counts take half the space. `x` is not copied.
fits_float32 <- function(x) {
  rlang::is_integerish(x, finite = TRUE) && (!length(x) || (min(x) > -2^24 && max(x) < 2^24))
}

# The three arrays as a dgCMatrix. A csr_matrix (cells x features) is read as its transpose, features x cells, as Seurat
# stores it; a csc_matrix is read as it is.
read_sparse <- function(node) {
  size <- as.double(h5_attribute(node, "shape"))
  if (any(size > .Machine$integer.max)) {
    cli::cli_abort(c(
      "A matrix in R has at most 2^31 - 1 rows and columns, but this one is {size[1]} x {size[2]}.",
      i = "Leave this modality out with {.arg assays}."
    ))
  }
  if (h5_attribute(node, "encoding-type") == "csr_matrix") {
    size <- rev(size)
  }
  pointers <- as.double(h5_read(h5_child(node, "indptr")))
  check_countable(pointers[length(pointers)])
  new_dgCMatrix(
    i = as.integer(h5_read(h5_child(node, "indices"))),
    p = as.integer(pointers),
    x = as.double(h5_read(h5_child(node, "data"))),
    size = as.integer(size)
  )
}

check_countable <- function(n_values) {
  if (n_values > .Machine$integer.max) {
    cli::cli_abort(c(
      "A sparse matrix in R holds at most 2^31 - 1 values, but this one has {format(n_values, big.mark = ',')}.",
      i = "Take a subset of the cells first, in Python or of the parts of a split layer, or leave this modality out with {.arg assays}."
    ))
  }
}

# The rows of each column must be sorted in R, and need not be in a file.
new_dgCMatrix <- function(i, p, x, size) {
  steps <- diff(i)
  steps[setdiff(p, c(0L, length(i)))] <- 1L
  if (any(steps <= 0L)) {
    return(Matrix::sparseMatrix(i = i, p = p, x = x, dims = size, index1 = FALSE))
  }
  methods::new("dgCMatrix", i = i, p = p, x = x, Dim = size)
}

# A matrix of the file (cells x features, of any encoding) as features x cells.
read_features_by_cells <- function(node) {
  switch(
    h5_attribute(node, "encoding-type") %||% "array",
    "csr_matrix" = read_sparse(node),
    "csc_matrix" = Matrix::t(read_sparse(node)),
    methods::as(methods::as(h5_read(node) + 0, "CsparseMatrix"), "generalMatrix")
  )
}
