# What only one side knows. `uns/seurat` of the file holds what only Seurat needs; Misc(object, "h5mu") holds what only the
# file knows.

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

assay_notes <- function(assay, name, layer, obs, var) {
  list(
    assay = scalar(name),
    class = scalar(class(assay)[[1L]]),
    key = scalar(SeuratObject::Key(assay)),
    x = if (!is.na(layer[[name]])) scalar(layer[[name]]),
    columns = list(obs_character = text_columns(obs), var_character = text_columns(var))
  )
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

set_identities <- function(object, column) {
  if (!is.null(column) && column %in% colnames(object[[]])) {
    SeuratObject::Idents(object) <- column
  }
  object
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
