#' Read MuData (.h5mu) as a Seurat object
#'
#' Reads `.h5mu` files, whether `mudata`, [WriteH5MU()] or another program wrote them; each modality needs a matrix. Modalities become assays,
#' `obs` becomes the cell metadata, `obsm` becomes reductions (with loadings and standard deviations), and `obsp` becomes
#' graphs. A message names what a Seurat object cannot hold.
#'
#' Peaks with `chrom`, `start` and `end` become a Signac `ChromatinAssay`, of Signac 2 a `GRangesAssay`, if Signac is installed, with the genome, sequence
#' lengths, fragment files and gene annotation that the file has. A modality holds peaks if it was a `ChromatinAssay` in R, is
#' called `atac` or `peaks`, has only peaks in its column `feature_types`, or names its features by coordinates; genes that have
#' coordinates stay genes. Positions in the file are 0-based and half-open, in Signac
#' 1-based with both ends included: `start` differs by one, the peak is the same.
#'
#' Counts that are only in `raw`, as scanpy keeps them, become the layer `counts`: beside X if both have the same features, else
#' instead of X. A message says so.
#'
#' @param file Path of an `.h5mu` file.
#' @param assays Names of the modalities to read, all by default. Names of this vector are the names of the assays:
#'   `c(RNA = "rna", peaks = "atac")`. Unnamed, an assay gets the name it had in R, else `rna` becomes `RNA`, `atac` becomes
#'   `ATAC`, and any other modality keeps its name.
#' @param chromatin Read peaks as a `ChromatinAssay`? `"auto"`: if Signac is installed and the file does not say that they
#'   were a plain assay. `TRUE`: always, also where the coordinates are only in the names of the peaks (`chr1:100-200` from 0,
#'   as in BED files, or `chr1-101-200` from 1, as in Signac); an error if no modality has peaks. `FALSE`: never. Names of
#'   modalities: those.
#' @param verbose Show a message that names what was not read?
#' @returns A `Seurat` object. Seurat forbids `_` and `|` in feature names, and Signac names peaks by their coordinates;
#'   where a name was changed, the feature metadata column `original_name` has the names of the file.
#' @inherit WriteH5MU examples
#' @export
ReadH5MU <- function(file, assays = NULL, chromatin = "auto", verbose = TRUE) {
  chromatin <- check_chromatin(chromatin)
  connection <- open_h5mu(file)
  on.exit(h5_close(connection))
  said_of_file(file, read_object(connection, assays, chromatin, verbose))
}

read_object <- function(connection, assays, chromatin, verbose) {
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
  object <- add_entries(object, connection, parts, "obsm", add_embedding)
  object <- add_entries(object, connection, parts, "obsp", add_graph)
  if (verbose) {
    report_left_out(connection, parts)
  }
  object
}

# One modality as an assay, with its cells in the order of the object, as Seurat needs them. `rows`: their positions in the
# modality.
read_modality <- function(connection, modality, name, chromatin) {
  node <- h5_child(connection, paste0("mod/", modality))
  stored <- read_index(h5_child(node, "obs"))
  check_size(modality, stored, read_index(h5_child(node, "var")))
  cells <- intersect(read_index(h5_child(connection, "obs")), stored)
  rows <- match(cells, stored)
  found <- features_and_layers(node, modality, rows)
  class <- assay_class(found$node, modality, chromatin)
  assay <- switch(class,
    ChromatinAssay = , GRangesAssay = new_chromatin_assay(node, found$layers, cells, found$node),
    ChromatinAssay5 = new_chromatin_assay5(node, found$layers, names_in_seurat(found$names), cells),
    new_assay(class, found$layers, names_in_seurat(found$names), cells)
  )
  assay <- add_feature_metadata(assay, read_features(found$node), found$names, read_note(node, "columns", "var_own"))
  SeuratObject::Key(assay) <- read_note(node, "key") %||% make_key(tolower(name))
  list(
    node = node,
    modality = modality,
    name = name,
    assay = assay,
    cells = cells,
    rows = rows,
    x_rows = found$x_rows,
    from_raw = found$from_raw,
    obs = read_cells(node)[rows, , drop = FALSE]
  )
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

# The object from its assays: cell metadata, active assay and identities; reductions and graphs are added later.
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

# A message that names what the file holds and a Seurat object cannot.
report_left_out <- function(connection, parts) {
  report_raw(parts)
  known <- c("seurat", "genome", "seqinfo", "fragments", "annotation", "files", "pca", "lsi")
  left <- unlist(lapply(c(list(list(node = connection)), parts), function(place) {
    entries <- c(
      if (h5_has(place$node, "raw") && is.null(place$from_raw)) "raw",
      paste0("uns/", setdiff(keys_of(place$node, "uns"), known), recycle0 = TRUE),
      paste0("varp/", setdiff(keys_of(place$node, "varp"), names(parts)), recycle0 = TRUE)
    )
    paste0(if (!is.null(place$modality)) paste0(place$modality, "/"), entries, recycle0 = TRUE)
  }))
  if (length(left) > 0L) {
    cli::cli_inform(c(i = "Not read, because a Seurat object cannot hold it: {.val {left}}."))
  }
}
