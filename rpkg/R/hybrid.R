# Hybrid runs: one object with RNA and ATAC, and others with ATAC alone. The cells of one object are a set.

# The name of the set with RNA, and the metadata column of the file that names the set of each cell.
PAIRED <- "paired"

SET_COLUMN <- "sailerx_data_set"

# A list of the sets without RNA: `object` and the name of its peak `assay`, named by set.
check_unpaired <- function(unpaired, atac.assay, columns, name, key, call = rlang::caller_env()) {
  if (is.null(unpaired)) {
    return(NULL)
  }
  if (inherits(unpaired, "Seurat")) {
    unpaired <- list(unpaired = unpaired)
  }
  names <- rlang::names2(unpaired)
  if (!is.list(unpaired) || !length(unpaired) || !all(vapply(unpaired, inherits, logical(1), "Seurat"))) {
    cli::cli_abort(c(
      "{.arg unpaired} must be a {.cls Seurat} object or a named list of them, not {.obj_type_friendly {unpaired}}.",
      i = "For example {.code unpaired = list(sample2 = other)}."
    ), call = call)
  }
  if (anyDuplicated(c(PAIRED, names)) || !all(grepl("^[^=]+$", names))) {
    cli::cli_abort(c(
      "The names of {.arg unpaired} must differ, hold no {.val =}, and not be empty or {.val {PAIRED}}, which stands for {.arg object}.",
      x = "They are {.val {names}}.",
      i = "Name each object: {.code unpaired = list(sample1 = other, sample2 = another)}."
    ), call = call)
  }
  unpaired <- lapply(unpaired, check_seurat, arg = "unpaired", call = call)
  with_rna <- names[vapply(unpaired, function(object) "RNA" %in% SeuratObject::Assays(object), logical(1))]
  if (length(with_rna)) {
    cli::cli_inform(c(i = "The RNA of {.val {with_rna}} is not used: {.arg unpaired} is trained by ATAC alone. Cells with measured RNA, not gene activities, belong in {.arg object}."))
  }
  lapply(unpaired, check_reduction, name, key, call = call)
  Map(function(object, set) {
    list(object = object, assay = unpaired_assay(object, set, atac.assay, columns, call))
  }, unpaired, names)
}

# The methods for assays and for Bioconductor's containers return one object and can return no further ones.
check_no_unpaired <- function(names, call = rlang::caller_env()) {
  if ("unpaired" %in% names) {
    cli::cli_abort(c(
      "{.arg unpaired} needs {.arg object} to be a {.cls Seurat} object.",
      i = "Put genes and peaks into one with {.fn SeuratObject::CreateSeuratObject}."
    ), call = call)
  }
}

unpaired_assay <- function(object, name, atac.assay, columns, call) {
  missing <- setdiff(columns, colnames(object[[]]))
  if (length(missing)) {
    cli::cli_abort(c(
      "Every object of {.arg unpaired} must have the columns of {.arg batch} and {.arg covariates}: {.val {name}} has no {.val {missing}}.",
      i = "Add what is missing with {.fn SeuratObject::AddMetaData}."
    ), call = call)
  }
  there <- SeuratObject::Assays(object)
  check_atac_assay(object, if (atac.assay %in% there) atac.assay else if (length(there) == 1) there, call = call)
}

# The file that is trained on: the object alone, or all sets on the peaks of the object, put together by `sailerx combine`.
# `columns`: names of metadata columns, `batch` and `covariates`.
write_training_input <- function(object, sets, assays, reference, columns, folder, run) {
  input <- file.path(folder, "input.h5mu")
  if (is.null(sets)) {
    write_input(object, input, assays[["rna"]], assays[["atac"]], reference, columns)
    return(input)
  }
  paths <- file.path(folder, paste0("set", c(0L, seq_along(sets)), ".h5mu"))
  write_input(object, paths[1], assays[["rna"]], assays[["atac"]], reference, columns, own = TRUE)
  Map(write_set, paths[-1], sets, MoreArgs = list(columns = columns))
  run(c(
    "combine", "-o", input, "--key", SET_COLUMN,
    flag_values("--paired", paste0(PAIRED, "=", paths[1])),
    flag_values("--atac-only", paste0(names(sets), "=", paths[-1]))
  ))
  unlink(paths)
  input
}

# Counts of the peak assay with the columns in its modality, where `sailerx combine` looks for them.
write_set <- function(path, set, columns) {
  assays <- c(atac = set$assay)
  write_for_python(path, set$object, assays, chosen_columns(set$object, columns, assays))
}

# The set is a batch of its own where there are several sets without RNA. With a single one, Python tells the sets apart by
# whether a cell has RNA, unless the object itself has cells without RNA.
set_column <- function(object, assays, sets) {
  all_paired <- all(colnames(object[[assays[["atac"]]]]) %in% colnames(object[[assays[["rna"]]]]))
  if (length(sets) > 1 || (length(sets) == 1 && !all_paired)) SET_COLUMN
}

# The object and the other objects, each with the reduction of its cells. `add(object, result, assay)` adds one.
add_results_of_sets <- function(object, atac.assay, sets, result, add) {
  add_own <- function(object, assay, set) add(object, result_of_set(result, object[[assay]], set), assay)
  list(
    object = add_own(object, atac.assay, PAIRED),
    unpaired = Map(function(set, name) add_own(set$object, set$assay, name), sets, names(sets))
  )
}

# The rows of one set, under the names that its cells have in their object. `sailerx combine` appends the set to every
# barcode where sets have barcodes in common.
result_of_set <- function(result, assay, set) {
  cells <- colnames(assay)
  suffixed <- paste0(cells, "-", set)
  rows <- if (all(suffixed %in% rownames(result$embedding))) suffixed else cells
  result$embedding <- result$embedding[rows, , drop = FALSE]
  rownames(result$embedding) <- cells
  result$set <- set
  result$matched.peaks <- result$matched.peaks[[set]]
  result
}

# What was kept of peaks and counts that were matched by overlap, as Python noted it in the file; NULL if none were.
read_matched_peaks <- function(path, node) {
  file <- h5_open(path)
  on.exit(h5_close(file))
  if (h5_has(file, node) && h5_has(file, paste0(node, "/matched_peaks"))) {
    read_value(h5_child(file, paste0(node, "/matched_peaks")))
  }
}
