# The layers of an assay, and X and `layers` of its modality. Matrices are features x cells in R, cells x features in Python.

# The names of the layers that make up `layer`: itself, or the parts that `split()` made of it (counts.1, counts.2).
layer_parts <- function(assay, layer) {
  there <- SeuratObject::Layers(assay)
  if (layer %in% there) layer else there[startsWith(there, paste0(layer, "."))]
}

# Parts of a split layer are of different cells. CreateSeuratObject() of a list, as Read10X_h5() returns it, makes parts of
# the same cells instead, one per kind of feature: genes and peaks in one assay, which is not what any model takes.
check_parts <- function(assay, name, layer, call = rlang::caller_env()) {
  parts <- layer_parts(assay, layer)
  cells <- unlist(lapply(parts, function(part) SeuratObject::Cells(assay, layer = part)))
  if (anyDuplicated(cells)) {
    kinds <- substring(parts, nchar(layer) + 2L)
    cli::cli_abort(c(
      "The layers {.val {parts}} of assay {.val {name}} must be of different cells, but are of the same: {.val {kinds}} in one assay.",
      i = "Make an assay of each, for example {.code object[[\"ATAC\"]] <- CreateAssay5Object(LayerData(object, assay = \"{name}\", layer = \"{parts[length(parts)]}\"))}, and the same for {.val {kinds[1]}}.",
      i = "Or give {.fn RunSAILERX} the list that {.fn Read10X_h5} returns."
    ), call = call)
  }
}

has_counts <- function(object, assay) {
  length(layer_parts(object[[assay]], "counts")) > 0
}

# The layer that is written as X by default: an assay of imputed or normalised values has no counts.
usual_layer <- function(assay) {
  if (!length(layer_parts(assay, "counts")) && length(layer_parts(assay, "data"))) "data" else "counts"
}

# The layer to write of each assay, named by assay; NA for none.
check_layer <- function(object, assays, layer) {
  if (!is.null(layer) && is.null(names(layer))) {
    layer <- rlang::set_names(rep_len(as.character(layer), length(assays)), assays)
  }
  check_among(names(layer), assays, "layer")
  usual <- vapply(assays, function(name) usual_layer(object[[name]]), character(1))
  layer <- rlang::set_names(ifelse(assays %in% names(layer), layer[assays], usual), assays)
  for (name in assays[!is.na(layer[assays])]) {
    check_has_layer(object[[name]], name, layer[[name]])
  }
  layer
}

# Further layers, each of which at least one of the assays must have.
check_layers <- function(object, assays, layers, call = rlang::caller_env()) {
  has <- function(layer) any(vapply(assays, function(name) length(layer_parts(object[[name]], layer)) > 0L, logical(1)))
  there <- unique(unlist(lapply(assays, function(name) SeuratObject::Layers(object[[name]]))))
  check_among(layers, union(there, Filter(has, layers)), "layers", call = call)
}

check_has_layer <- function(assay, name, layer) {
  if (length(layer_parts(assay, layer)) == 0L) {
    cli::cli_abort(c(
      "Assay {.val {name}} must have the layer {.val {layer}}.",
      x = "It has: {.val {SeuratObject::Layers(assay)}}.",
      i = "Name another one with {.arg layer}."
    ))
  }
}

# One layer as a dgCMatrix with all features and cells of the assay.
layer_matrix <- function(assay, layer, name) {
  matrix <- if (layer %in% SeuratObject::Layers(assay)) {
    one_layer(assay, layer)
  } else {
    check_parts(assay, name, layer, NULL)
    joined_layers(assay, layer_parts(assay, layer))
  }
  if (any(dim(matrix) != dim(assay))) {
    cli::cli_abort(c(
      "Layer {.val {layer}} of assay {.val {name}} must hold all {nrow(assay)} features and {ncol(assay)} cells of the assay.",
      x = "It holds {nrow(matrix)} features and {ncol(matrix)} cells.",
      i = if (layer == "scale.data") {
        "Leave it out, or scale all features: {.code object <- ScaleData(object, assay = \"{name}\", features = rownames(object[[\"{name}\"]]))}."
      } else {
        "Leave it out, or subset the assay to the features and cells of this layer."
      }
    ))
  }
  as_dgCMatrix(matrix)
}

# LayerData() copies the matrix to set its dimnames. A stored matrix that is in the order of the assay is used as it is,
# without names.
one_layer <- function(assay, layer) {
  stored <- if (inherits(assay, "Assay5")) methods::slot(assay, "layers")[[layer]]
  if (inherits(stored, "dgCMatrix") && all(dim(stored) == dim(assay)) && has_order_of(assay, layer)) {
    return(stored)
  }
  SeuratObject::LayerData(assay, layer = layer)
}

# Does the layer have the features and cells of the assay, in the same order?
has_order_of <- function(assay, layer) {
  identical(SeuratObject::Features(assay, layer = layer), rownames(assay)) &&
    identical(SeuratObject::Cells(assay, layer = layer), colnames(assay))
}

# Binds the parts of a split layer by column, in the order of the assay's cells; features that a part lacks are 0.
# SeuratObject::JoinLayers() does not take all kinds of layers on disk.
joined_layers <- function(assay, parts) {
  parts <- lapply(parts, function(part) {
    matrix <- as_dgCMatrix(SeuratObject::LayerData(assay, layer = part))
    if (identical(rownames(matrix), rownames(assay))) matrix else with_rows(matrix, rownames(assay))
  })
  check_countable(sum(vapply(parts, function(part) length(part@x), numeric(1))))
  matrix <- do.call(cbind, parts)
  cells <- intersect(colnames(assay), colnames(matrix))
  if (identical(cells, colnames(matrix))) matrix else matrix[, cells, drop = FALSE]
}

# The matrix with one row for each of `names`. Only the row indices change; new_dgCMatrix() sorts them if they must be.
with_rows <- function(matrix, names) {
  rows <- match(rownames(matrix), names)
  result <- new_dgCMatrix(rows[matrix@i + 1L] - 1L, matrix@p, matrix@x, c(length(names), ncol(matrix)))
  `dimnames<-`(result, list(names, colnames(matrix)))
}

as_dgCMatrix <- function(matrix) {
  if (inherits(matrix, "dgCMatrix")) {
    return(matrix)
  }
  if (inherits(matrix, "IterableMatrix")) {
    return(methods::as(matrix, "dgCMatrix"))
  }
  methods::as(methods::as(methods::as(matrix, "CsparseMatrix"), "generalMatrix"), "dMatrix")
}

write_layers <- function(node, assay, name, options) {
  layer <- options$layer[[name]]
  if (!is.na(layer)) {
    write_layer(node, "X", assay, layer, name, options$gzip)
  }
  for (extra in setdiff(options$layers, layer)) {
    if (length(layer_parts(assay, extra)) > 0L) {
      write_layer(h5_child(node, "layers"), h5_key(extra), assay, extra, name, options$gzip)
    }
  }
}

# Writes one layer, and compares the sum of its values in the object with that in the file.
write_layer <- function(node, key, assay, layer, name, gzip) {
  matrix <- layer_matrix(assay, layer, name)
  write_csr(node, key, matrix, gzip)
  before <- sum(vapply(layer_parts(assay, layer), function(part) layer_total(assay, part), numeric(1)))
  after <- h5_sum(h5_child(node, paste0(key, "/data")))
  if (!isTRUE(all.equal(before, after, tolerance = if (fits_float32(matrix@x)) 0 else 1e-6))) {
    cli::cli_abort(c(
      "The file must hold all of layer {.val {layer}} of assay {.val {name}}, but its values sum to {after}, those of the object to {before}. Nothing was written.",
      i = "Please report this with a small example of the object."
    ), call = NULL)
  }
}

# The sum of a layer as it is stored, without a copy if it is a sparse matrix.
layer_total <- function(assay, part) {
  stored <- if (inherits(assay, "Assay5")) methods::slot(assay, "layers")[[part]]
  matrix <- if (inherits(stored, "dgCMatrix")) stored else SeuratObject::LayerData(assay, layer = part)
  if (inherits(matrix, "dgCMatrix")) sum(matrix@x) else sum(as_dgCMatrix(matrix)@x)
}

# X and `layers` as a list of dgCMatrix, named by layer. X has the name that WriteH5MU() noted, else name_of_x().
read_layers <- function(node, modality) {
  extra <- if (h5_has(node, "layers")) h5_names(h5_child(node, "layers"))
  layers <- rlang::set_names(lapply(extra, function(name) read_features_by_cells(h5_child(node, paste0("layers/", name)))), extra)
  if (h5_has(node, "X") && !identical(h5_attribute(h5_child(node, "X"), "encoding-type"), "null")) {
    x <- read_features_by_cells(h5_child(node, "X"))
    layers <- c(rlang::set_names(list(x), read_note(node, "x") %||% name_of_x(x, extra)), layers)
  }
  if (length(layers) == 0L) {
    cli::cli_abort(c(
      "A modality must have a matrix, but {.val {modality}} has neither X nor layers.",
      i = "Leave it out with {.arg assays}."
    ))
  }
  layers
}

# Whole numbers are counts, unless another layer has that name.
name_of_x <- function(x, others) {
  if (!"counts" %in% others && fits_float32(x@x)) "counts" else "data"
}

order_columns <- function(matrix, columns) {
  if (identical(columns, seq_len(ncol(matrix)))) matrix else matrix[, columns, drop = FALSE]
}
