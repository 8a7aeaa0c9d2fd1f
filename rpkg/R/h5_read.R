# Readers of anndata's encodings, of both generations: what a node is, is said by its attribute `encoding-type`.

# Any node as an R value: vector, matrix, factor, data frame, dgCMatrix or list; NULL for what R has no value for.
read_value <- function(node) {
  switch(
    h5_attribute(node, "encoding-type") %||% if (h5_is_group(node)) "dict" else "array",
    "dataframe" = read_dataframe(node),
    "categorical" = read_categorical(node),
    "nullable-integer" = ,
    "nullable-boolean" = ,
    "nullable-string-array" = read_nullable(node),
    "csr_matrix" = Matrix::t(read_sparse(node)),
    "csc_matrix" = read_sparse(node),
    "dict" = read_dict(node),
    "null" = NULL,
    if (h5_is_group(node)) NULL else h5_read(node)
  )
}

read_dict <- function(node) {
  keys <- h5_names(node)
  rlang::set_names(lapply(keys, function(key) read_value(h5_child(node, key))), keys)
}

read_categorical <- function(node) {
  levels <- as.character(read_value(h5_child(node, "categories")))
  codes <- as.integer(h5_read(h5_child(node, "codes")))
  codes[codes < 0L] <- NA
  factor(levels[codes + 1L], levels = levels, ordered = isTRUE(as.logical(h5_attribute(node, "ordered"))))
}

read_nullable <- function(node) {
  value <- h5_read(h5_child(node, "values"))
  value[as.logical(h5_read(h5_child(node, "mask")))] <- NA
  value
}

# One row per cell or feature, columns in the stored order. Names that repeat get a suffix; read_index() has them as they are.
read_dataframe <- function(node) {
  frame <- data.frame(row.names = make.unique(read_index(node)))
  for (column in as.character(h5_attribute(node, "column-order"))) {
    frame[[column]] <- read_value(h5_child(node, column))
  }
  frame
}

read_index <- function(node) {
  as.character(read_value(h5_child(node, h5_attribute(node, "_index") %||% "_index")))
}

# The three arrays of a sparse matrix as a dgCMatrix. For CSR, cells x features, this is the transpose: features x
# cells, which is how Seurat wants it, and nothing has to be moved.
read_sparse <- function(node) {
  size <- as.double(h5_attribute(node, "shape"))
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
      i = "Take a subset of the cells in Python first, or leave this modality out with {.arg assays}."
    ))
  }
}

# Rows need not be sorted in a file, but must be in R.
new_dgCMatrix <- function(i, p, x, size) {
  steps <- diff(i)
  steps[setdiff(p, c(0L, length(i)))] <- 1L
  if (any(steps <= 0L)) {
    return(Matrix::sparseMatrix(i = i, p = p, x = x, dims = size, index1 = FALSE))
  }
  methods::new("dgCMatrix", i = i, p = p, x = x, Dim = size)
}

# A matrix of the file as features x cells, whatever its encoding.
read_features_by_cells <- function(node) {
  switch(
    h5_attribute(node, "encoding-type") %||% "array",
    "csr_matrix" = read_sparse(node),
    "csc_matrix" = Matrix::t(read_sparse(node)),
    methods::as(methods::as(h5_read(node) + 0, "CsparseMatrix"), "generalMatrix")
  )
}
