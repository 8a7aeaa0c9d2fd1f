# Writers of anndata's encodings: one function per encoding, only the old and stable ones (see bridge/FORMAT.md).

h5_encoding <- function(node, type, version) {
  h5_attr(node, "encoding-type", type)
  h5_attr(node, "encoding-version", version)
  invisible(node)
}

write_dict <- function(parent, name) {
  h5_encoding(h5_group(parent, name), "dict", "0.1.0")
}

write_array <- function(parent, name, value, as = NULL, gzip = 0L) {
  type <- if (is.character(value)) "string-array" else "array"
  h5_encoding(h5_write(parent, name, value, as = as, gzip = gzip), type, "0.2.0")
}

write_scalar <- function(parent, name, value) {
  type <- if (is.character(value)) "string" else "numeric-scalar"
  h5_encoding(h5_write(parent, name, value, scalar = TRUE), type, "0.2.0")
}

write_categorical <- function(parent, name, value) {
  node <- h5_encoding(h5_group(parent, name), "categorical", "0.2.0")
  h5_attr(node, "ordered", is.ordered(value))
  codes <- as.integer(value) - 1L
  codes[is.na(codes)] <- -1L
  write_array(node, "categories", levels(value))
  write_array(node, "codes", codes, as = if (nlevels(value) < 128L) "int8")
}

write_nullable <- function(parent, name, value) {
  type <- if (is.logical(value)) "nullable-boolean" else "nullable-integer"
  node <- h5_encoding(h5_group(parent, name), type, "0.1.0")
  missing <- is.na(value)
  value[missing] <- if (is.logical(value)) FALSE else 0L
  write_array(node, "values", value)
  write_array(node, "mask", missing)
}

# A column of a data frame. Text with NA has no stable encoding of its own, so it is stored as a categorical.
write_column <- function(parent, name, value) {
  if (is.character(value) && anyNA(value)) {
    value <- factor(value)
  }
  if (is.factor(value)) {
    write_categorical(parent, name, value)
  } else if (anyNA(value) && (is.logical(value) || is.integer(value))) {
    write_nullable(parent, name, value)
  } else {
    write_array(parent, name, as.vector(value))
  }
}

# `frame`: one row per cell or feature, their names as row names.
write_dataframe <- function(parent, name, frame, index = rownames(frame)) {
  node <- h5_encoding(h5_group(parent, name), "dataframe", "0.2.0")
  h5_attr(node, "_index", "_index")
  h5_attr(node, "column-order", as.character(colnames(frame)), scalar = FALSE)
  write_array(node, "_index", index)
  for (column in colnames(frame)) {
    write_column(node, column, frame[[column]])
  }
  invisible(node)
}

# A dgCMatrix, features x cells. Its three arrays are those of the CSR matrix cells x features: nothing is transposed.
write_csr <- function(parent, name, matrix, gzip = 0L) {
  node <- h5_encoding(h5_group(parent, name), "csr_matrix", "0.1.0")
  h5_attr(node, "shape", rev(dim(matrix)), scalar = FALSE, as = "int64")
  write_array(node, "data", matrix@x, as = if (fits_float32(matrix@x)) "float32", gzip = gzip)
  write_array(node, "indices", matrix@i, gzip = gzip)
  write_array(node, "indptr", matrix@p)
}

# Whole numbers below 2^24 are exact in single precision, so counts take half the space. Nothing here copies `x`.
fits_float32 <- function(x) {
  rlang::is_integerish(x, finite = TRUE) && (!length(x) || (min(x) > -2^24 && max(x) < 2^24))
}

# A nested list of scalars, vectors, data frames and lists becomes groups and datasets; NULL entries are left out.
write_value <- function(parent, name, value) {
  if (is.data.frame(value)) {
    write_dataframe(parent, name, value)
  } else if (is.list(value)) {
    node <- write_dict(parent, name)
    for (key in names(value)) {
      write_value(node, key, value[[key]])
    }
  } else if (is.factor(value)) {
    write_categorical(parent, name, value)
  } else if (inherits(value, "scalar")) {
    write_scalar(parent, name, unclass(value))
  } else if (!is.null(value)) {
    write_array(parent, name, value)
  }
}

# Marks a value of length one that is written as a scalar and not as an array of one.
scalar <- function(value) {
  structure(value, class = "scalar")
}
