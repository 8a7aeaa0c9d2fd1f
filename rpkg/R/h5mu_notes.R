# What an object and a file cannot express in each other's terms. The file keeps what only Seurat needs in the group
# `uns/seurat` ("notes"); the object keeps what only the file knows in `Misc(object, "h5mu")`.

# The group uns/seurat/<name>, created if missing.
notes_group <- function(node, name) {
  notes <- h5_child(node, "uns")
  if (!h5_has(notes, "seurat")) {
    write_dict(notes, "seurat")
  }
  notes <- h5_child(notes, "seurat")
  if (!h5_has(notes, name)) {
    write_dict(notes, name)
  }
  h5_child(notes, name)
}

# The value at uns/seurat/<...>; NULL if there is none.
read_note <- function(node, ...) {
  # hdf5r stops at a path whose groups do not exist, so each of them is asked for first.
  for (path in Reduce(function(above, name) paste0(above, "/", name), c("uns", "seurat", ...), accumulate = TRUE)) {
    if (!h5_has(node, path)) {
      return(NULL)
    }
  }
  read_value(h5_child(node, path))
}

assay_notes <- function(assay, name, layer, obs, var) {
  own <- own_reserved(assay)
  list(
    assay = scalar(name),
    class = scalar(class(assay)[[1L]]),
    key = scalar(SeuratObject::Key(assay)),
    x = if (!is.na(layer[[name]])) scalar(layer[[name]]),
    columns = list(obs_character = text_columns(obs), var_character = text_columns(var), var_own = if (length(own)) own)
  )
}

# Notes on the whole object: columns that are text, the active assay and identities, the project.
write_object_notes <- function(file, object, assays) {
  notes_group(file, "columns")
  write_array(h5_child(file, "uns/seurat/columns"), "obs_character", text_columns(object[[]]))
  notes <- list(
    active_assay = intersect(SeuratObject::DefaultAssay(object), assays),
    active_ident = identity_column(object),
    project = SeuratObject::Project(object)
  )
  for (key in names(notes)[lengths(notes) == 1L]) {
    write_scalar(h5_child(file, "uns/seurat"), key, notes[[key]])
  }
}

# The metadata column that holds the active identities, if one does; unused levels are ignored. Text has no order of levels.
identity_column <- function(object) {
  active <- SeuratObject::Idents(object)
  meta <- object[[]]
  same <- vapply(meta, function(column) {
    (is.factor(column) || is.character(column)) &&
      identical(as.character(column), as.character(active)) &&
      (is.character(column) || identical(intersect(levels(column), levels(active)), levels(active)))
  }, logical(1))
  utils::head(colnames(meta)[same], 1L)
}

set_identities <- function(object, column) {
  if (!is.null(column) && column %in% colnames(object[[]])) {
    SeuratObject::Idents(object) <- column
  }
  object
}

# Notes the modality of each assay and the columns of each modality's obs, for WriteH5MU(); nothing if the defaults would
# give the same file.
remember_origin <- function(object, parts, merged) {
  modalities <- vapply(parts, `[[`, character(1), "modality")
  names(modalities) <- vapply(parts, `[[`, character(1), "name")
  as_usual <- identical(unname(modalities), default_modalities(object, names(modalities)))
  if (!as_usual || length(merged$by_assay) > 0L) {
    SeuratObject::Misc(object, "h5mu") <- list(
      modalities = modalities,
      columns = lapply(merged$by_assay, unlist),
      global = merged$global
    )
  }
  object
}
