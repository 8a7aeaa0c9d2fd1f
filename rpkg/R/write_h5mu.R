#' Write a Seurat object as MuData (.h5mu)
#'
#' Writes the assays of an object as the modalities of an `.h5mu` file, which `mudata`, `muon`, `scanpy` and the Python
#' package `sailerx` read. Counts stay sparse and are not copied in memory. The file is written under a temporary name
#' and renamed when it is complete. A message names what an object holds and the file has no place for, such as motifs; the
#' command log is left out without one.
#'
#' @param object A `Seurat` object.
#' @param file Path of the file to write.
#' @param ... Passed to methods; nothing else is accepted.
#' @returns `file`, invisibly.
#' @seealso [ReadH5MU()], which reads such a file.
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
#' @param layer Name of the layer to write as the matrix `X` (features × cells in R, cells × features in the file): one for
#'   all assays, or one per assay, named by assay. `NULL`: `counts`, or `data` for an assay without counts. `NA`: no matrix.
#'   Split layers (`counts.1`, `counts.2`) are joined.
#' @param layers Names of further layers to write, for example `"data"`; none by default. A layer must hold all features of its
#'   assay: `scale.data` does after `Seurat::ScaleData(object, features = rownames(object))`.
#' @param reductions Names of the reductions to write; by default all whose assay is written.
#' @param graphs Names of the graphs to write; by default all whose assay is written, or that have none.
#' @param meta.data Names of the cell metadata columns to write, all by default.
#' @param features Write the feature metadata? Peak coordinates are always written.
#' @param chromatin Write genome, sequence lengths, fragment paths and gene annotation of Signac's assays (`ChromatinAssay`; `GRangesAssay`
#'   and `ChromatinAssay5` of Signac 2)?
#' @param overwrite Replace `file` if it exists?
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
  object <- check_seurat(object)
  check_gzip(gzip)
  assays <- check_assays(object, assays)
  layer <- check_layer(object, assays, layer)
  reductions <- choose_by_assay(object, SeuratObject::Reductions(object), reductions, assays, "reductions")
  graphs <- choose_by_assay(object, SeuratObject::Graphs(object), graphs, assays, "graphs")
  meta <- split_columns(object, check_meta_data(object, meta.data), if (is.null(meta.data)) assays)
  check_layers(object, assays, layers)
  say_what_is_not_stored(object, assays, reductions)
  options <- list(
    layer = layer, layers = layers, features = features, chromatin = chromatin, gzip = gzip, names = names_in_file
  )
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

# `assays`: named by modality; `meta`: what split_columns() returns.
write_mudata <- function(path, object, assays, reductions, graphs, meta, options) {
  # By default, hdf5r flushes the file after each write, which takes longer than the write.
  rlang::local_options(hdf5r.flush_on_write = FALSE)
  file <- h5_create(path)
  on.exit(h5_close(file))
  cells <- lapply(assays, function(name) colnames(object[[name]]))
  all_cells <- intersect(colnames(object), unlist(cells))
  features <- lapply(assays, function(name) options$names(object[[name]]))
  all_features <- unlist(features, use.names = FALSE)
  write_root(file, assays)
  write_dataframe(file, "obs", meta$global[all_cells, , drop = FALSE])
  write_dataframe(file, "var", data.frame(row.names = seq_along(all_features)), index = all_features)
  write_maps(file, all_cells, cells, features)
  for (modality in names(assays)) {
    write_modality(file, modality, assays[[modality]], object, meta$own, options)
  }
  written <- list(assays = assays, cells = cells, all_cells = all_cells)
  for (name in reductions) {
    write_reduction(file, name, object[[name]], object, written)
  }
  for (name in graphs) {
    write_graph(file, name, object[[name]], written)
  }
  write_object_notes(file, object, assays)
  h5_close(file)
  h5_write_header(path, sprintf("MuData (format-version=0.1.0;creator=sailerx;creator-version=%s)", package_version_text()))
}

write_modality <- function(file, modality, name, object, own_columns, options) {
  assay <- object[[name]]
  node <- h5_encoding(h5_group(h5_child(file, "mod"), modality), "anndata", "0.1.0")
  for (group in c("obsm", "obsp", "varm", "varp", "layers", "uns")) {
    write_dict(node, group)
  }
  obs <- own_columns[[name]] %||% object[[]][character()]
  write_dataframe(node, "obs", obs[colnames(assay), , drop = FALSE])
  var <- feature_frame(assay, name, options$features, modality)
  write_dataframe(node, "var", var, index = options$names(assay))
  write_layers(node, assay, name, options)
  if (options$chromatin && has_chromatin(assay)) {
    write_chromatin(h5_child(node, "uns"), assay)
  }
  if (options$chromatin) {
    warn_of_signac_2(assay, "its peaks and coordinates are written; genome, fragment files and annotation are not")
  }
  write_value(h5_child(node, "uns"), "seurat", assay_notes(assay, name, options$layer, obs, var))
  invisible()
}
