#' Impute accessibility
#'
#' The probability that a peak is open in a cell, predicted by the trained model
#' at the same sequencing depth and batch for all cells. Needs the model: train
#' it with `RunSAILERX(object, keep = "folder")`.
#'
#' Cells are embedded from their peak counts alone, so they may be other cells
#' than those that the model was trained on. All peaks of all cells make a dense
#' matrix, which for a large object does not fit into memory: choose `features`,
#' `regions` or `cells`, take group means, keep only values above a `threshold`
#' (sparse), or write to a `file`.
#'
#' @inheritParams RunSAILERX
#' @param object A `Seurat` object with a peak assay.
#' @param features Names of peaks of that assay.
#' @param regions Regions whose peaks are taken: `"chr1:1000-5000"` or
#'   `"chr1-1000-5000"` (1-based, both ends included, as in Signac),
#'   whole chromosomes (`"chr1"`), or a `GRanges`. Without `features` and
#'   `regions`, all peaks.
#' @param cells Names of cells; by default all.
#' @param group.by Name of a metadata column, or `"ident"` for the identities:
#'   means over the cells of each group.
#' @param assay.name Name of the new assay. One of that name is replaced.
#' @param file Path of an `.h5ad` file to which the values are written, some cells
#'   at a time, instead of into memory. Needs the package HDF5Array.
#' @param reduction Name of the reduction whose model is used.
#' @param atac.assay Name of the peak assay. `NULL`: the one of the reduction.
#' @param model Folder of another model than the one of the reduction: `keep` of
#'   [RunSAILERX()], or the folder that `sailerx fit` wrote.
#' @param ... Options of Python, by name: `depth`, `batch` (a level, or
#'   `c(donor = "a")`), `threshold`, `samples`, `seed`, `threads`.
#'   `python -m sailerx impute --help` describes them.
#' @returns One of three:
#'   * By default the object with one more assay, probabilities in its layer
#'     `data` (peaks × cells). It is of the class of the peak assay; a
#'     `ChromatinAssay` keeps ranges, genome, annotation, fragments and motifs
#'     of the chosen peaks and cells.
#'   * With `group.by` a matrix, peaks × groups.
#'   * With `file` an `HDF5Array::H5ADMatrix` on that file, peaks × cells (or
#'     groups): values are read when they are used.
#'
#'   Peaks are in the order of `features`, or of the peak assay. With `samples`,
#'   the standard deviation over posterior samples is a second assay
#'   (`assay.name` followed by `.std`), the attribute `std` of the matrix, or the
#'   layer `std` of the file.
#' @seealso [RunSAILERX()], [FindMarkersSAILERX()]
#' @inherit sailerx_history examples
#' @export
ImputeSAILERX <- function(
  object,
  features = NULL,
  regions = NULL,
  cells = NULL,
  group.by = NULL,
  assay.name = "imputed",
  file = NULL,
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
  groups <- group_column(object, group.by)
  choice <- check_choice(object[[atac.assay]], atac.assay, features, regions, cells)
  check_new_assay(object, assay.name, atac.assay)
  file <- check_result_file(file)
  options <- command_options(list(...), impute_options)
  if (is.null(file) && is.null(group.by) && !any(startsWith(options, "--threshold="))) {
    check_fits(choice)
  }
  python <- find_python(python, backend)

  folder <- working_folder()
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  write_peaks(file.path(folder, "input.h5mu"), object, atac.assay, model_record(model)$atac, groups)
  output <- file %||% file.path(folder, "output.h5ad")
  arguments <- c(impute_arguments(folder, model, output, choice, names(groups)), options)
  run_sailerx(arguments, backend, python, folder, verbose, c(atac = atac.assay))
  if (!is.null(file)) {
    values <- read_imputed(file, function(name) HDF5Array::H5ADMatrix(file))
    return(in_order_of(values, object[[atac.assay]], atac.assay, !is.null(features))$values)
  }
  imputed <- in_order_of(read_imputed(output), object[[atac.assay]], atac.assay, !is.null(features))
  if (!is.null(group.by)) {
    return(imputed_matrix(imputed))
  }
  params <- list(
    features = brief(features), regions = brief(as.character(regions)), cells = brief(cells), assay.name = assay.name,
    reduction = reduction, atac.assay = atac.assay, model = model, backend = backend, python = python, ...
  )
  add_imputed(object, imputed, assay.name, atac.assay) |>
    log_command(atac.assay, assay.name, params, "ImputeSAILERX")
}

# Options of Python that an argument of ImputeSAILERX() sets, and the name of that argument.
impute_options <- c(
  "output" = "file", "o" = "file", "peaks" = "features", "regions" = "regions", "cells" = "cells", "group-by" = "group.by"
)

# A data frame with the column `group.by` as a factor, one row per cell; without columns if it is NULL.
group_column <- function(object, group.by, call = rlang::caller_env(), arg = "group.by") {
  if (is.null(group.by)) {
    return(object[[]][character()])
  }
  check_name(group.by, arg, call = call)
  if (group.by != "ident") {
    check_columns(object, group.by, arg, call = call)
  }
  values <- if (group.by == "ident") SeuratObject::Idents(object) else object[[]][[group.by]]
  rlang::set_names(data.frame(as.factor(values), row.names = colnames(object)), group.by)
}

# What to impute: peaks by their names in the file, regions as Python counts, cells; NULL where all are meant. `size`:
# numbers of peaks and cells; regions count 0, because only Python knows their peaks.
check_choice <- function(assay, name, features, regions, cells, call = rlang::caller_env()) {
  check_members(features, rownames(assay), "features", "peaks of assay {.val {name}}", name, call)
  check_members(cells, colnames(assay), "cells", "cells of assay {.val {name}}", name, call)
  list(
    peaks = if (!is.null(features)) training_names(assay)[match(features, rownames(assay))],
    regions = if (!is.null(regions)) python_regions(regions, peak_coordinates(assay, name, "atac")$chrom, call),
    cells = cells,
    size = c(if (is.null(regions)) length(features %||% rownames(assay)) else 0, length(cells %||% colnames(assay)))
  )
}

check_members <- function(wanted, there, arg, what, name, call) {
  if (is.null(wanted)) {
    return(invisible())
  }
  if (!is.character(wanted) || !length(wanted) || anyNA(wanted)) {
    cli::cli_abort("{.arg {arg}} must be names, not {.obj_type_friendly {wanted}}.", call = call)
  }
  unknown <- setdiff(wanted, there)
  if (length(unknown) || anyDuplicated(wanted)) {
    bad <- c(unknown, wanted[duplicated(wanted)])[1]
    problem <- if (length(unknown)) "{length(unknown)} of {length(wanted)} {?is/are} unknown, first {.val {bad}}" else "{.val {bad}} occurs twice"
    cli::cli_abort(c(
      paste0("{.arg {arg}} must be different ", what, ": ", problem, "."),
      i = "The assay has names such as {.val {there[1]}}."
    ), call = call)
  }
}

check_new_assay <- function(object, name, source, call = rlang::caller_env()) {
  check_name(name, "assay.name", call = call)
  if (name != make.names(name)) {
    cli::cli_abort("{.arg assay.name} must be a valid R name: use {.val {make.names(name)}}, not {.val {name}}.", call = call)
  }
  others <- setdiff(names(object), setdiff(SeuratObject::Assays(object), source))
  if (name %in% others) {
    cli::cli_abort("{.arg assay.name} must be free: {.val {name}} is the peak assay, a reduction or a graph of the object.", call = call)
  }
}

check_result_file <- function(file, call = rlang::caller_env()) {
  if (is.null(file)) {
    return(NULL)
  }
  check_name(file, "file", call = call)
  if (!grepl("\\.h5ad$", file)) {
    cli::cli_abort("{.arg file} must end in {.val .h5ad}, not be {.path {file}}.", call = call)
  }
  rlang::check_installed("HDF5Array", "to read the file as it is used.", call = call)
  if (file.exists(file)) {
    cli::cli_abort(c("{.arg file} must be a new file: {.path {file}} exists.", i = "Remove it, or choose another name."), call = call)
  }
  absolute_in_folder(file, "file", call)
}

# The number of values of the largest dense matrix that is read into memory: 4 GB.
LARGEST_DENSE <- 5e8

check_fits <- function(choice, call = rlang::caller_env()) {
  if (prod(choice$size) > LARGEST_DENSE) {
    cli::cli_abort(c(
      "The imputed values must fit into memory: {choice$size[1]} peaks of {choice$size[2]} cells would take {round(8e-9 * prod(choice$size))} GB.",
      i = "Choose {.arg features}, {.arg regions} or {.arg cells}, take means by {.arg group.by}, keep only values above a {.arg threshold}, or write to a {.arg file}."
    ), call = call)
  }
}

impute_arguments <- function(folder, model, output, choice, group) {
  c(
    "impute", model, file.path(folder, "input.h5mu"), "-o", output,
    flag_values("--peaks", choice$peaks),
    flag_values("--regions", choice$regions),
    flag_values("--cells", choice$cells),
    flag_values("--group-by", group)
  )
}

# The imputed `values` and, with samples, `std` (peaks x cells or groups), and `peaks`, the table of their coordinates.
# The argument `values` is a function that reads X in another way.
read_imputed <- function(path, values = NULL) {
  file <- h5_open(path)
  on.exit(h5_close(file))
  peaks <- read_dataframe(h5_child(file, "var"))
  names <- list(rownames(peaks), read_index(h5_child(file, "obs")))
  read <- function(name) {
    node <- h5_child(file, name)
    if (h5_is_group(node)) read_sparse(node) else h5_read(node)
  }
  std <- if (is.null(values) && h5_has(file, "layers/std")) `dimnames<-`(read("layers/std"), names)
  list(values = `dimnames<-`((values %||% read)("X"), names), std = std, peaks = peaks)
}

# Renames the peaks to the names in the assay and, unless `given` (the user gave an order), sorts them as in the assay.
in_order_of <- function(imputed, assay, name, given) {
  rows <- rows_of_peaks(imputed$peaks, assay, name)
  order <- if (given || !is.unsorted(rows, na.rm = TRUE)) seq_along(rows) else order(rows)
  names <- ifelse(is.na(rows), names_in_seurat(rownames(imputed$peaks)), rownames(assay)[rows])[order]
  rearrange <- function(matrix) {
    if (is.null(matrix)) {
      return(NULL)
    }
    if (is.unsorted(order)) matrix <- matrix[order, , drop = FALSE]
    `rownames<-`(matrix, names)
  }
  list(
    values = rearrange(imputed$values), std = rearrange(imputed$std),
    peaks = imputed$peaks[order, , drop = FALSE], rows = rows[order]
  )
}

imputed_matrix <- function(imputed) {
  structure(imputed$values, std = imputed$std)
}

add_imputed <- function(object, imputed, name, source) {
  cells <- intersect(colnames(object), colnames(imputed$values))
  matrices <- list(imputed$values, imputed$std)
  names(matrices) <- c(name, paste0(name, ".std"))
  for (name in names(matrices)[lengths(matrices) > 0]) {
    assay <- assay_like(object[[source]], matrices[[name]][, cells, drop = FALSE], imputed)
    object <- put_assay(object, assay, name, source)
  }
  object
}

# Long vectors in short, because the command log is stored with the object.
brief <- function(values) {
  if (length(values) <= 10L) {
    return(if (length(values)) values)
  }
  sprintf("%d, from %s", length(values), values[[1]])
}
