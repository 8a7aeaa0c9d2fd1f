#' Transfer labels and RNA to new cells
#'
#' Labels the cells of another object, with or without RNA, and predicts their
#' RNA, by the cells of `object` that are most like them. Needs the model: train
#' it with `RunSAILERX(object, keep = "folder")`.
#'
#' Cells are compared by RNA and ATAC if `query.rna` is named, else by ATAC alone,
#' in scores that are learned from the ATAC of both objects together. The
#' nearest labelled cells vote, and a Gaussian around the mean of each label
#' counts beside them. Both are calibrated on the labelled cells, asked for their
#' labels as if they had none: of the calls of confidence 0.8 about 80 % are right,
#' as far as the new cells are like the labelled ones. Cells of little confidence,
#' and cells that are not typical of any label, are called unknown. Not all cells
#' of a type that `object` lacks are: by ATAC alone, most get the label that is
#' most like them.
#'
#' Peaks are matched as by [MapSAILERX()].
#'
#' @inheritParams MapSAILERX
#' @param labels Name of a metadata column of `object` with cell types, or
#'   `"ident"` for the identities. Cells whose label is `NA` are left out. `NULL`:
#'   no labels are transferred.
#' @param assay.name Name of a new assay of `query` for the predicted RNA. `NULL`:
#'   RNA is not predicted.
#' @param features Names of genes whose RNA is predicted; by default all.
#' @param atac.assay,rna.assay Names of the peak and of the RNA assay of `object`.
#'   `NULL`: the peak assay of the reduction, and the assay `RNA`.
#' @param ... Options of Python, by name: `threshold` (cells of less confidence
#'   are called unknown, by default 0.5), `min_typicality` (so are cells that are
#'   less typical of their label, by default 0.01), `n_neighbors` (cells that the
#'   predicted RNA is the mean of, by default 50), `seed`, `threads`.
#' @returns `query` with an entry in its command log and:
#'   * with `labels`, four metadata columns: `sailerx_label`, a factor with the
#'     levels of the labels and `unknown`; `sailerx_confidence`, the probability
#'     that the best label is right; `sailerx_best_label`, the most probable label,
#'     however probable it is; `sailerx_typicality`, the share of the cells of
#'     that label that lie as far from its mean, or farther,
#'   * with `assay.name`, one more assay (genes × cells): its layer `data` holds
#'     log(1 + mean count), scaled to a sum of 10,000 as by
#'     `Seurat::NormalizeData()`.
#' @seealso [MapSAILERX()], [RunSAILERX()]
#' @inherit sailerx_history examples
#' @export
TransferSAILERX <- function(
  object,
  query,
  labels = NULL,
  assay.name = NULL,
  features = NULL,
  reduction = "sailerx",
  query.assay = NULL,
  query.rna = NULL,
  atac.assay = NULL,
  rna.assay = NULL,
  model = NULL,
  backend = c("subprocess", "reticulate"),
  python = NULL,
  verbose = TRUE,
  ...
) {
  object <- check_seurat(object)
  query <- check_seurat(query, "query")
  backend <- rlang::arg_match(backend)
  model <- model_folder(object, reduction, model)
  atac.assay <- model_assay(object, reduction, atac.assay)
  query.assay <- check_atac_assay(query, query.assay)
  rna.assay <- known_rna(object, rna.assay, assay.name)
  check_what_is_transferred(object, labels, assay.name)
  if (!is.null(assay.name)) check_new_assay(query, assay.name, query.assay)
  check_members(features, rownames(object[[rna.assay %||% atac.assay]]), "features", "genes of assay {.val {name}}", rna.assay, rlang::current_env())
  groups <- group_column(object, labels, arg = "labels")
  options <- command_options(list(...), transfer_options)
  python <- find_python(python, backend)

  folder <- working_folder()
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  run <- python_runner(backend, python, folder, verbose, c(rna = rna.assay, atac = atac.assay))
  input <- write_query(query, query.assay, query.rna, model, folder, run)
  known <- write_known(object, rna.assay, atac.assay, model, groups, folder)
  output <- file.path(folder, "transferred.h5ad")
  genes <- if (!is.null(features)) training_names(object[[rna.assay]])[match(features, rownames(object[[rna.assay]]))]
  run(c(
    "transfer", model, known, input$path, "-o", output,
    if (ncol(groups)) c("--labels", LABELS),
    if (!is.null(assay.name)) c("--rna", flag_values("--genes", genes)),
    options
  ))
  params <- list(
    labels = labels, assay.name = assay.name, features = brief(features), reduction = reduction, query.assay = query.assay,
    query.rna = query.rna, atac.assay = atac.assay, rna.assay = rna.assay, model = model, backend = backend, python = python, ...
  )
  add_labels(query, output, !is.null(labels)) |>
    add_predicted_rna(output, assay.name, object[[rna.assay %||% atac.assay]], query.assay) |>
    log_command(query.assay, assay.name %||% "labels", params, "TransferSAILERX")
}

# The metadata column of the file that holds the labels.
LABELS <- "sailerx_labels"

transfer_options <- c(
  "output" = "assay.name", "o" = "assay.name", "labels" = "labels", "rna" = "assay.name", "genes" = "features"
)

check_what_is_transferred <- function(object, labels, assay.name, call = rlang::caller_env()) {
  if (is.null(labels) && is.null(assay.name)) {
    cli::cli_abort(c(
      "{.arg labels}, {.arg assay.name} or both must say what is transferred: they are {.code NULL}.",
      i = "For example {.code labels = \"cell_type\"}, or {.code assay.name = \"predicted\"} for RNA."
    ), call = call)
  }
  if (!identical(labels, "ident")) check_columns(object, labels, "labels", call = call)
}

# The RNA assay of the known cells: the one named, else RNA if there is one; RNA can be predicted only from counts.
known_rna <- function(object, assay, predicted, call = rlang::caller_env()) {
  assay <- assay %||% default_rna_assay(object, NULL)
  if (!is.null(assay)) check_assay(object, assay, "rna.assay", call = call)
  if (!is.null(predicted)) {
    check_rna_assay(object, assay, NULL, NULL, call = call)
  }
  assay
}

# The file of the known cells, with their labels and the batches that the model was trained with.
write_known <- function(object, rna, atac, model, groups, folder) {
  record <- model_record(model)
  path <- file.path(folder, "known.h5mu")
  columns <- cbind(batches_there(object, record), rlang::set_names(groups, rep(LABELS, ncol(groups))))
  if (is.null(rna)) {
    write_peaks(path, object, atac, record$atac, columns)
  } else {
    write_both(path, object, c(rna, atac), record, columns, "object")
  }
  path
}

add_labels <- function(query, path, there) {
  if (!there) {
    return(query)
  }
  file <- h5_open(path)
  on.exit(h5_close(file))
  called <- read_dataframe(h5_child(file, "obs"))[paste0("sailerx_", c("label", "confidence", "best_label", "typicality"))]
  SeuratObject::AddMetaData(query, called)
}

add_predicted_rna <- function(query, path, name, rna, source) {
  if (is.null(name)) {
    return(query)
  }
  file <- h5_open(path)
  on.exit(h5_close(file))
  values <- as_dgCMatrix(read_sparse(h5_child(file, "X")))
  genes <- read_index(h5_child(file, "var"))
  dimnames(values) <- list(rownames(rna)[match(genes, training_names(rna))], read_index(h5_child(file, "obs")))
  cells <- intersect(colnames(query), colnames(values))
  put_assay(query, SeuratObject::CreateAssay5Object(data = values[, cells, drop = FALSE]), name, source)
}
