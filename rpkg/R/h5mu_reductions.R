# Reductions: embeddings (`obsm`), loadings (`varm`) and standard deviations.

# The embedding `pca` becomes obsm `X_pca`, with NaN for cells that it lacks.
write_reduction <- function(file, name, reduction, object, written) {
  embedding <- SeuratObject::Embeddings(reduction)
  origin <- SeuratObject::Misc(reduction, "h5mu")
  assay <- if (isTRUE(origin$top)) NA else SeuratObject::DefaultAssay(reduction)
  place <- place_of(file, assay, rownames(embedding), written)
  key <- h5_key(origin$key %||% paste0("X_", name))
  rows <- match(place$cells, rownames(embedding))
  write_array(h5_child(place$node, "obsm"), key, t(embedding[rows, , drop = FALSE]))
  notes <- reduction_notes(reduction, name)
  notes$loading_features <- write_loadings(place$node, sub("^X_", "", key), reduction, object)
  write_value(notes_group(place$node, "reductions"), key, notes)
}

reduction_notes <- function(reduction, name) {
  list(
    name = scalar(name),
    assay = scalar(SeuratObject::DefaultAssay(reduction)),
    key = scalar(SeuratObject::Key(reduction)),
    columns = colnames(SeuratObject::Embeddings(reduction)),
    stdev = if (length(SeuratObject::Stdev(reduction)) > 0L) as.double(SeuratObject::Stdev(reduction)),
    sailerx = run_notes(reduction)
  )
}

# The reverse: adds the embedding `key` of a place as a reduction.
add_embedding <- function(object, place, key) {
  embedding <- read_matrix(h5_child(place$node, paste0("obsm/", key)))
  if (is.null(embedding)) {
    cli::cli_warn("An entry of obsm must be a numeric matrix with one row per cell; {.val {key}} is not, and is left out.")
    return(object)
  }
  notes <- read_note(place$node, "reductions", key)
  plain <- sub("^X_", "", key)
  name <- free_name(object, notes$name %||% plain, place$modality)
  embedding <- embedding[place$rows, , drop = FALSE]
  rownames(embedding) <- place$cells
  prefix <- free_key(object, notes$key %||% reduction_key(plain), name)
  colnames(embedding) <- notes$columns %||% paste0(prefix, seq_len(ncol(embedding)))
  assay <- c(intersect(notes$assay, SeuratObject::Assays(object)), place$name, SeuratObject::DefaultAssay(object))[[1L]]
  reduction <- SeuratObject::CreateDimReducObject(
    embeddings = embedding[rowSums(!is.na(embedding)) > 0L, , drop = FALSE],
    loadings = read_loadings(place, plain, notes, rownames(object[[assay]])[place$x_rows], colnames(embedding)),
    stdev = read_stdev(place, plain, notes),
    assay = assay,
    key = prefix
  )
  if (key != paste0("X_", name) || (is.null(place$name) && is.null(notes))) {
    SeuratObject::Misc(reduction, "h5mu") <- list(key = key, top = is.null(place$name))
  }
  methods::slot(reduction, "misc") <- c(methods::slot(reduction, "misc"), read_run_notes(notes$sailerx))
  object[[name]] <- reduction
  object
}

# An entry of obsm or varm as a numeric matrix, one row per cell or feature; NULL if it is none.
read_matrix <- function(node) {
  type <- h5_attribute(node, "encoding-type") %||% "array"
  value <- if (type == "array") h5_read(node) else read_value(node)
  if (inherits(value, "Matrix") || is.data.frame(value)) {
    value <- t(as.matrix(value))
  }
  if (length(dim(value)) == 2L && is.numeric(value) && nrow(value) > 0L) t(value) + 0
}

reduction_key <- function(name) {
  switch(name, pca = "PC_", lsi = "LSI_", tsne = "tSNE_", make_key(name))
}

# varm has a row for every feature, as in scanpy: 0 for features without loadings. Returns the rows (from 0) of the
# features that have loadings, in the order of the reduction.
write_loadings <- function(node, plain, reduction, object) {
  loadings <- SeuratObject::Loadings(reduction)
  if (length(loadings) == 0L || !"layers" %in% names(node)) {
    return(NULL)
  }
  features <- rownames(object[[SeuratObject::DefaultAssay(reduction)]])
  rows <- match(rownames(loadings), features)
  full <- matrix(0, ncol(loadings), length(features))
  full[, rows[!is.na(rows)]] <- t(loadings[!is.na(rows), , drop = FALSE])
  write_array(h5_child(node, "varm"), loadings_key(plain), full)
  rows[!is.na(rows)] - 1L
}

read_loadings <- function(place, plain, notes, features, columns) {
  key <- loadings_key(plain)
  if (is.null(place$name) || !key %in% keys_of(place$node, "varm")) {
    return(methods::new("matrix"))
  }
  loadings <- read_matrix(h5_child(place$node, paste0("varm/", key)))
  if (is.null(loadings) || ncol(loadings) != length(columns)) {
    return(methods::new("matrix"))
  }
  dimnames(loadings) <- list(features, columns)
  rows <- notes$loading_features
  loadings <- if (is.null(rows)) loadings else loadings[rows + 1L, , drop = FALSE]
  # features that `raw` lacks
  if (anyNA(rownames(loadings))) loadings[!is.na(rownames(loadings)), , drop = FALSE] else loadings
}

# The names that scanpy and muon use, where they have one.
loadings_key <- function(name) {
  switch(name, pca = "PCs", lsi = "LSI", paste0(name, "_loadings"))
}

# The standard deviations that WriteH5MU() noted, else the roots of the variances that scanpy stores.
read_stdev <- function(place, plain, notes) {
  path <- paste0("uns/", plain, "/variance")
  if (is.null(notes$stdev) && keys_include(place$node, "uns", plain) && h5_has(place$node, path)) {
    return(sqrt(as.double(h5_read(h5_child(place$node, path)))))
  }
  as.double(notes$stdev)
}

keys_include <- function(node, group, key) {
  key %in% keys_of(node, group) && h5_is_group(h5_child(node, paste0(group, "/", key)))
}
