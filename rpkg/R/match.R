#' Move counts to the peaks of another object
#'
#' Two experiments rarely have the same peaks. The counts of each peak of
#' `object` go to the peak of `reference` that it shares most bases with; counts
#' of peaks without overlap are lost, and Python reports how many. Counting the
#' fragments again (`Signac::FeatureMatrix()` with the ranges of `reference`)
#' loses nothing.
#'
#' @inheritParams ImputeSAILERX
#' @param object A `Seurat` object with counts in a peak assay.
#' @param reference A `Seurat` object with the peaks to which the counts are moved.
#' @param assay.name Name of the new assay.
#' @param atac.assay,reference.assay Names of the peak assays. `NULL`: the only
#'   one that is a `ChromatinAssay` or is called `peaks` or `ATAC`.
#' @param ... Options of Python, by name: `min_overlap`, the bases that two
#'   peaks must share.
#' @returns `object` with one more assay of counts (peaks of `reference` × cells)
#'   and an entry in its command log. It is a `ChromatinAssay` with the ranges and
#'   annotation of the peak assay of `reference` if that is one, else an `Assay5`.
#'   Its `misc` has `matched.peaks`, a list of numbers of peaks and counts,
#'   and of those that were kept.
#' @seealso [RunSAILERX()] and [MapSAILERX()], which match peaks themselves.
#' @examplesIf sailerx_available()
#' peaks <- function(start) paste("chr1", start, start + 500, sep = "-")
#' object <- function(names, cells) {
#'   values <- rpois(length(names) * length(cells), 1)
#'   values <- matrix(values, length(names), dimnames = list(names, cells))
#'   SeuratObject::CreateSeuratObject(as(values, "CsparseMatrix"), assay = "peaks")
#' }
#' here <- object(peaks(seq(1000, 9000, 1000)), paste0("a", 1:5))
#' there <- object(peaks(seq(1100, 8100, 1000)), paste0("b", 1:5))
#' here <- MatchPeaksSAILERX(here, there, verbose = FALSE)
#' here[["matched"]]
#' @export
MatchPeaksSAILERX <- function(
  object,
  reference,
  assay.name = "matched",
  atac.assay = NULL,
  reference.assay = NULL,
  backend = c("subprocess", "reticulate"),
  python = NULL,
  verbose = TRUE,
  ...
) {
  object <- check_seurat(object)
  reference <- check_seurat(reference, "reference")
  backend <- rlang::arg_match(backend)
  atac.assay <- check_atac_assay(object, atac.assay)
  reference.assay <- check_atac_assay(reference, reference.assay)
  check_new_assay(object, assay.name, atac.assay)
  options <- command_options(list(...), c("output" = "assay.name", "o" = "assay.name", "atac" = "atac.assay"))
  python <- find_python(python, backend)

  folder <- working_folder()
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  paths <- file.path(folder, c("input.h5mu", "reference.h5mu", "matched.h5ad"))
  write_peaks(paths[1], object, atac.assay, "atac")
  write_peaks(paths[2], few_cells(reference, reference.assay), reference.assay, "atac")
  run_sailerx(c("match-peaks", paths[1:2], "-o", paths[3], options), backend, python, folder, verbose, c(atac = atac.assay))

  counts <- read_imputed(paths[3])$values[, colnames(object[[atac.assay]]), drop = FALSE]
  rownames(counts) <- rownames(reference[[reference.assay]])
  assay <- counted_like(reference[[reference.assay]], as_dgCMatrix(counts))
  SeuratObject::Misc(assay, slot = "matched.peaks") <- read_matched_peaks(paths[3], "uns")
  params <- list(
    assay.name = assay.name, atac.assay = atac.assay, reference.assay = reference.assay, backend = backend, python = python, ...
  )
  put_assay(object, assay, assay.name, atac.assay) |>
    log_command(atac.assay, assay.name, params, "MatchPeaksSAILERX")
}

# Only the peaks of the reference are needed, so two of its cells are written.
few_cells <- function(object, assay) {
  suppressWarnings(subset(object, cells = utils::head(colnames(object[[assay]]), 2)))
}
