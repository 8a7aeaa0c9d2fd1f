# anndata's encodings of vectors, factors, data frames and lists; the attribute `encoding-type` of a node names its
# encoding. All versions are read; only the old, stable ones are written (see bridge/FORMAT.md).

h5_encoding <- function(node, type, version) {
  h5_attr(node, "encoding-type", type)
  h5_attr(node, "encoding-version", version)
  invisible(node)
}

# Writes any R value but a sparse matrix: lists and data frames become groups; NULL entries are left out.
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

# Reads any node: a vector, matrix, factor, data frame, dgCMatrix or list; NULL for an encoding that is not known.
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

write_dict <- function(parent, name) {
  h5_encoding(h5_group(parent, name), "dict", "0.1.0")
}

read_dict <- function(node) {
  keys <- h5_names(node)
  rlang::set_names(lapply(keys, function(key) read_value(h5_child(node, key))), keys)
}

write_array <- function(parent, name, value, as = NULL, gzip = 0L) {
  type <- if (is.character(value)) "string-array" else "array"
  h5_encoding(h5_write(parent, name, value, as = as, gzip = gzip), type, "0.2.0")
}

write_scalar <- function(parent, name, value) {
  type <- if (is.character(value)) "string" else "numeric-scalar"
  h5_encoding(h5_write(parent, name, value, scalar = TRUE), type, "0.2.0")
}

# Marks a value that write_value() writes as a scalar, not as an array of one element.
scalar <- function(value) {
  structure(value, class = "scalar")
}

write_categorical <- function(parent, name, value) {
  node <- h5_encoding(h5_group(parent, name), "categorical", "0.2.0")
  h5_attr(node, "ordered", is.ordered(value))
  codes <- as.integer(value) - 1L
  codes[is.na(codes)] <- -1L
  write_array(node, "categories", levels(value))
  write_array(node, "codes", codes, as = if (nlevels(value) < 128L) "int8")
}

read_categorical <- function(node) {
  levels <- as.character(read_value(h5_child(node, "categories")))
  codes <- as.integer(h5_read(h5_child(node, "codes")))
  codes[codes < 0L] <- NA
  factor(levels[codes + 1L], levels = levels, ordered = isTRUE(as.logical(h5_attribute(node, "ordered"))))
}

write_nullable <- function(parent, name, value) {
  type <- if (is.logical(value)) "nullable-boolean" else "nullable-integer"
  node <- h5_encoding(h5_group(parent, name), type, "0.1.0")
  missing <- is.na(value)
  value[missing] <- if (is.logical(value)) FALSE else 0L
  write_array(node, "values", value)
  write_array(node, "mask", missing)
}

read_nullable <- function(node) {
  value <- h5_read(h5_child(node, "values"))
  value[as.logical(h5_read(h5_child(node, "mask")))] <- NA
  value
}

# `frame`: one row per cell or feature; `index`: their names.
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

# Duplicate names get a suffix here, because they are the row names; read_index() returns them unchanged.
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

# Text with NA is written as a categorical, because anndata's own encoding of it is too new.
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
