#' Embed new cells with a trained model
#'
#' Embeds the cells of another object, on which the model was not trained, in the
#' embedding of `object`. Their accessibility is enough; where they have RNA too,
#' name its assay with `query.rna`, and both are used, as in training. Needs the
#' model: train it with `RunSAILERX(object, keep = "folder")`.
#'
#' Peaks are matched by coordinates. If the query lacks peaks of the model, its
#' counts are first moved to the model's peaks by overlap: the counts of each
#' peak go to the peak that it shares most bases with; counts of peaks without
#' overlap are lost, and Python reports how many. Counting the fragments again
#' (`Signac::FeatureMatrix()` with the ranges of `object`) loses nothing. With
#' `query.rna` counts are not moved: bring them onto the model's peaks by
#' [MatchPeaksSAILERX()] first.
#'
#' @inheritParams ImputeSAILERX
#' @param object The `Seurat` object that [RunSAILERX()] was run on.
#' @param query A `Seurat` object with the new cells.
#' @param query.assay Name of the query's peak assay. `NULL`: the only one that
#'   is a `ChromatinAssay` or is called `peaks` or `ATAC`.
#' @param query.rna Name of the query's RNA assay: its counts place the cells
#'   too or, if a reduction taught the model, the query's reduction of the same
#'   name. `NULL`: cells are placed by ATAC alone.
#' @param reduction.name,reduction.key Name and key of the new reduction.
#' @param ... Options of Python, by name: `threads`.
#' @returns `query` with one more reduction, its `_atac_weight` among the metadata
#'   and an entry in its command log, all as [RunSAILERX()] makes them. If peaks were matched by overlap,
#'   its `misc` has `matched.peaks`: a list of numbers of peaks and
#'   counts, and of those that were kept.
#' @seealso [RunSAILERX()]
#' @inherit sailerx_history examples
#' @export
MapSAILERX <- function(
  object,
  query,
  reduction = "sailerx",
  query.assay = NULL,
  query.rna = NULL,
  model = NULL,
  reduction.name = reduction,
  reduction.key = "SAILERX_",
  backend = c("subprocess", "reticulate"),
  python = NULL,
  verbose = TRUE,
  ...
) {
  object <- check_seurat(object)
  query <- check_seurat(query, "query")
  backend <- rlang::arg_match(backend)
  model <- model_folder(object, reduction, model)
  query.assay <- check_atac_assay(query, query.assay)
  reduction.key <- check_reduction(query, reduction.name, reduction.key)
  options <- command_options(list(...), c("output" = "reduction.name", "o" = "reduction.name", "posterior" = "reduction.name"))
  python <- find_python(python, backend)

  folder <- working_folder()
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  run <- python_runner(backend, python, folder, verbose, c(atac = query.assay))
  input <- write_query(query, query.assay, query.rna, model, folder, run)
  output <- file.path(folder, "embedding.h5ad")
  run(c("embed", model, input$path, "-o", output, options))
  result <- read_result(output)
  result$matched.peaks <- input$matched
  result$run <- model

  params <- list(
    reduction = reduction, query.assay = query.assay, query.rna = query.rna, model = model, reduction.name = reduction.name,
    reduction.key = reduction.key, backend = backend, python = python, ...
  )
  add_result(query, result, query.assay, reduction.name, reduction.key, params, "MapSAILERX")
}

# The file of new cells: its `path` and, if counts were moved to the model's peaks, what was `matched`. Columns: the batches that the
# model was trained with, where the query has them.
write_query <- function(query, assay, rna, model, folder, run) {
  record <- model_record(model)
  path <- file.path(folder, "query.h5mu")
  columns <- batches_there(query, record)
  if (!is.null(rna)) {
    check_assay(query, rna, "query.rna")
    write_both(path, query, c(rna, assay), record, columns, "query")
    return(list(path = path, matched = NULL))
  }
  write_peaks(path, query, assay, record$atac, columns)
  if (!lacks_peaks(query[[assay]], assay, model)) {
    return(list(path = path, matched = NULL))
  }
  on_peaks <- file.path(folder, "matched.h5ad")
  run(c("match-peaks", path, model, "-o", on_peaks, "--atac", record$atac))
  list(path = on_peaks, matched = read_matched_peaks(on_peaks, "uns"))
}

batches_there <- function(object, record) {
  object[[]][intersect(as.character(record$batch_key), colnames(object[[]]))]
}

# Both assays of an object, with the reduction that taught the model, if one did, and a data frame of columns.
write_both <- function(path, query, assays, record, columns, arg) {
  reference <- if (!is.null(record$rna_embedding)) sub("^X_", "", record$rna_embedding)
  if (!is.null(reference)) {
    if (!reference %in% SeuratObject::Reductions(query)) {
      cli::cli_abort(c(
        "The model was taught by the reduction {.val {reference}}, which {.arg {arg}} must have for its RNA to be used.",
        i = "Add it, computed as in training{if (arg == 'query') ', or use ATAC alone: `MapSAILERX()` without `query.rna`'}."
      ))
    }
    query[[reference]] <- bare_reduction(query[[reference]], assays[[1]])
  }
  layer <- c(if (has_counts(query, assays[[1]])) "counts" else NA, "counts")
  meta <- list(global = columns, own = list())
  write_for_python(path, query, rlang::set_names(assays, c(record$rna, record$atac)), meta, layer, reference)
}
