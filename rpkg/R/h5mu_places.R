# Where reductions (obsm) and graphs (obsp) are stored: in a modality, or at the top of the file.

# The reductions or graphs to write: those asked for, else all but those of an assay that is not written. A graph may have
# no assay.
choose_by_assay <- function(object, there, wanted, assays, what) {
  if (!is.null(wanted)) {
    return(check_among(wanted, there, what))
  }
  Filter(function(name) all(SeuratObject::DefaultAssay(object[[name]]) %in% assays), there)
}

# The place of a reduction or graph: the modality of its assay if that has all `cells` (`exactly`: and no others), else the
# top of the file. A list of `node` and the names of its `cells`. `written`: the assays and cells of the file.
place_of <- function(file, assay, cells, written, exactly = FALSE) {
  modality <- names(written$assays)[match(assay, written$assays)]
  if (!is.na(modality)) {
    own <- written$cells[[modality]]
    fits <- if (exactly) setequal(cells, own) else all(cells %in% own)
    if (fits) {
      return(list(node = h5_child(file, paste0("mod/", modality)), cells = own))
    }
  }
  list(node = file, cells = written$all_cells)
}

# Every place to read from: each modality, and the top of the file. `rows`: where the object's cells are in its obs.
places <- function(object, connection, parts) {
  top <- list(node = connection, name = NULL, modality = NULL, cells = colnames(object))
  top$rows <- match(top$cells, read_index(h5_child(connection, "obs")))
  c(unname(parts), list(top))
}

# The names of the entries of a group; NULL if there is no such group.
keys_of <- function(node, group) {
  if (h5_has(node, group)) h5_names(h5_child(node, group))
}

# Entries at the top named like a modality are no embeddings: mudata stores there which cells the modality has.
masks <- function(place, connection) {
  if (is.null(place$name)) h5_names(h5_child(connection, "mod"))
}

# Adds every entry of a group (obsm, obsp) of every place to the object, by `add(object, place, key)`.
add_entries <- function(object, connection, parts, group, add) {
  for (place in places(object, connection, parts)) {
    for (key in setdiff(keys_of(place$node, group), masks(place, connection))) {
      object <- add(object, place, key)
    }
  }
  object
}
