# The only file that calls hdf5r: all other files use these functions, so another HDF5 package would change this file
# alone. It replaces hdf5r's defaults that anndata cannot read or that are slow: attributes as arrays of one element,
# logicals with three values, tiny chunks, strings that are not UTF-8.

#' @importFrom rlang %||%
NULL

# Elements that are written at a time: 2 MB of doubles.
H5_BLOCK <- 2.5e5L

# Blocks that are written before R's garbage collector is called.
H5_BLOCKS_KEPT <- 4L

# Bytes before the HDF5 data, where mudata writes its one-line text header.
H5_USERBLOCK <- 512L

h5_create <- function(path) {
  props <- hdf5r::H5P_FILE_CREATE$new()$set_userblock(H5_USERBLOCK)
  hdf5r::H5File$new(path, mode = "w-", file_create_pl = props)
}

# Without the header of an .h5mu file, for .h5ad.
h5_create_plain <- function(path) {
  hdf5r::H5File$new(path, mode = "w-")
}

# HDF5 gives its reason at the end of a long error, which R would cut.
h5_open <- function(path) {
  rlang::local_options(warning.length = 8000L)
  hdf5r::H5File$new(path, mode = "r")
}

# Closes the nodes that were opened in the file, then the file: HDF5 keeps a file open as long as one of its nodes is.
# hdf5r's own `close_all()` collects R's garbage first, which takes half a second with Seurat and Signac loaded; it is
# needed where an open node is known to nobody here.
h5_close <- function(file) {
  if (!file$is_valid) {
    return(invisible())
  }
  name <- file$get_filename()
  nodes <- Filter(function(node) node$is_valid, h5_opened$nodes)
  inside <- vapply(nodes, function(node) identical(node$get_filename(), name), logical(1))
  h5_opened$nodes <- nodes[!inside]
  for (node in nodes[inside]) {
    node$close()
  }
  if (file$get_obj_count() > 1) file$close_all() else file$close()
}

# The groups and datasets of open files.
h5_opened <- new.env(parent = emptyenv())
h5_opened$nodes <- list()

h5_remember <- function(node) {
  h5_opened$nodes[[length(h5_opened$nodes) + 1L]] <- node
  node
}

# The text at the start of the file, by which mudata recognises it.
h5_write_header <- function(path, text) {
  connection <- file(path, open = "r+b")
  on.exit(close(connection))
  header <- charToRaw(text)
  writeBin(c(header, raw(H5_USERBLOCK - length(header))), connection)
}

# A name as a key of the file: a slash would create an HDF5 group.
h5_key <- function(name) {
  gsub("/", "_", utf8(name), fixed = TRUE)
}

h5_group <- function(parent, name) {
  h5_remember(parent$create_group(utf8(name)))
}

# hdf5r's types, created once: each is an R6 object, which takes longer to create than a small array to write.
h5_types <- new.env(parent = emptyenv())

h5_type <- function(value, as = NULL) {
  name <- as %||% typeof(value)
  if (is.null(h5_types[[name]])) {
    h5_types[[name]] <- h5_new_type(name)
  }
  h5_types[[name]]
}

h5_new_type <- function(name) {
  switch(
    name,
    character = hdf5r::H5T_STRING$new(size = Inf)$set_cset("UTF-8"),
    logical = hdf5r::H5T_LOGICAL$new(include_NA = FALSE),
    int8 = hdf5r::h5types$H5T_STD_I8LE,
    integer = hdf5r::h5types$H5T_STD_I32LE,
    int64 = hdf5r::h5types$H5T_STD_I64LE,
    uint32 = hdf5r::h5types$H5T_STD_U32LE,
    float32 = hdf5r::h5types$H5T_IEEE_F32LE,
    double = hdf5r::h5types$H5T_IEEE_F64LE
  )
}

h5_space <- function(value, scalar) {
  if (scalar) {
    h5_types$scalar_space <- h5_types$scalar_space %||% hdf5r::H5S$new("scalar")
    return(h5_types$scalar_space)
  }
  size <- if (is.null(dim(value))) length(value) else dim(value)
  hdf5r::H5S$new("simple", dims = size, maxdims = size)
}

h5_attr <- function(node, name, value, scalar = TRUE, as = NULL) {
  type <- h5_type(value, as)
  attribute <- node$create_attr(utf8(name), dtype = type, space = h5_space(value, scalar))
  if (length(value) > 0L) {
    attribute$write(h5_value(value), mem_type = type)
  }
  attribute$close()
}

h5_value <- function(value) {
  if (is.character(value)) utf8(value) else value
}

# Text as UTF-8, whatever it is marked as: every name and text in a file is UTF-8, in every locale.
utf8 <- function(text) {
  latin1 <- Encoding(text) == "latin1"
  text[latin1] <- iconv(text[latin1], "latin1", "UTF-8")
  # What is not marked is in the session's encoding; in the locale C it is UTF-8 bytes, or plain ASCII.
  unknown <- Encoding(text) == "unknown" & !validUTF8(text)
  text[unknown] <- iconv(text[unknown], "", "UTF-8", sub = "byte")
  as_utf8(text)
}

# Marks text whose bytes are UTF-8, as HDF5 gives it, as such.
as_utf8 <- function(text) {
  if (is.character(text)) {
    Encoding(text[Encoding(text) == "unknown"]) <- "UTF-8"
  }
  text
}

# Writes a vector, matrix or scalar. The axes of a matrix are reversed: 2 x 3 in R is (3, 2) in Python.
h5_write <- function(parent, name, value, scalar = FALSE, as = NULL, gzip = 0L) {
  compressed <- gzip > 0L && !scalar && is.null(dim(value)) && length(value) > 0L
  node <- h5_remember(parent$create_dataset(
    utf8(name),
    dtype = h5_type(value, as),
    space = h5_space(value, scalar),
    chunk_dims = if (compressed) min(length(value), 2^16),
    gzip_level = if (compressed) gzip
  ))
  value <- h5_value(value)
  if (scalar || !is.null(dim(value))) {
    if (length(value) > 0L) {
      node$write(args = NULL, value = value)
    }
  } else {
    h5_write_blocks(node, value)
  }
  node
}

# hdf5r's `write()` needs a vector of indices as large as the values; blocks need none. Without gc(), here and in
# `h5_sum()`, the memory of the blocks would be freed only when they have grown as large as the whole vector.
h5_write_blocks <- function(node, value) {
  space <- node$get_space()
  for (i in seq_len(ceiling(length(value) / H5_BLOCK))) {
    first <- (i - 1) * H5_BLOCK + 1
    size <- min(H5_BLOCK, length(value) - first + 1)
    space$select_hyperslab(start = first, count = size)
    block <- value[seq(first, length.out = size)]
    node$write_low_level(block, mem_type = h5_type(block), mem_space = hdf5r::H5S$new("simple", dims = size), file_space = space)
    if (i %% H5_BLOCKS_KEPT == 0) gc(full = FALSE)
  }
}

# The sum of a vector of numbers, read in blocks.
h5_sum <- function(node) {
  total <- 0
  size <- prod(node$dims)
  for (i in seq_len(ceiling(size / H5_BLOCK))) {
    total <- total + sum(as.double(node[((i - 1) * H5_BLOCK + 1):min(i * H5_BLOCK, size)]))
    if (i %% H5_BLOCKS_KEPT == 0) gc(full = FALSE)
  }
  total
}

# The value of an attribute; NULL if there is none.
h5_attribute <- function(node, name) {
  if (node$attr_exists(name)) {
    attribute <- node$attr_open(name)
    on.exit(attribute$close())
    as_utf8(attribute$read())
  }
}

h5_names <- function(node) {
  as_utf8(names(node))
}

h5_has <- function(node, name) {
  node$exists(utf8(name))
}

h5_child <- function(node, name) {
  h5_remember(node[[utf8(name)]])
}

h5_is_group <- function(node) {
  inherits(node, "H5Group") || inherits(node, "H5File")
}

# Reads a whole dataset. 64-bit integers become integers if they fit, else doubles; the axes of a matrix are reversed.
h5_read <- function(node) {
  if (identical(as.character(node$get_space()$get_simple_extent_type()), "H5S_NULL")) {
    return(NULL)
  }
  value <- node$read(drop = FALSE)
  if (length(dim(value)) == 1L) {
    dim(value) <- NULL
  }
  if (inherits(value, "integer64")) {
    cli::cli_warn("{.val {node$get_obj_name()}} holds integers above 2^53, which R can only keep to 16 digits.")
    value <- as.double(value)
  }
  as_utf8(value)
}
