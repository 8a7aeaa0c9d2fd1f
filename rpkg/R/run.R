#' Embed chromatin accessibility with an RNA embedding as its teacher
#'
#' Trains SAILERX on the RNA and the peak assay of an object and adds the
#' embedding as a reduction. Cells are close in it when they are alike in
#' accessibility and in RNA; sequencing depth and batches are pushed out.
#'
#' The model is trained by the Python package `sailerx`. What it needs, and no
#' more, is written to a temporary file: the counts of both assays, the
#' reference reduction and the named columns of the metadata. Everything comes
#' back by cell name. Interrupting R ends Python too and removes the files.
#'
#' Cells with accessibility but no RNA are trained without a teacher beside the
#' others (hybrid training). They may be in the object, where its RNA assay has
#' fewer cells than its peak assay, or in objects of their own: see `unpaired`.
#'
#' Rows of the embedding have length one, so Euclidean neighbours (what
#' `Seurat::FindNeighbors()` and `Seurat::RunUMAP()` look for) and cosine
#' neighbours are the same.
#'
#' @section Which Python:
#' The first of these is used:
#' 1. the argument `python`,
#' 2. the R option `sailerx.python`,
#' 3. the environment variable `SAILERX_PYTHON`.
#'
#' These three are taken at their word: when Python or its package `sailerx` is
#' missing there, that is an error. Of the others, the first that has `sailerx`
#' is used:
#'
#' 4. the environment variable `RETICULATE_PYTHON`,
#' 5. the active environment (`VIRTUAL_ENV`, then `CONDA_PREFIX`),
#' 6. a folder `.venv` in the working directory or in one above it,
#' 7. the environment made by [install_sailerx()],
#' 8. `python3`, then `python`, on the search path.
#'
#' With `backend = "reticulate"` and reticulate 1.41 or later, one more: the
#' environment that reticulate makes by itself, as `reticulate::py_require()`
#' is told what `sailerx` needs.
#'
#' A Python counts only if its `sailerx` reads the exchange file of this R
#' package: the version of the file's format decides, not those of the packages.
#'
#' [sailerx_sitrep()] shows the choice and how to repair it.
#'
#' @param object A `Seurat` object with an RNA and a peak assay, or the peak
#'   assay itself (`ChromatinAssay`, `Assay` or `Assay5`; peaks × cells).
#' @param ... Options of the model, handed to Python by name and checked there:
#'   `n_latent = 30` (or `n.latent`), `max_epochs = 50`, `preset = "paper"`,
#'   `device = "cpu"`, `threads = 2` and so on. `python -m sailerx fit --help`
#'   lists them with their defaults. `traceback = TRUE` adds to an error where in
#'   Python it happened. For an assay: also the arguments of the method for
#'   `Seurat` objects.
#' @returns For a `Seurat` object: the object with one more reduction and an
#'   entry in its command log; with `unpaired`, a list of `object` and `unpaired`,
#'   the other object or list of objects, each with the reduction of its cells. For an
#'   assay: the reduction alone. It is a `DimReduc`, by slot:
#'   * `cell.embeddings`: cells × latent dimensions, columns `SAILERX_1`, ...;
#'     the cells of the peak assay,
#'   * `assay.used`: the peak assay,
#'   * `key`: `reduction.key`,
#'   * `misc`: `settings` (list; every setting of the run), `versions` (list),
#'     `history` (data frame, one row per epoch and one column per loss term)
#'     and `run` (the folder with the model, or `NULL`); with `unpaired` also
#'     `set` (the name of the set, `paired` for `object`) and `matched.peaks` (what
#'     was kept of the peaks and counts, where they were matched by overlap).
#' @references Cao and others (2022), Integrated analysis of multimodal
#'   single-cell data with structural similarity, Nucleic Acids Research
#'   50(21):e121, \doi{10.1093/nar/gkac781}.
#' @seealso [ImputeSAILERX()], [MapSAILERX()], [FindMarkersSAILERX()] and
#'   [sailerx_history()] for what a trained model gives; [sailerx_sitrep()],
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
    i = if (inherits(object, "seurat")) UPDATE else "Read a MuData file with {.fn ReadH5MU}, or make an object with {.fn SeuratObject::CreateSeuratObject}."
  ))
}

#' @param atac.assay Name of the peak assay. `NULL`: the only assay of the object
#'   that is a `ChromatinAssay` or is called `peaks` or `ATAC`.
#' @param rna.assay Name of the RNA assay. Its counts are needed for RNA depth,
#'   and for PCA where no reference is named. `NULL`: the assay `RNA` if there
#'   is one, else the assay of the reference.
#' @param reference Name of the reduction that teaches, made from RNA: PCA or
#'   any other (Harmony, scVI, ...), with a row for every cell of the RNA assay.
#'   `NULL`: Python computes PCA from the RNA counts.
#' @param batch Names of metadata columns with technical groups (donor, plate,
#'   library) to be pushed out of the embedding; each is read as a factor.
#' @param covariates Names of numeric metadata columns (share of mitochondrial
#'   counts, ...) to be pushed out in the same way.
#' @param seed Seed of the run: the same seed, data and number of threads give
#'   the same embedding. `NULL`: the default of Python.
#' @param reduction.name Name of the new reduction. One of that name is replaced.
#' @param reduction.key Prefix of the dimension names. If another part of the
#'   object has it, one is made from `reduction.name`.
#' @param backend `"subprocess"` runs Python in a process of its own.
#'   `"reticulate"` runs it inside R: nothing is gained but that no process may
#'   be started, and libraries that R and Python both load can clash.
#' @param python Path of the Python to use, or of its environment's folder; see
#'   the section *Which Python*.
#' @param verbose Show the progress of Python: a bar where the console can draw
#'   one, else a line every few seconds.
#' @param keep A new folder in which to keep the run: `input.h5mu`, the model in
#'   `run/` and `embedding.h5ad`. `NULL`: nothing is kept, and what needs the
#'   model ([ImputeSAILERX()], [MapSAILERX()], [FindMarkersSAILERX()]) cannot be
#'   had. The temporary files lie in [tempdir()], or beside `keep` if there is one.
#' @param checkpoint A file that the state of the training is written to every
#'   few epochs. If R or the machine stops, the same call goes on from it; it is
#'   removed when the run is done. `NULL`: none is written.
#' @param unpaired A `Seurat` object with accessibility alone, or a named list of
#'   such objects, for hybrid training. Each must have a peak assay (called `atac.assay`, or its
#'   only one) and the columns of `batch` and `covariates`. Counts on other peaks
#'   than those of `object` are brought onto them by overlap. With several
#'   objects, the set of a cell is one more batch.
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
  ...
) {
  check_seurat(object)
  backend <- rlang::arg_match(backend)
  atac.assay <- check_atac_assay(object, atac.assay)
  rna.assay <- check_rna_assay(object, rna.assay, atac.assay, reference)
  check_reference(object, reference, rna.assay)
  check_columns(object, batch, "batch")
  check_columns(object, covariates, "covariates")
  check_seed(seed)
  one <- inherits(unpaired, "Seurat")
  if (one) unpaired <- list(unpaired = unpaired)
  unpaired.assays <- check_unpaired(unpaired, atac.assay, c(batch, covariates), reduction.name, reduction.key)
  reduction.key <- check_reduction(object, reduction.name, reduction.key)
  keep <- check_keep(keep)
  checkpoint <- check_checkpoint(checkpoint)
  options <- c(command_options(list(...)), if (!is.null(checkpoint)) c("--checkpoint", checkpoint))
  python <- find_python(python, backend)

  folder <- working_folder(keep)
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  assays <- c(rna = rna.assay, atac = atac.assay)
  here <- rlang::current_env()
  run <- function(arguments) run_sailerx(arguments, backend, python, folder, verbose, assays, here)
  input <- file.path(folder, "input.h5mu")
  if (is.null(unpaired)) {
    write_input(object, input, rna.assay, atac.assay, reference, c(batch, covariates))
  } else {
    write_hybrid_input(object, unpaired, assays, unpaired.assays, reference, c(batch, covariates), folder, run)
  }
  run(fit_arguments(folder, reference, c(batch, set_column(object, assays, unpaired)), covariates, seed, verbose, options))
  result <- read_result(file.path(folder, "embedding.h5ad"))
  matched <- if (!is.null(unpaired)) read_matched_peaks(input, "mod/atac/uns")
  if (!is.null(keep)) {
    keep_run(folder, keep)
    result$run <- file.path(keep, "run")
  }

  params <- list(
    atac.assay = atac.assay, reference = reference, batch = batch, covariates = covariates,
    rna.assay = rna.assay, seed = seed, reduction.name = reduction.name,
    reduction.key = reduction.key, backend = backend, python = python, keep = keep, checkpoint = checkpoint,
    unpaired = names(unpaired), ...
  )
  if (is.null(unpaired)) {
    return(add_result(object, result, atac.assay, reduction.name, reduction.key, params))
  }
  add <- function(object, set, assay) {
    add_result(object, result_of_set(result, object[[assay]], set, matched), assay, reduction.name, reduction.key, params)
  }
  others <- Map(add, unpaired, names(unpaired), unpaired.assays)
  list(object = add(object, PAIRED, atac.assay), unpaired = if (one) others[[1]] else others)
}

#' @param rna The RNA assay (genes × cells), for the method that takes the peak
#'   assay itself. There, `reference` is a `DimReduc` or `NULL`.
#' @param meta.data A data frame with a row per cell, where `batch` and
#'   `covariates` are found.
#' @rdname RunSAILERX
#' @export
RunSAILERX.Assay <- function(object, rna, reference = NULL, meta.data = NULL, ...) {
  check_assay_arguments(rna, reference)
  check_no_unpaired(...names())
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
