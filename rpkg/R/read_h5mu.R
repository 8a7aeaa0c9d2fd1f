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
