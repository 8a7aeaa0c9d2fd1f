# What the verbs that use a trained model have in common: its folder, its record and the peak assay.

# The folder of the model: the one named, else the one that made the reduction.
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
  own <- Filter(function(name) is_of_run(object[[name]]), there)
  if (!reduction %in% own) {
    cli::cli_abort(c(
      "{.arg reduction} must be a reduction made by {.fn RunSAILERX}: {.val {reduction}} is none.",
      i = if (length(own)) "The object's: {.val {own}}." else "The object has none. If its model was kept, name the folder with {.arg model} where there is such an argument."
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

# The settings and columns that the model was trained with, from its model.json.
model_record <- function(folder) {
  jsonlite::fromJSON(file.path(folder, "model.json"))$record
}
