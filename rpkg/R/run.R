#' Embed chromatin accessibility with an RNA embedding as its teacher
#'
#' Trains SAILERX on the RNA and the peak assay of an object and adds the
#' embedding as a reduction. Cells are close in it when they are alike in
#' accessibility and in RNA; the effects of sequencing depth and batches are
#' removed.
#'
#' The model is trained by the Python package `sailerx`. Only what it needs is
#' written to a temporary file: the counts of both assays, the reference
#' reduction and the named columns of the metadata. Results are matched to the
#' object by cell name. Interrupting R ends Python too and removes the files.
#'
#' Cells with accessibility but without RNA are trained together with the others,
#' without a teacher (hybrid training). They may be in the object, if its RNA
#' assay has fewer cells than its peak assay, or in other objects: see `unpaired`.
#'
#' The first columns of the embedding are the RNA reference, scaled to length
#' one; the last, if ATAC adds anything, are scores of the ATAC. How much they
#' count is chosen by molecules held out of both assays. Use all columns,
#' `dims = 1:ncol(object[["sailerx"]])`, and the Euclidean metric, the default
#' of `Seurat::FindNeighbors()`.
#'
#' @section Which Python:
#' The first of these is used:
#' 1. the argument `python`,
#' 2. the R option `sailerx.python`,
#' 3. the environment variable `SAILERX_PYTHON`.
#'
#' It is an error if one of these three is set and has no Python or no package
#' `sailerx`. Of the others, the first that has `sailerx` is used:
#'
#' 4. the environment variable `RETICULATE_PYTHON`,
#' 5. the active environment (`VIRTUAL_ENV`, then `CONDA_PREFIX`),
#' 6. a folder `.venv` in the working directory or in one above it,
#' 7. the environment made by [install_sailerx()],
#' 8. `python3`, then `python`, on the search path.
#'
#' With `backend = "reticulate"` and reticulate 1.41 or later, the last is an
#' environment that reticulate makes itself, with what `sailerx` needs
#' (`reticulate::py_require()`).
#'
#' A Python is used only if its `sailerx` can read the exchange file of this R
#' package: the version of the file's format decides, not those of the packages.
#'
#' [sailerx_sitrep()] shows the choice and how to repair it.
#'
#' @param object A `Seurat` object with an RNA and a peak assay; the peak
#'   assay itself (`ChromatinAssay`, `Assay` or `Assay5`; peaks × cells); the list
#'   of genes and peaks that `Seurat::Read10X_h5()` returns for a multiome; a
#'   `SingleCellExperiment` with the other modality as an alternative experiment;
#'   or a `MultiAssayExperiment` with an experiment of each.
#' @param ... Options of the model, passed to Python by name and checked there:
#'   `n_latent = 30` (or `n.latent`), `max_epochs = 50`, `preset = "paper"`,
#'   `device = "cpu"`, `threads = 2` and so on. `python -m sailerx fit --help`
#'   lists them with their defaults. `traceback = TRUE` adds Python's traceback
#'   to an error. For an assay: also the arguments of the method for `Seurat`
#'   objects, but for those that name parts of the object (`atac.assay`,
#'   `rna.assay`, `reduction.name`) and `unpaired`.
#' @returns For a `Seurat` object, or a list, of which a `Seurat` object with the
#'   assays `RNA` and `ATAC` is made: the object with one more reduction, an entry
#'   in its command log and the metadata column `sailerx_atac_weight`, named after
#'   the reduction: how much ATAC counts in a cell's row, 0 (RNA alone) to 1 (ATAC
#'   alone); with `unpaired`, a list of `object` and `unpaired`,
#'   the other object or list of objects, each with the reduction of its cells. For an
#'   assay: the reduction alone. A `SingleCellExperiment` gains a reduced
#'   dimension, a `MultiAssayExperiment` an experiment (dimensions × cells). The
#'   reduction is a `DimReduc`, by slot:
#'   * `cell.embeddings`: cells × dimensions, columns `SAILERX_1`, ...;
#'     the cells of the peak assay,
#'   * `assay.used`: the peak assay,
#'   * `key`: `reduction.key`,
#'   * `misc`: `settings` (list; every setting of the run), `versions` (list),
#'     `history` (data frame, one row per epoch and one column per loss term)
#'     and `run` (the folder with the model, or `NULL`); with `unpaired` also
#'     `set` (the name of the object in `unpaired`, `paired` for `object`) and
#'     `matched.peaks` (numbers of peaks and counts, of those that were kept too,
#'     if peaks were matched by overlap).
#' @references Cao and others (2022), Integrated analysis of multimodal
#'   single-cell data with structural similarity, Nucleic Acids Research
#'   50(21):e121, \doi{10.1093/nar/gkac781}.
#' @seealso [ImputeSAILERX()], [MapSAILERX()], [FindMarkersSAILERX()] and
#'   [sailerx_history()], which use the trained model; [sailerx_sitrep()],
#'   [install_sailerx()], [WriteH5MU()]
#' @examplesIf sailerx_available()
#' set.seed(1)
#' cells <- paste0("cell", 1:60)
#' counts <- function(features) {
#'   values <- rpois(length(features) * 60, 1)
#'   matrix <- matrix(values, ncol = 60, dimnames = list(features, cells))
#'   as(matrix, "CsparseMatrix")
#' }
#' start <- seq(1000, by = 2000, length.out = 45)
#' peaks <- c(paste("chr1", start, start + 500, sep = "-"),
#'            paste("chr2", start, start + 500, sep = "-"))
#'
#' object <- SeuratObject::CreateSeuratObject(counts(paste0("gene", 1:80)))
#' object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts(peaks))
#' object$donor <- rep(c("a", "b"), 30)
#'
#' object <- RunSAILERX(object, atac.assay = "peaks", batch = "donor",
#'                      n_latent = 5, max_epochs = 2, verbose = FALSE)
#' object[["sailerx"]]
#' SeuratObject::Misc(object[["sailerx"]], slot = "history")
#' @export
RunSAILERX <- function(object, ...) {
  UseMethod("RunSAILERX")
}

#' @rdname RunSAILERX
#' @export
RunSAILERX.default <- function(object, ...) {
  cli::cli_abort(c(
    "{.arg object} must be a {.cls Seurat} object or a peak assay, not {.obj_type_friendly {object}}.",
    i = seurat_hint(object)
  ))
}

#' @param atac.assay Name of the peak assay. `NULL`: the only assay of the object
#'   that is a `ChromatinAssay` or is called `peaks` or `ATAC`.
#' @param rna.assay Name of the RNA assay. Its counts are needed for RNA depth,
#'   and for PCA where no reference is named. `NULL`: the assay `RNA` if there
#'   is one, else the assay of the reference.
#' @param reference Name of the reduction of the RNA that is the teacher: PCA or
#'   any other (Harmony, scVI, ...), with a row for every cell of the RNA assay.
#'   `NULL`: Python computes PCA from the RNA counts.
#' @param batch Names of metadata columns with technical groups (donor, plate,
#'   library) whose effect is removed from the embedding; each is read as a factor.
#' @param covariates Names of numeric metadata columns (share of mitochondrial
#'   counts, ...) whose effect is removed in the same way.
#' @param seed Seed of the run: the same seed, data and number of threads give
#'   the same embedding. `NULL`: the default of Python.
#' @param reduction.name Name of the new reduction. One of that name is replaced.
#' @param reduction.key Prefix of the dimension names. If another part of the
#'   object has it, one is made from `reduction.name`.
#' @param backend `"subprocess"` runs Python in a process of its own.
#'   `"reticulate"` runs it inside R, where libraries that R and Python both load
#'   can clash: use it only where no process can be started.
#' @param python Path of the Python to use, or of its environment's folder; see
#'   the section *Which Python*.
#' @param verbose Show the progress of Python: a bar if the console can draw one,
#'   else a line every few seconds.
#' @param keep A new folder for the files of the run: `input.h5mu`, the model in
#'   `run/` and `embedding.h5ad`. `NULL`: no file is kept, and the verbs that need
#'   the model ([ImputeSAILERX()], [MapSAILERX()], [FindMarkersSAILERX()]) cannot
#'   be used. Temporary files are in the folder of `keep`, else in [tempdir()].
#' @param checkpoint A file to which the state of the training is written every
#'   few epochs. If R or the machine stops, the same call continues from it; it is
#'   removed when the run is complete. `NULL`: none is written.
#' @param unpaired A `Seurat` object with accessibility alone, or a named list of
#'   such objects, for hybrid training. Each must have a peak assay (called
#'   `atac.assay`, or its only one) and the columns of `batch` and `covariates`.
#'   If its peaks differ from those of `object`, its counts are moved to those by
#'   overlap. With several objects, the object that a cell is from is one more
#'   batch.
#' @param model The folder of a trained model: no model is trained, and the cells,
#'   new ones, are embedded with that one, by RNA and ATAC if `rna.assay` or an
#'   assay `RNA` is there, else by ATAC alone, as [MapSAILERX()] does. What shapes
#'   training cannot be named then.
#' @rdname RunSAILERX
#' @export
RunSAILERX.Seurat <- function(
  object,
  atac.assay = NULL,
  reference = NULL,
  batch = NULL,
  covariates = NULL,
  rna.assay = NULL,
  seed = NULL,
  reduction.name = "sailerx",
  reduction.key = "SAILERX_",
  backend = c("subprocess", "reticulate"),
  python = NULL,
  verbose = TRUE,
  keep = NULL,
  checkpoint = NULL,
  unpaired = NULL,
  model = NULL,
  ...
) {
  object <- check_seurat(object)
  backend <- rlang::arg_match(backend)
  if (!is.null(model)) {
    check_not_trained(list(
      reference = reference, batch = batch, covariates = covariates, seed = seed, keep = keep, checkpoint = checkpoint,
      unpaired = unpaired
    ))
    rna <- rna.assay %||% intersect("RNA", SeuratObject::Assays(object))
    return(MapSAILERX(
      object, object, query.assay = atac.assay, query.rna = if (length(rna)) rna, model = model, reduction.name = reduction.name,
      reduction.key = reduction.key, backend = backend, python = python, verbose = verbose, ...
    ))
  }
  atac.assay <- check_atac_assay(object, atac.assay)
  rna.assay <- check_rna_assay(object, rna.assay, atac.assay, reference)
  check_reference(object, reference, rna.assay, atac.assay)
  check_columns(object, batch, "batch")
  check_covariates(object, covariates)
  check_seed(seed)
  sets <- check_unpaired(unpaired, atac.assay, c(batch, covariates), reduction.name, reduction.key)
  reduction.key <- check_reduction(object, reduction.name, reduction.key)
  keep <- check_keep(keep)
  checkpoint <- check_checkpoint(checkpoint)
  options <- c(command_options(list(...)), if (!is.null(checkpoint)) c("--checkpoint", checkpoint))
  python <- find_python(python, backend)

  folder <- working_folder(keep)
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  assays <- c(rna = rna.assay, atac = atac.assay)
  run <- python_runner(backend, python, folder, verbose, assays)
  input <- write_training_input(object, sets, assays, reference, list(batch = batch, covariates = covariates), folder, run)
  run(fit_arguments(folder, reference, c(batch, set_column(object, assays, sets)), covariates, seed, verbose, options))
  result <- read_result(file.path(folder, "embedding.h5ad"))
  result$matched.peaks <- read_matched_peaks(input, "mod/atac/uns")
  if (!is.null(keep)) result$run <- keep_run(folder, keep)

  params <- list(
    atac.assay = atac.assay, reference = reference, batch = batch, covariates = covariates, rna.assay = rna.assay,
    seed = seed, reduction.name = reduction.name, reduction.key = reduction.key, backend = backend, python = python,
    keep = keep, checkpoint = checkpoint, unpaired = names(sets), ...
  )
  add <- function(object, result, assay) add_result(object, result, assay, reduction.name, reduction.key, params)
  if (is.null(sets)) {
    return(add(object, result, atac.assay))
  }
  results <- add_results_of_sets(object, atac.assay, sets, result, add)
  if (inherits(unpaired, "Seurat")) results$unpaired <- results$unpaired[[1]]
  results
}

#' @param rna The RNA assay (genes × cells), if `object` is the peak assay. Then
#'   `reference` is a `DimReduc` or `NULL`.
#' @param meta.data A data frame with a row per cell that has the columns `batch`
#'   and `covariates`.
#' @rdname RunSAILERX
#' @export
RunSAILERX.Assay <- function(object, rna = NULL, reference = NULL, meta.data = NULL, ...) {
  check_assay_arguments(rna, reference)
  check_no_unpaired(...names())
  check_unnamed(...names())
  seurat <- SeuratObject::CreateSeuratObject(object, assay = "atac", meta.data = meta.data)
  seurat[["rna"]] <- rna
  if (!is.null(reference)) {
    seurat[["reference"]] <- bare_reduction(reference, "rna")
    reference <- "reference"
  }
  seurat <- RunSAILERX(
    seurat,
    atac.assay = "atac", rna.assay = "rna", reference = reference,
    reduction.name = "sailerx", ...
  )
  seurat[["sailerx"]]
}

#' @rdname RunSAILERX
#' @export
RunSAILERX.StdAssay <- RunSAILERX.Assay
