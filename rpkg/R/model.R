# What the verbs share that use a trained model: its folder, the peak assay on file, the run.

check_seurat <- function(object, arg = "object", call = rlang::caller_env()) {
  if (!inherits(object, "Seurat")) {
    cli::cli_abort(c(
      "{.arg {arg}} must be a {.cls Seurat} object, not {.obj_type_friendly {object}}.",
      i = if (inherits(object, "seurat")) UPDATE else "Read a MuData file with {.fn ReadH5MU}, or make an object with {.fn SeuratObject::CreateSeuratObject}."
    ), call = call)
  }
  check_current(object, arg, call)
}

UPDATE <- "It was made by an older version of Seurat: {.code object <- SeuratObject::UpdateSeuratObject(object)}."

# Objects that older versions saved lack what their class has had since.
check_current <- function(object, arg, call) {
  parts <- c(list(object), attr(object, "assays"), attr(object, "reductions"), attr(object, "graphs"))
  lacking <- unlist(lapply(parts, function(part) Filter(function(slot) !methods::.hasSlot(part, slot), methods::slotNames(part))))
  if (length(lacking)) {
    cli::cli_abort(c(
      "{.arg {arg}} must be an object of this version of SeuratObject, but it lacks {.val {unique(lacking)}}.",
      i = UPDATE
    ), call = call)
  }
}

# The folder of the model: the one named, else the one that the reduction was made by.
model_folder <- function(object, reduction, model, call = rlang::caller_env()) {
  if (is.null(model)) {
    return(kept_model(object, reduction, call))
  }
  check_name(model, "model", call = call)
  inside <- c(file.path(model, "run"), model)
  found <- inside[file.exists(file.path(inside, "model.json"))]
  if (!length(found)) {
    cli::cli_abort(c(
      "{.arg model} must be the folder of a model: {.path {model}} is none.",
      i = "It is what {.arg keep} of {.fn RunSAILERX} named, or what {.code sailerx fit -o} wrote."
    ), call = call)
  }
  normalizePath(found[1])
}

kept_model <- function(object, reduction, call) {
  folder <- SeuratObject::Misc(check_own_reduction(object, reduction, call), slot = "run")
  if (is.null(folder)) {
    cli::cli_abort(c(
      "The model of reduction {.val {reduction}} must have been kept, but it was not.",
      i = "Train with {.code RunSAILERX(object, keep = \"folder\")}, or name a model's folder with {.arg model}."
    ), call = call)
  }
  if (!file.exists(file.path(folder, "model.json"))) {
    cli::cli_abort(c(
      "The model of reduction {.val {reduction}} must be in its folder, but {.path {folder}} is gone.",
      i = "If it was moved, name its new place with {.arg model}; if not, train again with {.code RunSAILERX(object, keep = \"folder\")}."
    ), call = call)
  }
  folder
}

# A reduction made by RunSAILERX() or MapSAILERX().
check_own_reduction <- function(object, reduction, call = rlang::caller_env()) {
  check_name(reduction, "reduction", call = call)
  there <- SeuratObject::Reductions(object)
  own <- Filter(function(name) !is.null(SeuratObject::Misc(object[[name]], slot = "settings")), there)
  if (!reduction %in% own) {
    cli::cli_abort(c(
      "{.arg reduction} must be a reduction made by {.fn RunSAILERX}: {.val {reduction}} is none.",
      i = "The object's: {.val {list_or_none(own)}}."
    ), call = call)
  }
  object[[reduction]]
}

# The peak assay: the one named, else the one of the reduction, else the only one.
model_assay <- function(object, reduction, assay, call = rlang::caller_env()) {
  if (is.null(assay) && is_name(reduction) && reduction %in% SeuratObject::Reductions(object)) {
    assay <- intersect(SeuratObject::DefaultAssay(object[[reduction]]), SeuratObject::Assays(object))
  }
  check_atac_assay(object, if (length(assay)) assay, call = call)
}

# How the model was trained, as Python noted it.
model_record <- function(folder) {
  jsonlite::fromJSON(file.path(folder, "model.json"))$record
}

# Counts of the peak assay, and columns of metadata (a data frame with a row per cell), as the model's modality.
write_peaks <- function(path, object, assay, modality, columns = object[[]][character()]) {
  assays <- rlang::set_names(assay, modality)
  write_atomically(path, FALSE, function(path) {
    write_mudata(path, object, assays, character(), character(), list(global = columns, own = list()), input_options(assays))
  })
}

# One argument per line, for a list that is too long for a command line.
lines_argument <- function(flag, values, folder) {
  if (is.null(values)) {
    return(character())
  }
  path <- file.path(folder, paste0(sub("--", "", flag), ".txt"))
  writeLines(enc2utf8(values), path, useBytes = TRUE)
  c(flag, paste0("@", path))
}

# Positions in the assay of the peaks of a table of Python's (row names; chrom, start, end); NA for others.
rows_of_peaks <- function(table, assay, name) {
  rows <- match(rownames(table), file_names(assay))
  own <- peak_coordinates(assay, name, "atac")
  if (anyNA(rows) && !is.null(own) && !is.null(table$chrom)) {
    rows <- ifelse(is.na(rows), match(coordinate_keys(table), coordinate_keys(own)), rows)
  }
  rows
}

coordinate_keys <- function(table) {
  paste(table$chrom, number_text(table$start), number_text(table$end), recycle0 = TRUE)
}
