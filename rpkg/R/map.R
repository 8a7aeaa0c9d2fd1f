#' Embed new cells with a trained model
#'
#' Gives the cells of another object, which the model never saw, a place in the
#' embedding of `object`. Only their accessibility is needed. Needs the model:
#' train it with `RunSAILERX(object, keep = "folder")`.
#'
#' Peaks are matched by coordinates. Where the query lacks peaks of the model,
#' its counts are first brought onto the model's peaks by overlap: each peak
#' gives its counts to the peak it shares most bases with, and what finds none
#' is lost, which Python reports. Counting the fragments anew
#' (`Signac::FeatureMatrix()` with the ranges of `object`) loses nothing.
#'
#' @inheritParams ImputeSAILERX
#' @param object The `Seurat` object that [RunSAILERX()] was run on.
#' @param query A `Seurat` object with the new cells.
#' @param query.assay Name of the query's peak assay. `NULL`: the only one that
#'   is a `ChromatinAssay` or is called `peaks` or `ATAC`.
#' @param reduction.name,reduction.key Name and key of the new reduction.
#' @param ... Options of Python, by name: `threads`.
#' @returns `query` with one more reduction and an entry in its command log. The
#'   reduction is as [RunSAILERX()] makes it, with `matched.peaks` in its `misc`
#'   where peaks were matched by overlap: a list of what was kept of
#'   `peaks` and `counts`.
#' @seealso [RunSAILERX()]
#' @inherit sailerx_history examples
#' @export
MapSAILERX <- function(
  object,
  query,
  reduction = "sailerx",
  query.assay = NULL,
  model = NULL,
  reduction.name = reduction,
  reduction.key = "SAILERX_",
  backend = c("subprocess", "reticulate"),
  python = NULL,
  verbose = TRUE,
  ...
) {
  check_seurat(object)
  check_seurat(query, "query")
  backend <- rlang::arg_match(backend)
  model <- model_folder(object, reduction, model)
  query.assay <- check_atac_assay(query, query.assay)
  reduction.key <- check_reduction(query, reduction.name, reduction.key)
  options <- command_options(list(...), c("output" = "reduction.name", "o" = "reduction.name", "posterior" = "reduction.name"))
  python <- find_python(python, backend)
  here <- rlang::current_env()
  run <- function(arguments) run_sailerx(arguments, backend, python, folder, verbose, c(atac = query.assay), here)

  folder <- working_folder(NULL)
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  modality <- model_record(model)$atac
  input <- file.path(folder, "query.h5mu")
  write_peaks(input, query, query.assay, modality)
  matched <- NULL
  if (lacks_peaks(query[[query.assay]], query.assay, model)) {
    on_peaks <- file.path(folder, "matched.h5ad")
    run(c("match-peaks", input, model, "-o", on_peaks, "--atac", modality))
    input <- on_peaks
    matched <- read_matched_peaks(input, "uns")
  }
  output <- file.path(folder, "embedding.h5ad")
  run(c("embed", model, input, "-o", output, options))
  result <- read_result(output)
  result$matched.peaks <- matched
  result$run <- model

  params <- list(
    reduction = reduction, query.assay = query.assay, model = model, reduction.name = reduction.name,
    reduction.key = reduction.key, backend = backend, python = python, ...
  )
  add_result(query, result, query.assay, reduction.name, reduction.key, params, "MapSAILERX")
}
