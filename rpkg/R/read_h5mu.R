#' Read MuData (.h5mu) as a Seurat object
#'
#' Reads any valid `.h5mu` file, whether `mudata`, [WriteH5MU()] or another program wrote it. Modalities become assays, `obs` becomes
#' the cell metadata, `obsm` reductions (with loadings and standard deviations) and `obsp` graphs. What has no place in a Seurat object is named
#' in a message.
#'
#' Peaks with `chrom`, `start` and `end` become a Signac `ChromatinAssay` where Signac is installed, with genome, sequence
#' lengths, fragment files and gene annotation where the file has them. The file counts positions from 0 with the end left out, Signac
#' from 1 with the end included: `start` differs by one, the peak is the same.
#'
#' @param file Path of an `.h5mu` file.
#' @param assays Names of the modalities to read, all by default. Names of this vector are the names of the assays: `c(RNA = "rna", peaks = "atac")`.
#'   Unnamed, an assay gets the name it had in R, else `rna` becomes `RNA`, `atac` becomes `ATAC`, and any other keeps its name.
#' @param chromatin `"auto"`: a `ChromatinAssay` where Signac is installed and the file does not say that it was a plain assay. `TRUE`: always, or an
#'   error, and also from peaks that have names such as `chr1:100-200` and no coordinates (read as Signac reads them, from 1); `FALSE`: never.
#' @param verbose Say what could not be carried over?
#' @returns A `Seurat` object. Where names had to be changed, for `_` and `|` are not allowed in them or because Signac names peaks by their
#'   coordinates, the feature metadata column `original_name` keeps those of the file.
#' @inherit WriteH5MU examples
#' @export
ReadH5MU <- function(file, assays = NULL, chromatin = "auto", verbose = TRUE) {
  chromatin <- check_chromatin(chromatin)
  connection <- open_h5mu(file)
  on.exit(h5_close(connection))
  modalities <- choose_modalities(connection, assays)
  parts <- Map(
    function(modality, name) read_modality(connection, modality, name, chromatin),
    names(modalities),
    modalities
  )
  if (isTRUE(chromatin)) {
    check_some_chromatin(parts)
  }
  object <- assemble(connection, parts)
  object <- add_embeddings(object, connection, parts)
  object <- add_graphs(object, connection, parts)
  if (verbose) {
    report_left_out(connection, parts)
  }
  object
}

check_chromatin <- function(chromatin) {
  if (!(rlang::is_bool(chromatin) || identical(chromatin, "auto"))) {
    cli::cli_abort("{.arg chromatin} must be TRUE, FALSE or \"auto\", not {.obj_type_friendly {chromatin}}.")
  }
  if (isTRUE(chromatin)) {
    rlang::check_installed("Signac", "to build a ChromatinAssay.")
    if (!builds_chromatin()) {
      cli::cli_abort(c(
        "{.code chromatin = TRUE} needs a Signac that has {.fn CreateChromatinAssay}, but version {utils::packageVersion('Signac')} has not.",
        i = "Use {.code chromatin = FALSE}, and make Signac's new class from the assay."
      ))
    }
  }
  chromatin
}

builds_chromatin <- function() {
  rlang::is_installed("Signac") && "CreateChromatinAssay" %in% getNamespaceExports("Signac")
}

check_some_chromatin <- function(parts, call = rlang::caller_env()) {
  if (!any(vapply(parts, function(part) inherits(part$assay, "ChromatinAssay"), logical(1)))) {
    cli::cli_abort(c(
      "{.code chromatin = TRUE} needs a modality of peaks, with the columns {.val chrom}, {.val start} and {.val end} or names such as {.val chr1:100-200}: there is none.",
      i = "Use {.code chromatin = FALSE}, or add the columns to {.code mdata[\"atac\"].var} in Python."
    ), call = call)
  }
}

open_h5mu <- function(file) {
  if (!file.exists(file)) {
    cli::cli_abort("{.arg file} must be an .h5mu file: there is no {.path {file}}.")
  }
  connection <- tryCatch(h5_open(file), error = function(error) {
    cli::cli_abort(c(
      "{.arg file} must be an .h5mu file, but {.path {file}} cannot be opened as HDF5.",
      i = "It is of another kind, or was cut short: write or copy it again."
    ), call = rlang::caller_env(4))
  })
  tryCatch(check_h5mu(connection, file), error = function(error) {
    h5_close(connection)
    rlang::cnd_signal(error)
  })
  connection
}

check_h5mu <- function(connection, file) {
  version <- h5_attribute(connection, H5MU_VERSION_ATTRIBUTE) %||% 0L
  if (version > H5MU_VERSION) {
    cli::cli_abort(c(
      "{.path {file}} must be of format version {H5MU_VERSION} or older, but it is of version {version}.",
      i = "Install a newer version of the R package sailerx."
    ))
  }
  missing <- Filter(function(name) !h5_has(connection, name), c("mod", "obs"))
  if (length(missing) > 0L) {
    cli::cli_abort(c(
      "An .h5mu file must have the groups {.val mod} and {.val obs}, but {.path {file}} lacks {.val {missing}}.",
      i = "One modality saved as .h5ad is wrapped in Python by {.code mudata.MuData({{\"rna\": adata}}).write(...)}."
    ))
  }
}

# Assay names, named by modality, in the order of the file.
choose_modalities <- function(connection, assays) {
  mod <- h5_child(connection, "mod")
  there <- as.character(h5_attribute(mod, "mod-order") %||% h5_names(mod))
  wanted <- check_among(unname(assays %||% there), there, "assays")
  names <- vapply(wanted, function(modality) default_assay_name(h5_child(mod, modality), modality), character(1))
  given <- rlang::names2(assays %||% there)
  names[given != ""] <- given[given != ""]
  rlang::set_names(make.unique(unname(names)), wanted)
}

default_assay_name <- function(node, modality) {
  read_note(node, "assay") %||% switch(modality, rna = "RNA", atac = "ATAC", modality)
}

# One entry of uns/seurat, where WriteH5MU() keeps what only Seurat needs; NULL where there is none.
read_note <- function(node, ...) {
  path <- paste("uns/seurat", ..., sep = "/")
  for (depth in seq_along(strsplit(path, "/")[[1L]])) {
    part <- paste(strsplit(path, "/")[[1L]][seq_len(depth)], collapse = "/")
    if (!h5_has(node, part)) {
      return(NULL)
    }
  }
  read_value(h5_child(node, path))
}

# One modality as an assay, with what the later steps need of it. Seurat wants the cells in the order of the object.
read_modality <- function(connection, modality, name, chromatin) {
  node <- h5_child(connection, paste0("mod/", modality))
  stored <- read_index(h5_child(node, "obs"))
  names <- read_index(h5_child(node, "var"))
  check_size(modality, stored, names)
  cells <- intersect(read_index(h5_child(connection, "obs")), stored)
  layers <- lapply(read_layers(node, modality), order_columns, match(cells, stored))
  class <- assay_class(node, chromatin)
  assay <- if (class == "ChromatinAssay") {
    new_chromatin_assay(node, layers, cells)
  } else {
    new_assay(class, layers, seurat_names(names), cells)
  }
  assay <- add_feature_metadata(assay, read_features(node), names, class)
  SeuratObject::Key(assay) <- read_note(node, "key") %||% make_key(tolower(name))
  list(
    node = node,
    modality = modality,
    name = name,
    assay = assay,
    cells = cells,
    rows = match(cells, stored),
    obs = read_cells(node)[match(cells, stored), , drop = FALSE]
  )
}

order_columns <- function(matrix, columns) {
  if (identical(columns, seq_len(ncol(matrix)))) matrix else matrix[, columns, drop = FALSE]
}

read_cells <- function(node) {
  as_text(read_dataframe(h5_child(node, "obs")), read_note(node, "columns", "obs_character"))
}

read_features <- function(node) {
  as_text(read_dataframe(h5_child(node, "var")), read_note(node, "columns", "var_character"))
}

# Text columns come back as text, though they may be stored as categories.
as_text <- function(frame, columns) {
  for (column in intersect(as.character(columns), colnames(frame))) {
    frame[[column]] <- as.character(frame[[column]])
  }
  frame
}

check_size <- function(modality, cells, names) {
  if (length(cells) < 2L || length(names) < 2L) {
    cli::cli_abort(c(
      "A Seurat assay must have at least two cells and two features, but modality {.val {modality}} has {length(cells)} and {length(names)}.",
      i = "Leave it out with {.arg assays}."
    ))
  }
  if (anyDuplicated(cells)) {
    cli::cli_abort(c(
      "Cell names must be unique, but modality {.val {modality}} has {.val {cells[anyDuplicated(cells)]}} twice.",
      i = "Run {.code mdata[\"{modality}\"].obs_names_make_unique()} in Python."
    ))
  }
}

# X and the layers as a named list of dgCMatrix, features x cells. X is `counts` unless the file says otherwise.
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

name_of_x <- function(x, others) {
  if (!"counts" %in% others && fits_float32(x@x)) "counts" else "data"
}

assay_class <- function(node, chromatin) {
  noted <- read_note(node, "class")
  peaks <- all(c("chrom", "start", "end") %in% h5_attribute(h5_child(node, "var"), "column-order"))
  if (identical(chromatin, "auto")) {
    chromatin <- peaks && (noted %||% "ChromatinAssay") == "ChromatinAssay" && builds_chromatin()
  } else if (chromatin) {
    peaks <- !is.null(read_peaks(node))
  }
  if (chromatin && peaks) {
    return("ChromatinAssay")
  }
  old <- identical(getOption("Seurat.object.assay.version"), "v3")
  switch(noted %||% "", Assay = "Assay", Assay5 = "Assay5", if (old) "Assay" else "Assay5")
}

# Seurat allows neither _ nor | in the name of a feature, and none twice.
seurat_names <- function(names) {
  make.unique(gsub("[_|]", "-", names))
}

new_assay <- function(class, layers, names, cells) {
  layers <- lapply(layers, `dimnames<-`, list(names, cells))
  first <- c(intersect(c("counts", "data"), names(layers)), names(layers))[[1L]]
  create <- if (class == "Assay5") SeuratObject::CreateAssay5Object else SeuratObject::CreateAssayObject
  assay <- if (first == "data") create(data = layers[[first]]) else create(counts = layers[[first]])
  add_layers(assay, layers[setdiff(names(layers), first)])
}

# Assays of the older kinds know three layers only.
add_layers <- function(assay, layers) {
  if (!inherits(assay, "Assay5")) {
    layers <- layers[intersect(names(layers), c("counts", "data", "scale.data"))]
  }
  for (name in names(layers)) {
    SeuratObject::LayerData(assay, layer = name) <- layers[[name]]
  }
  assay
}

make_key <- function(name) {
  key <- gsub("[^a-zA-Z0-9]", "", name)
  paste0(if (!grepl("^[a-zA-Z]", key)) "m", key, "_")
}

# Columns of var that Seurat keeps elsewhere are taken from there when the object is written.
add_feature_metadata <- function(assay, frame, names, class) {
  chosen <- rownames(assay)[variable_rows(frame)]
  moved <- c(
    if (length(chosen) > 0L) c("highly_variable", "highly_variable_rank"),
    if (class == "ChromatinAssay") c("chrom", "start", "end")
  )
  frame <- frame[setdiff(colnames(frame), moved)]
  rownames(frame) <- rownames(assay)
  if (!identical(rownames(assay), names)) {
    frame[[ORIGINAL_NAME]] <- names
  }
  if (ncol(frame) > 0L) {
    assay <- SeuratObject::AddMetaData(assay, frame)
  }
  if (length(chosen) > 0L) {
    SeuratObject::VariableFeatures(assay) <- chosen
  }
  assay
}

# Rows of the variable features, best first where the file ranks them.
variable_rows <- function(frame) {
  chosen <- which(as.logical(frame[["highly_variable"]]))
  rank <- frame[["highly_variable_rank"]]
  if (is.null(rank)) chosen else chosen[order(rank[chosen])]
}

# The object without reductions and graphs: assays, cell metadata, active assay and identities.
assemble <- function(connection, parts) {
  meta <- read_cells(connection)
  meta <- meta[rownames(meta) %in% unlist(lapply(parts, `[[`, "cells")), , drop = FALSE]
  merged <- merge_columns(meta, parts)
  names <- unname(vapply(parts, `[[`, character(1), "name"))
  object <- new_seurat(
    rlang::set_names(lapply(parts, `[[`, "assay"), names),
    merged$meta,
    active = c(intersect(read_note(connection, "active_assay"), names), names)[[1L]],
    project = read_note(connection, "project") %||% "SeuratProject"
  )
  object <- set_identities(object, read_note(connection, "active_ident"))
  remember_origin(object, parts, merged)
}

new_seurat <- function(assays, meta, active, project) {
  methods::new(
    "Seurat",
    assays = assays,
    meta.data = meta,
    active.assay = active,
    active.ident = factor(rlang::set_names(rep(project, nrow(meta)), rownames(meta))),
    project.name = project,
    version = utils::packageVersion("SeuratObject")
  )
}

set_identities <- function(object, column) {
  if (!is.null(column) && column %in% colnames(object[[]])) {
    SeuratObject::Idents(object) <- column
  }
  object
}

# Cell metadata of the whole: the columns of the global obs, then those of the modalities. A column that says the same
# in several places is one column; one that differs from its namesakes is called `modality:column`.
merge_columns <- function(meta, parts) {
  state <- list(meta = meta, known = lapply(meta, function(column) rep(TRUE, nrow(meta))), homes = list(), global = colnames(meta))
  for (part in parts) {
    for (column in colnames(part$obs)) {
      state <- place_column(state, part, column)
    }
  }
  state
}

place_column <- function(state, part, column) {
  values <- part$obs[[column]]
  rows <- match(part$cells, rownames(state$meta))
  for (name in c(column, paste0(part$modality, ":", column))) {
    if (column_agrees(state, name, values, rows)) {
      break
    }
  }
  filled <- state$meta[[name]] %||% values[rep(NA_integer_, nrow(state$meta))]
  filled[rows] <- values
  state$meta[[name]] <- filled
  state$known[[name]] <- (state$known[[name]] %||% logical(nrow(state$meta))) | seq_len(nrow(state$meta)) %in% rows
  state$homes[[part$name]][[column]] <- name
  state
}

# May `values` join the metadata column `name`? Yes where there is none, or where it says the same of every cell it knows.
column_agrees <- function(state, name, values, rows) {
  there <- state$meta[[name]]
  if (is.null(there)) {
    return(TRUE)
  }
  shared <- state$known[[name]][rows]
  same_kind <- identical(class(there), class(values)) && identical(levels(there), levels(values))
  same_kind && identical(as.vector(there[rows])[shared], as.vector(values)[shared])
}

# Kept in the object only where WriteH5MU() could not tell by itself: names of modalities, columns that are theirs.
remember_origin <- function(object, parts, merged) {
  modalities <- vapply(parts, `[[`, character(1), "modality")
  names(modalities) <- vapply(parts, `[[`, character(1), "name")
  as_usual <- identical(unname(modalities), default_modalities(object, names(modalities)))
  if (!as_usual || length(merged$homes) > 0L) {
    SeuratObject::Misc(object, "h5mu") <- list(
      modalities = modalities,
      columns = lapply(merged$homes, unlist),
      global = merged$global
    )
  }
  object
}

# Where embeddings and graphs are: in each modality, and at the top of the file.
places <- function(object, connection, parts) {
  top <- list(node = connection, name = NULL, modality = NULL, cells = colnames(object))
  top$rows <- match(top$cells, read_index(h5_child(connection, "obs")))
  c(unname(parts), list(top))
}

keys_of <- function(node, group) {
  if (h5_has(node, group)) h5_names(h5_child(node, group))
}

add_embeddings <- function(object, connection, parts) {
  for (place in places(object, connection, parts)) {
    for (key in setdiff(keys_of(place$node, "obsm"), masks(place, connection))) {
      object <- add_embedding(object, place, key)
    }
  }
  object
}

# mudata keeps which cells a modality has as obsm and varm entries of that name.
masks <- function(place, connection) {
  if (is.null(place$name)) h5_names(h5_child(connection, "mod"))
}

add_embedding <- function(object, place, key) {
  embedding <- read_matrix(h5_child(place$node, paste0("obsm/", key)))
  if (is.null(embedding)) {
    cli::cli_warn("{.val {key}} of obsm is no numeric matrix with one row per cell; left out.")
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
    loadings = read_loadings(place, plain, notes, rownames(object[[assay]]), colnames(embedding)),
    stdev = read_stdev(place, plain, notes),
    assay = assay,
    key = prefix
  )
  if (key != paste0("X_", name) || (is.null(place$name) && is.null(notes))) {
    SeuratObject::Misc(reduction, "h5mu") <- list(key = key, top = is.null(place$name))
  }
  object[[name]] <- reduction
  object
}

# A numeric matrix, one row per cell; NULL for anything else.
read_matrix <- function(node) {
  type <- h5_attribute(node, "encoding-type") %||% "array"
  value <- if (type == "array") h5_read(node) else read_value(node)
  if (inherits(value, "Matrix") || is.data.frame(value)) {
    value <- t(as.matrix(value))
  }
  if (length(dim(value)) == 2L && is.numeric(value) && nrow(value) > 0L) t(value) + 0
}

free_name <- function(object, name, modality) {
  taken <- names(object)
  if (name %in% taken && !is.null(modality)) {
    name <- paste0(modality, ".", name)
  }
  utils::tail(make.unique(c(taken, name)), 1L)
}

free_key <- function(object, key, name) {
  if (key %in% SeuratObject::Key(object)) make_key(name) else key
}

reduction_key <- function(name) {
  switch(name, pca = "PC_", lsi = "LSI_", tsne = "tSNE_", make_key(name))
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
  if (is.null(rows)) loadings else loadings[rows + 1L, , drop = FALSE]
}

# Standard deviations as WriteH5MU() notes them, else from the variances that scanpy keeps.
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

add_graphs <- function(object, connection, parts) {
  for (place in places(object, connection, parts)) {
    for (key in setdiff(keys_of(place$node, "obsp"), masks(place, connection))) {
      object <- add_graph(object, place, key)
    }
  }
  object
}

add_graph <- function(object, place, key) {
  edges <- read_value(h5_child(place$node, paste0("obsp/", key)))
  notes <- read_note(place$node, "graphs", key)
  edges <- as_dgCMatrix(edges)[place$rows, place$rows]
  dimnames(edges) <- list(place$cells, place$cells)
  if (!is.null(notes$cells)) {
    kept <- intersect(place$cells, notes$cells)
    edges <- edges[kept, kept]
  }
  graph <- SeuratObject::as.Graph(edges)
  SeuratObject::DefaultAssay(graph) <- c(notes$assay, place$name, SeuratObject::DefaultAssay(object))[[1L]]
  name <- notes$name %||% paste(c(place$name, key), collapse = "_")
  object[[free_name(object, name, NULL)]] <- graph
  object
}

# Names what the file holds and a Seurat object does not.
report_left_out <- function(connection, parts) {
  known <- c("seurat", "genome", "seqinfo", "fragments", "annotation", "files", "pca", "lsi")
  left <- unlist(lapply(c(list(list(node = connection)), parts), function(place) {
    entries <- c(
      if (h5_has(place$node, "raw")) "raw",
      paste0("uns/", setdiff(keys_of(place$node, "uns"), known), recycle0 = TRUE),
      paste0("varp/", setdiff(keys_of(place$node, "varp"), names(parts)), recycle0 = TRUE)
    )
    paste0(if (!is.null(place$modality)) paste0(place$modality, "/"), entries, recycle0 = TRUE)
  }))
  if (length(left) > 0L) {
    cli::cli_inform(c(i = "Not carried into the Seurat object: {.val {left}}."))
  }
}
