#' Write a Seurat object as MuData (.h5mu)
#'
#' Writes the assays of an object as the modalities of an `.h5mu` file, which `mudata`, `muon`, `scanpy` and the Python
#' package `sailerx` read. Counts keep their sparse form and are not copied. The file appears under its name only
#' when it is complete.
#'
#' @param object A `Seurat` object.
#' @param file Path of the file to write.
#' @param ... Passed to methods; nothing else is accepted.
#' @returns `file`, invisibly.
#' @seealso [ReadH5MU()] for the way back.
#' @examples
#' counts <- Matrix::rsparsematrix(20, 10, 0.3, rand.x = function(n) rpois(n, 2) + 1)
#' dimnames(counts) <- list(paste0("gene", 1:20), paste0("cell", 1:10))
#' object <- SeuratObject::CreateSeuratObject(counts)
#' file <- tempfile(fileext = ".h5mu")
#' WriteH5MU(object, file)
#' ReadH5MU(file)
#' @export
WriteH5MU <- function(object, file, ...) {
  UseMethod("WriteH5MU")
}

#' @rdname WriteH5MU
#' @param assays Names of the assays to write, all by default. Names of this vector are the names of the modalities:
#'   `c(rna = "RNA", atac = "peaks")`. Unnamed, `RNA` becomes `rna`, the first peak assay becomes `atac`, and every
#'   other assay keeps its name.
#' @param layer The layer written as the matrix `X` (features × cells in R, cells × features in the file): one name for all assays, or one
#'   per assay, named by assay. `NULL`: `counts`, or `data` where an assay has no counts. `NA` writes no matrix. Split layers (`counts.1`, `counts.2`) are joined.
#' @param layers Names of further layers to write beside it, for example `"data"`; none by default.
#' @param reductions Names of the reductions to write; by default all whose assay is written.
#' @param graphs Names of the graphs to write; by default all whose assay is written.
#' @param meta.data Names of the cell metadata columns to write, all by default.
#' @param features Write the metadata of the features? Peak coordinates are always written.
#' @param chromatin Write genome, sequence lengths, fragment paths and gene annotation of a `ChromatinAssay`?
#' @param overwrite Replace a file that is there?
#' @param gzip Compression level of the matrices, 0 (none) to 9. 1 halves the file at a tenth of the speed.
#' @export
WriteH5MU.Seurat <- function(
  object,
  file,
  assays = NULL,
  layer = NULL,
  layers = NULL,
  reductions = NULL,
  graphs = NULL,
  meta.data = NULL,
  features = TRUE,
  chromatin = TRUE,
  overwrite = FALSE,
  gzip = 0L,
  ...
) {
  rlang::check_dots_empty()
  check_seurat(object)
  assays <- check_assays(object, assays)
  layer <- check_layer(object, assays, layer)
  reductions <- choose_by_assay(object, SeuratObject::Reductions(object), reductions, assays, "reductions")
  graphs <- choose_by_assay(object, SeuratObject::Graphs(object), graphs, assays, "graphs")
  meta <- split_columns(object, check_meta_data(object, meta.data), if (is.null(meta.data)) assays)
  options <- list(layer = layer, layers = layers, features = features, chromatin = chromatin, gzip = gzip)
  write_atomically(file, overwrite, function(path) {
    write_mudata(path, object, assays, reductions, graphs, meta, options)
  })
}

#' @export
WriteH5MU.default <- function(object, file, ...) {
  cli::cli_abort(c(
    "{.arg object} must be a Seurat object, not {.obj_type_friendly {object}}.",
    i = "Put a matrix into one with {.fun SeuratObject::CreateSeuratObject}."
  ))
}

# Runs `write(path)` on a temporary name in the same folder, then renames: nobody ever sees half a file.
write_atomically <- function(file, overwrite, write) {
  check_target(file, overwrite)
  path <- tempfile(paste0(".", basename(file), "."), dirname(file))
  on.exit(unlink(path))
  write(path)
  if (!file.rename(path, file)) {
    cli::cli_abort("{.path {file}} must be writable, but the finished file could not be moved there.")
  }
  invisible(file)
}

check_target <- function(file, overwrite) {
  if (!rlang::is_string(file)) {
    cli::cli_abort("{.arg file} must be one path, not {.obj_type_friendly {file}}.")
  }
  if (!dir.exists(dirname(file))) {
    cli::cli_abort(c(
      "{.arg file} must lie in a folder that exists: there is no {.path {dirname(file)}}.",
      i = "Create it with {.fun dir.create}."
    ))
  }
  if (file.exists(file) && !overwrite) {
    cli::cli_abort(c("{.path {file}} exists.", i = "Choose another name, or set {.code overwrite = TRUE}."))
  }
}

check_among <- function(wanted, there, what) {
  missing <- setdiff(wanted, there)
  if (length(missing) > 0L) {
    have <- if (length(there) > 0L) cli::format_inline("{.val {there}}") else "none"
    cli::cli_abort(
      c("{.arg {what}} must name what the object holds, but it has no {.val {missing}}.", i = "There is: {have}."),
      call = rlang::caller_env()
    )
  }
  wanted
}

# Assay names, named by modality.
check_assays <- function(object, assays) {
  there <- SeuratObject::Assays(object)
  assays <- assays %||% there
  check_among(assays, there, "assays")
  given <- rlang::names2(assays)
  modalities <- ifelse(given == "", default_modalities(object, assays), given)
  if (anyDuplicated(modalities)) {
    cli::cli_abort("The names of {.arg assays} must be unique, but {.val {modalities[duplicated(modalities)]}} is there twice.")
  }
  rlang::set_names(unname(assays), modalities)
}

default_modalities <- function(object, assays) {
  known <- SeuratObject::Misc(object, "h5mu")$modalities[assays]
  if (length(known) == length(assays) && !anyNA(known)) {
    return(unname(known))
  }
  peaks <- vapply(assays, function(name) is_peak_assay(object[[name]], name), logical(1))
  modalities <- unname(assays)
  modalities[modalities == "RNA"] <- "rna"
  modalities[match(TRUE, peaks, nomatch = 0L)] <- "atac"
  modalities
}

is_peak_assay <- function(assay, name) {
  has_ranges(assay) || tolower(name) %in% c("peaks", "atac")
}

# Signac's class, or the one that takes its place in Signac 2 and builds on Assay5.
has_ranges <- function(assay) {
  inherits(assay, c("ChromatinAssay", "GRangesAssay"))
}

# Of Signac 2's classes, counts and ranges are taken, and no more is promised.
say_plain <- function(assay, what) {
  if (inherits(assay, "ChromatinAssay5")) {
    cli::cli_warn("The assay is of Signac 2's class {.cls {class(assay)[1]}}: {what}.")
  }
}

# One layer name per assay, named by assay.
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

# Imputed and normalised assays have no counts.
usual_layer <- function(assay) {
  if (!length(layer_parts(assay, "counts")) && length(layer_parts(assay, "data"))) "data" else "counts"
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

# The layer itself, or the pieces that `split()` made of it: counts.1, counts.2.
layer_parts <- function(assay, layer) {
  there <- SeuratObject::Layers(assay)
  if (layer %in% there) layer else there[startsWith(there, paste0(layer, "."))]
}

# Names of the reductions or graphs to write: those asked for, else those that belong to an assay that is written.
choose_by_assay <- function(object, there, wanted, assays, what) {
  if (!is.null(wanted)) {
    return(check_among(wanted, there, what))
  }
  Filter(function(name) SeuratObject::DefaultAssay(object[[name]]) %in% assays, there)
}

check_meta_data <- function(object, columns) {
  meta <- object[[]]
  if (!is.null(columns)) {
    meta <- meta[check_among(columns, colnames(meta), "meta.data")]
  }
  storable_columns(meta, "meta.data")
}

# Columns that ReadH5MU() took from a modality go back to it; all others are those of the whole.
# Returns `global` and, by assay, `own`: data frames with one row per cell of the object.
split_columns <- function(object, meta, assays) {
  origin <- SeuratObject::Misc(object, "h5mu")
  own <- lapply(origin$columns[intersect(names(origin$columns), assays)], function(columns) {
    columns <- columns[columns %in% colnames(meta)]
    rlang::set_names(meta[columns], names(columns))
  })
  moved <- unlist(lapply(origin$columns[names(own)], unname))
  list(global = meta[setdiff(colnames(meta), setdiff(moved, origin$global))], own = own)
}

# Drops, with a warning, the columns that have no place in the file; plain text stands for dates.
storable_columns <- function(frame, what) {
  fits <- vapply(frame, is_storable, logical(1))
  if (!all(fits)) {
    cli::cli_warn(c(
      "Columns of {.arg {what}} must be numbers, text, logicals or factors: {.val {colnames(frame)[!fits]}} left out.",
      i = "Convert them first, for example with {.fun as.character}."
    ))
  }
  safe_names(frame[fits], what)
}

is_storable <- function(column) {
  is.factor(column) || is_plain(column)
}

is_plain <- function(column) {
  is.null(dim(column)) && !is.object(column) && typeof(column) %in% c("logical", "integer", "double", "character")
}

# A slash would make a folder inside the file.
safe_names <- function(frame, what) {
  bad <- grepl("/", colnames(frame), fixed = TRUE) | colnames(frame) %in% c("_index", "")
  if (any(bad)) {
    renamed <- make.unique(c(colnames(frame)[!bad], gsub("/", "_", sub("^(_index)?$", "index", colnames(frame)[bad]))))
    renamed <- renamed[-seq_len(sum(!bad))]
    cli::cli_warn("{.arg {what}}: {.val {colnames(frame)[bad]}} cannot be stored under that name; renamed to {.val {renamed}}.")
    colnames(frame)[bad] <- renamed
  }
  frame
}

write_mudata <- function(path, object, assays, reductions, graphs, meta, options) {
  # hdf5r would flush the file after each write, which takes longer than the write.
  rlang::local_options(hdf5r.flush_on_write = FALSE)
  file <- h5_create(path)
  on.exit(h5_close(file))
  cells <- lapply(assays, function(name) colnames(object[[name]]))
  all_cells <- intersect(colnames(object), unlist(cells))
  write_root(file, assays)
  write_dataframe(file, "obs", meta$global[all_cells, , drop = FALSE])
  features <- lapply(assays, function(name) file_names(object[[name]]))
  write_dataframe(file, "var", data.frame(row.names = seq_along(unlist(features))), index = unlist(features, use.names = FALSE))
  write_maps(file, all_cells, cells, features)
  write_modalities(file, object, assays, meta$own, options)
  homes <- list(assays = assays, cells = cells, all_cells = all_cells)
  for (name in reductions) {
    write_reduction(file, name, object[[name]], object, homes)
  }
  for (name in graphs) {
    write_graph(file, name, object[[name]], homes)
  }
  write_object_notes(file, object, assays)
  h5_close(file)
  h5_write_header(path, sprintf("MuData (format-version=0.1.0;creator=sailerx;creator-version=%s)", package_version_text()))
}

package_version_text <- function() {
  as.character(utils::packageVersion("sailerx"))
}

write_root <- function(file, assays) {
  h5_encoding(file, "MuData", "0.1.0")
  h5_attr(file, "encoder", "sailerx")
  h5_attr(file, "encoder-version", package_version_text())
  h5_attr(file, "axis", 0L, as = "int64")
  h5_attr(file, H5MU_VERSION_ATTRIBUTE, H5MU_VERSION, as = "int64")
  for (name in c("obsm", "obsp", "obsmap", "varm", "varp", "varmap", "uns")) {
    write_dict(file, name)
  }
  h5_attr(h5_group(file, "mod"), "mod-order", names(assays), scalar = FALSE)
}

# Where each cell and feature of the whole lies in its modality: 1-based, 0 = absent.
write_maps <- function(file, all_cells, cells, features) {
  offset <- 0L
  n_features <- sum(lengths(features))
  for (modality in names(cells)) {
    map <- match(all_cells, cells[[modality]], nomatch = 0L)
    write_array(file[["obsmap"]], modality, map, as = "uint32")
    map <- integer(n_features)
    own <- seq_along(features[[modality]])
    map[offset + own] <- own
    write_array(file[["varmap"]], modality, map, as = "uint32")
    offset <- offset + length(own)
  }
}

write_modalities <- function(file, object, assays, own, options) {
  for (modality in names(assays)) {
    assay <- object[[assays[[modality]]]]
    node <- h5_encoding(h5_group(file[["mod"]], modality), "anndata", "0.1.0")
    for (name in c("obsm", "obsp", "varm", "varp", "layers", "uns")) {
      write_dict(node, name)
    }
    obs <- own[[assays[[modality]]]] %||% object[[]][character()]
    write_dataframe(node, "obs", obs[colnames(assay), , drop = FALSE])
    var <- feature_frame(assay, assays[[modality]], options$features, modality)
    write_dataframe(node, "var", var, index = file_names(assay))
    write_layers(node, assay, assays[[modality]], options)
    if (options$chromatin && inherits(assay, "ChromatinAssay")) {
      write_chromatin(node[["uns"]], assay)
    }
    if (options$chromatin) {
      say_plain(assay, "peaks are written with their coordinates, genome, fragment files and annotation are not")
    }
    write_value(node[["uns"]], "seurat", assay_notes(assay, assays[[modality]], options$layer, obs, var))
  }
}

write_layers <- function(node, assay, name, options) {
  layer <- options$layer[[name]]
  if (!is.na(layer)) {
    write_csr(node, "X", layer_matrix(assay, layer, name), options$gzip)
  }
  for (extra in setdiff(options$layers, layer)) {
    if (length(layer_parts(assay, extra)) > 0L) {
      write_csr(node[["layers"]], extra, layer_matrix(assay, extra, name), options$gzip)
    }
  }
}

# One layer as a dgCMatrix with every feature and cell of the assay (features x cells).
layer_matrix <- function(assay, layer, name) {
  matrix <- if (layer %in% SeuratObject::Layers(assay)) {
    one_layer(assay, layer)
  } else {
    joined_layers(assay, layer_parts(assay, layer))
  }
  if (any(dim(matrix) != dim(assay))) {
    cli::cli_abort(c(
      "Layer {.val {layer}} of assay {.val {name}} must hold all {nrow(assay)} features and {ncol(assay)} cells of the assay.",
      x = "It holds {nrow(matrix)} features and {ncol(matrix)} cells.",
      i = "Split layers are joined with {.code SeuratObject::JoinLayers()}; subset the assay to the features of this layer otherwise."
    ))
  }
  as_dgCMatrix(matrix)
}

# What LayerData() gives, which always copies; where it would be the stored matrix, it is taken as it is stored, without
# names.
one_layer <- function(assay, layer) {
  stored <- if (inherits(assay, "Assay5")) methods::slot(assay, "layers")[[layer]]
  if (inherits(stored, "dgCMatrix") && all(dim(stored) == dim(assay)) && has_order_of(assay, layer)) {
    return(stored)
  }
  SeuratObject::LayerData(assay, layer = layer)
}

# Are the features and cells of a layer those of the assay, in the same order?
has_order_of <- function(assay, layer) {
  identical(SeuratObject::Features(assay, layer = layer), rownames(assay)) &&
    identical(SeuratObject::Cells(assay, layer = layer), colnames(assay))
}

# The parts beside each other, in the order of the assay's cells; features that a part lacks are 0 there. Other than
# SeuratObject::JoinLayers(), this takes layers on disk of every kind.
joined_layers <- function(assay, parts) {
  parts <- lapply(parts, function(part) {
    matrix <- as_dgCMatrix(SeuratObject::LayerData(assay, layer = part))
    if (identical(rownames(matrix), rownames(assay))) matrix else with_rows(matrix, rownames(assay))
  })
  matrix <- do.call(cbind, parts)
  cells <- intersect(colnames(assay), colnames(matrix))
  if (identical(cells, colnames(matrix))) matrix else matrix[, cells, drop = FALSE]
}

# Moves the rows to where `names` has them; their values stay, so that rows have to be sorted anew only if their order changes.
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

# Names of the features in the file: those they had before Seurat or Signac rewrote them, where they are known.
file_names <- function(assay) {
  names <- rownames(assay)
  original <- assay[[]][[ORIGINAL_NAME]]
  if (is.null(original)) {
    return(names)
  }
  original <- as.character(original)
  original <- ifelse(is.na(original), names, original)
  if (anyDuplicated(original)) names else original
}

# Feature metadata as columns of `var`, with chrom, start and end for peaks.
feature_frame <- function(assay, name, features, modality) {
  frame <- data.frame(row.names = rownames(assay))
  if (features) {
    own <- assay[[]]
    kept <- setdiff(colnames(own), c(ORIGINAL_NAME, "var.features", "var.features.rank"))
    frame <- cbind(storable_columns(own[kept], name), variable_columns(assay))
  }
  coordinates <- peak_coordinates(assay, name, modality)
  frame[colnames(coordinates)] <- coordinates
  frame
}

variable_columns <- function(assay) {
  chosen <- SeuratObject::VariableFeatures(assay)
  frame <- data.frame(row.names = rownames(assay))
  if (length(chosen) == 0L) {
    return(frame)
  }
  frame$highly_variable <- rownames(assay) %in% chosen
  if (!identical(chosen, rownames(assay)[frame$highly_variable])) {
    frame$highly_variable_rank <- as.double(match(rownames(assay), chosen) - 1L)
  }
  frame
}

# chrom, start, end of each peak: 0-based, half-open. R counts from 1 and closed, so only the start differs, by one.
peak_coordinates <- function(assay, name, modality) {
  if (has_ranges(assay)) {
    ranges <- as.data.frame(GenomicRanges::granges(assay), row.names = rownames(assay))
    return(data.frame(
      chrom = factor(as.character(ranges$seqnames), unique(as.character(ranges$seqnames))),
      start = ranges$start - 1L,
      end = ranges$end,
      row.names = rownames(assay)
    ))
  }
  if (all(c("chrom", "start", "end") %in% colnames(assay[[]]))) {
    return(assay[[]][c("chrom", "start", "end")])
  }
  if (modality == "atac" || is_peak_assay(assay, name)) {
    return(parse_peaks(rownames(assay)))
  }
  NULL
}

# Reads chr1-5-9, chr1:5-9 and chr1_5_9 from the right, for contigs may hold any of these signs. Names count as
# Signac counts them: from 1, closed. NULL where a name is of no such form.
parse_peaks <- function(names) {
  pattern <- "^(.+)[-:_]([0-9]+)[-_]([0-9]+)$"
  plain <- sub("\\.[0-9]+$", "", names)
  if (length(names) == 0L || !all(grepl(pattern, plain))) {
    return(NULL)
  }
  chrom <- sub(pattern, "\\1", plain)
  data.frame(
    chrom = factor(chrom, unique(chrom)),
    start = as.integer(sub(pattern, "\\2", plain)) - 1L,
    end = as.integer(sub(pattern, "\\3", plain)),
    row.names = names
  )
}

# Where a reduction or graph lives: in the modality of its assay if that holds exactly `cells`, else at the top.
home_of <- function(file, assay, cells, homes, exactly = FALSE) {
  modality <- names(homes$assays)[match(assay, homes$assays)]
  if (!is.na(modality)) {
    own <- homes$cells[[modality]]
    fits <- if (exactly) setequal(cells, own) else all(cells %in% own)
    if (fits) {
      return(list(node = file[["mod"]][[modality]], cells = own))
    }
  }
  list(node = file, cells = homes$all_cells)
}

# Embedding `pca` becomes obsm `X_pca`; cells without one have NaN.
write_reduction <- function(file, name, reduction, object, homes) {
  embedding <- SeuratObject::Embeddings(reduction)
  origin <- SeuratObject::Misc(reduction, "h5mu")
  assay <- if (isTRUE(origin$top)) NA else SeuratObject::DefaultAssay(reduction)
  home <- home_of(file, assay, rownames(embedding), homes)
  key <- origin$key %||% paste0("X_", name)
  rows <- match(home$cells, rownames(embedding))
  write_array(home$node[["obsm"]], key, t(embedding[rows, , drop = FALSE]))
  notes <- reduction_notes(reduction, name, key)
  notes$loading_features <- write_loadings(home$node, sub("^X_", "", key), reduction, object)
  write_value(notes_group(home$node, "reductions"), key, notes)
}

reduction_notes <- function(reduction, name, key) {
  list(
    name = scalar(name),
    assay = scalar(SeuratObject::DefaultAssay(reduction)),
    key = scalar(SeuratObject::Key(reduction)),
    columns = colnames(SeuratObject::Embeddings(reduction)),
    stdev = if (length(SeuratObject::Stdev(reduction)) > 0L) as.double(SeuratObject::Stdev(reduction))
  )
}

# Loadings fill whole rows of varm, as scanpy has it: features without a loading get zeros. Returns the rows that
# have one, in their order, counted from 0.
write_loadings <- function(node, plain, reduction, object) {
  loadings <- SeuratObject::Loadings(reduction)
  if (length(loadings) == 0L || !"layers" %in% names(node)) {
    return(NULL)
  }
  features <- rownames(object[[SeuratObject::DefaultAssay(reduction)]])
  rows <- match(rownames(loadings), features)
  full <- matrix(0, ncol(loadings), length(features))
  full[, rows[!is.na(rows)]] <- t(loadings[!is.na(rows), , drop = FALSE])
  write_array(node[["varm"]], loadings_key(plain), full)
  rows[!is.na(rows)] - 1L
}

# scanpy's and muon's names where they have one.
loadings_key <- function(name) {
  switch(name, pca = "PCs", lsi = "LSI", paste0(name, "_loadings"))
}

# Graph `RNA_nn` of assay RNA becomes obsp `nn` of its modality; every other graph is at the top under its own name.
write_graph <- function(file, name, graph, homes) {
  assay <- SeuratObject::DefaultAssay(graph)
  prefix <- paste0(assay, "_")
  own <- length(assay) == 1L && startsWith(name, prefix)
  home <- home_of(file, if (own) assay else NA, rownames(graph), homes, exactly = TRUE)
  key <- if (identical(home$node, file)) name else substring(name, nchar(prefix) + 1L)
  write_csr(home$node[["obsp"]], key, Matrix::t(graph_on(graph, home$cells)))
  write_value(notes_group(home$node, "graphs"), key, list(
    name = scalar(name),
    assay = if (length(assay) == 1L) scalar(assay),
    cells = if (!setequal(rownames(graph), home$cells)) rownames(graph)
  ))
}

# The graph over `cells`, in their order; cells it does not know have no edges.
graph_on <- function(graph, cells) {
  edges <- methods::as(methods::as(graph, "dgCMatrix"), "TsparseMatrix")
  from <- match(rownames(graph), cells)[edges@i + 1L]
  to <- match(colnames(graph), cells)[edges@j + 1L]
  kept <- !is.na(from) & !is.na(to)
  Matrix::sparseMatrix(from[kept], to[kept], x = edges@x[kept], dims = rep(length(cells), 2L))
}

# uns/seurat/<name>, made on first use.
notes_group <- function(node, name) {
  notes <- node[["uns"]]
  if (!"seurat" %in% names(notes)) {
    write_dict(notes, "seurat")
  }
  notes <- notes[["seurat"]]
  if (!name %in% names(notes)) {
    write_dict(notes, name)
  }
  notes[[name]]
}

assay_notes <- function(assay, name, layer, obs, var) {
  list(
    assay = scalar(name),
    class = scalar(class(assay)[[1L]]),
    key = scalar(SeuratObject::Key(assay)),
    x = if (!is.na(layer[[name]])) scalar(layer[[name]]),
    columns = list(obs_character = text_columns(obs), var_character = text_columns(var))
  )
}

text_columns <- function(frame) {
  as.character(names(frame)[vapply(frame, is.character, logical(1))])
}

# What Seurat needs at the top to rebuild the object: which columns are text, and what was active.
write_object_notes <- function(file, object, assays) {
  notes_group(file, "columns")
  write_array(file[["uns/seurat/columns"]], "obs_character", text_columns(object[[]]))
  notes <- list(
    active_assay = intersect(SeuratObject::DefaultAssay(object), assays),
    active_ident = identity_column(object),
    project = SeuratObject::Project(object)
  )
  for (key in names(notes)[lengths(notes) == 1L]) {
    write_scalar(file[["uns/seurat"]], key, notes[[key]])
  }
}

# The metadata column that the active identities are, if they are one; unused levels aside.
identity_column <- function(object) {
  active <- SeuratObject::Idents(object)
  meta <- object[[]]
  same <- vapply(meta, function(column) {
    is.factor(column) &&
      identical(as.character(column), as.character(active)) &&
      identical(intersect(levels(column), levels(active)), levels(active))
  }, logical(1))
  utils::head(colnames(meta)[same], 1L)
}
