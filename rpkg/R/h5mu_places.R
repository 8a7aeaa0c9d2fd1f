# Where reductions and graphs are in the file: in a modality, or at the top.

# Names of the reductions or graphs to write: those asked for, else those that belong to an assay that is written.
choose_by_assay <- function(object, there, wanted, assays, what) {
  if (!is.null(wanted)) {
    return(check_among(wanted, there, what))
  }
  Filter(function(name) SeuratObject::DefaultAssay(object[[name]]) %in% assays, there)
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

# Where embeddings and graphs are: in each modality, and at the top of the file.
places <- function(object, connection, parts) {
  top <- list(node = connection, name = NULL, modality = NULL, cells = colnames(object))
  top$rows <- match(top$cells, read_index(h5_child(connection, "obs")))
  c(unname(parts), list(top))
}

keys_of <- function(node, group) {
  if (h5_has(node, group)) h5_names(h5_child(node, group))
}

# mudata keeps which cells a modality has as obsm and varm entries of that name.
masks <- function(place, connection) {
  if (is.null(place$name)) h5_names(h5_child(connection, "mod"))
}
