#' Peaks that differ between two groups of cells
#'
#' Differential accessibility by the trained model, with arguments and columns as
#' in `Seurat::FindMarkers()`. Needs the model: train it with
#' `RunSAILERX(object, keep = "folder")`.
#'
#' Effect sizes are differences of the imputed accessibility, at equal depth and
#' batch. Their certainty comes from the observed open peaks: `probability` is a
#' posterior probability, not a p-value. There is no `p_val` and no `p_val_adj`;
#' select by `fdr` or `differential` instead of the adjusted p-value.
#'
#' If the groups were found by clustering the same accessibility, differences
#' look more certain than they are.
#'
#' @inheritParams ImputeSAILERX
#' @param ident.1,ident.2 Names of one or several groups, or of cells. `ident.2
#'   = NULL`: all other cells.
#' @param group.by Name of the metadata column of the groups. `NULL` or
#'   `"ident"`: the identities of the object.
#' @param only.pos Return only peaks with a positive `avg_log2FC`?
#' @param ... Options of Python, by name: `min_change` (the smallest log2
#'   fold change that counts as a difference), `fdr`, `depth`, `batch`, `threads`.
#'   `python -m sailerx differential --help` describes them.
#' @returns A data frame with one row per peak, named by peak, the most probable
#'   first, and the columns:
#'   * `probability`: posterior probability that accessibility differs by more
#'     than `min_change`,
#'   * `avg_log2FC`: log2 ratio of the mean imputed accessibility, group 1 over
#'     group 2,
#'   * `pct.1`, `pct.2`: observed share of the cells of each group with the peak
#'     open, not corrected for depth,
#'   * `fdr`: expected share of false calls if this peak and all above it are
#'     called different,
#'   * `differential`: is this `fdr` at most the option `fdr`?
#'   * `accessibility.1`, `accessibility.2`: mean imputed probability of each group,
#'   * `difference`: `accessibility.1` minus `accessibility.2`,
#'   * `log2FC.observed`: posterior mean of the log2 ratio of observed open
#'     peaks at equal depth,
#'   * `chrom`, `start`, `end`: the coordinates of the peak (0-based, half-open).
#' @seealso [RunSAILERX()], [ImputeSAILERX()]
#' @inherit sailerx_history examples
#' @export
FindMarkersSAILERX <- function(
  object,
  ident.1,
  ident.2 = NULL,
  group.by = NULL,
  only.pos = FALSE,
  reduction = "sailerx",
  atac.assay = NULL,
  model = NULL,
  backend = c("subprocess", "reticulate"),
  python = NULL,
  verbose = TRUE,
  ...
) {
  object <- check_seurat(object)
  backend <- rlang::arg_match(backend)
  model <- model_folder(object, reduction, model)
  atac.assay <- model_assay(object, reduction, atac.assay)
  groups <- two_groups(object, atac.assay, ident.1, ident.2, group.by)
  columns <- cbind(batch_columns(object, reduction, model_record(model)$batch_key), rlang::set_names(groups, GROUPS))
  options <- command_options(list(...), marker_options)
  python <- find_python(python, backend)

  folder <- working_folder()
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  input <- file.path(folder, "input.h5mu")
  output <- file.path(folder, "table.csv")
  write_peaks(input, object, atac.assay, model_record(model)$atac, columns)
  arguments <- c("differential", model, input, "-o", output, "--group-by", GROUPS, "--group1", "ident.1", "--group2", "ident.2", options)
  run_sailerx(arguments, backend, python, folder, verbose, c(atac = atac.assay))
  sizes <- table(groups[colnames(object[[atac.assay]]), 1])
  markers <- read_markers(output, sizes, object[[atac.assay]], atac.assay)
  if (only.pos) markers[markers$avg_log2FC > 0, ] else markers
}

# The metadata column of the file that holds the two groups.
GROUPS <- "sailerx_groups"

marker_options <- c("output" = "reduction", "o" = "reduction", "group-by" = "group.by", "group1" = "ident.1", "group2" = "ident.2")

# A data frame with one factor, levels `ident.1` and `ident.2`; NA for all other cells.
two_groups <- function(object, assay, ident.1, ident.2, group.by, call = rlang::caller_env()) {
  values <- as.character(group_column(object, group.by %||% "ident", call)[[1]])
  first <- members(ident.1, values, colnames(object), "ident.1", call)
  second <- if (is.null(ident.2)) !first else members(ident.2, values, colnames(object), "ident.2", call)
  if (is.null(ident.2) && all(first)) {
    cli::cli_abort(c(
      "{.arg ident.2} must have cells: {.arg ident.1} is all cells, and none is left.",
      i = "Name a metadata column with groups by {.arg group.by}, or set {.fn Idents}."
    ), call = call)
  }
  if (any(first & second)) {
    cli::cli_abort("{.arg ident.1} and {.arg ident.2} must share no cell, but {sum(first & second)} {?is/are} in both.", call = call)
  }
  groups <- factor(ifelse(first, "ident.1", ifelse(second, "ident.2", NA)), c("ident.1", "ident.2"))
  data.frame(groups = groups, row.names = colnames(object))
}

# TRUE for the cells of the groups `idents`, or for the cells that `idents` names.
members <- function(idents, values, cells, arg, call) {
  if (!length(idents) || anyNA(idents)) {
    cli::cli_abort("{.arg {arg}} must name at least one group, not {.obj_type_friendly {idents}}.", call = call)
  }
  idents <- as.character(idents)
  if (all(idents %in% cells) && !all(idents %in% values)) {
    return(cells %in% idents)
  }
  unknown <- setdiff(idents, values)
  if (length(unknown)) {
    cli::cli_abort(c(
      "{.arg {arg}} must name groups that have cells: there is no {.val {unknown}}.",
      i = "There are {.val {list_or_none(sort(unique(values[!is.na(values)])))}}."
    ), call = call)
  }
  values %in% idents
}

# The batch columns that the model was trained with: Python compares the groups within each batch.
batch_columns <- function(object, reduction, keys, call = rlang::caller_env()) {
  columns <- object[[]]
  if (SET_COLUMN %in% setdiff(keys, colnames(columns)) && reduction %in% SeuratObject::Reductions(object)) {
    columns[[SET_COLUMN]] <- SeuratObject::Misc(object[[reduction]], slot = "set")
  }
  missing <- setdiff(keys, colnames(columns))
  if (length(missing)) {
    cli::cli_abort(c(
      "The metadata must have the batches that the model was trained with: there is no {.val {missing}}.",
      i = "Add what is missing with {.fn SeuratObject::AddMetaData}."
    ), call = call)
  }
  # a model without batches has an empty list
  with_factors(columns[as.character(keys)], as.character(keys))
}

# The table of `sailerx differential` with the columns of Seurat::FindMarkers(). `sizes`: numbers of cells of the groups.
read_markers <- function(path, sizes, assay, name) {
  text <- c("peak", if (has_column(path, "chrom")) "chrom")
  classes <- rlang::set_names(rep("character", length(text)), text)
  table <- utils::read.csv(path, colClasses = classes, encoding = "UTF-8")
  rownames(table) <- table$peak
  rows <- rows_of_peaks(table, assay, name)
  rownames(table) <- ifelse(is.na(rows), table$peak, rownames(assay)[rows])
  data.frame(
    probability = table$probability,
    avg_log2FC = table$log2_fold_change,
    pct.1 = table$open_1 / sizes[["ident.1"]],
    pct.2 = table$open_2 / sizes[["ident.2"]],
    fdr = table$fdr,
    differential = as.logical(table$differential),
    accessibility.1 = table$accessibility_1,
    accessibility.2 = table$accessibility_2,
    difference = table$difference,
    log2FC.observed = table$log2_observed,
    table[intersect(PEAK_COLUMNS, colnames(table))],
    row.names = rownames(table)
  )
}

has_column <- function(path, name) {
  name %in% colnames(utils::read.csv(path, nrows = 1))
}
