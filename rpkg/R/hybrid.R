# Hybrid runs: one object with RNA and ATAC, and others with ATAC alone.

# The name of the set with RNA, and the metadata column that names the sets in the file.
PAIRED <- "paired"

SET_COLUMN <- "sailerx_data_set"

# The peak assay of each object, named by set.
check_unpaired <- function(unpaired, atac.assay, columns, name, key, call = rlang::caller_env()) {
  if (is.null(unpaired)) {
    return(NULL)
  }
  names <- rlang::names2(unpaired)
  if (!is.list(unpaired) || !length(unpaired) || !all(vapply(unpaired, inherits, logical(1), "Seurat"))) {
    cli::cli_abort(c(
      "{.arg unpaired} must be a {.cls Seurat} object or a named list of them, not {.obj_type_friendly {unpaired}}.",
      i = "For example {.code unpaired = list(sample2 = other)}."
    ), call = call)
  }
  if (anyDuplicated(c(PAIRED, names)) || !all(grepl("^[A-Za-z0-9][^=]*$", names))) {
    cli::cli_abort(c(
      "The names of {.arg unpaired} must differ, begin with a letter or digit, hold no {.val =} and not be {.val {PAIRED}}, which stands for {.arg object}.",
      x = "They are {.val {names}}."
    ), call = call)
  }
  lapply(unpaired, check_seurat, arg = "unpaired", call = call)
  lapply(unpaired, check_reduction, name, key, call = call)
  Map(function(object, name) unpaired_assay(object, name, atac.assay, columns, call), unpaired, names)
}

# The method for assays returns a reduction, and has no place for more.
check_no_unpaired <- function(names, call = rlang::caller_env()) {
  if ("unpaired" %in% names) {
    cli::cli_abort(c(
      "{.arg unpaired} needs {.arg object} to be a {.cls Seurat} object, not an assay.",
      i = "Put the assays into one with {.fn SeuratObject::CreateSeuratObject}."
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

# `input.h5mu` of all sets on the peaks of the object, by `sailerx combine`.
write_hybrid_input <- function(object, unpaired, assays, unpaired.assays, reference, columns, folder, run) {
  paths <- file.path(folder, paste0("set", c(0L, seq_along(unpaired)), ".h5mu"))
  write_input(object, paths[1], assays[["rna"]], assays[["atac"]], reference, columns, own = TRUE)
  for (number in seq_along(unpaired)) {
    write_set(paths[number + 1], unpaired[[number]], c(atac = unpaired.assays[[number]]), columns)
  }
  run(c(
    "combine", "-o", file.path(folder, "input.h5mu"), "--key", SET_COLUMN,
    "--paired", paste0(PAIRED, "=", paths[1]),
    "--atac-only", paste0(names(unpaired), "=", paths[-1])
  ))
  unlink(paths)
}

# With one other set, whether a cell has RNA tells the sets apart, and that is a batch of its own in every hybrid run.
set_column <- function(object, assays, unpaired) {
  all_paired <- all(colnames(object[[assays[["atac"]]]]) %in% colnames(object[[assays[["rna"]]]]))
  if (length(unpaired) > 1 || (length(unpaired) == 1 && !all_paired)) SET_COLUMN
}

# The rows of one set, under the names that its cells have in their object.
result_of_set <- function(result, assay, set, matched) {
  cells <- colnames(assay)
  suffixed <- paste0(cells, "-", set)
  rows <- if (all(suffixed %in% rownames(result$embedding))) suffixed else cells
  result$embedding <- result$embedding[rows, , drop = FALSE]
  rownames(result$embedding) <- cells
  result$set <- set
  result$matched.peaks <- matched[[set]]
  result
}

# What `sailerx combine` kept of each set whose peaks differed: a list by set.
read_matched_peaks <- function(path, node) {
  file <- h5_open(path)
  on.exit(h5_close(file))
  if (h5_has(file, node) && h5_has(file, paste0(node, "/matched_peaks"))) {
    read_value(h5_child(file, paste0(node, "/matched_peaks")))
  }
}
