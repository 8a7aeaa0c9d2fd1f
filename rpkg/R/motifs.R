#' Motif activity of cells
#'
#' How much more open than expected the peaks with a motif are in each cell: the
#' bias-corrected z-scores of chromVAR, as a new assay, motifs × cells.
#' Background peaks are matched on GC content and accessibility.
#'
#' Motifs come from one of three sources:
#' * `genome`: its sequence is scanned for the motifs in `motifs`, by default
#'   those of JASPAR. The result is kept in a folder beside the genome's file.
#'   Python needs the packages that `pip install 'sailerx[motifs]'` installs.
#' * `motifs` alone, a matrix of your own: peaks × motifs.
#' * neither: the motifs that the peak assay has (`Signac::AddMotifs()`).
#'
#' Without a genome, background peaks are matched on GC content if the assay's
#' feature metadata have a column `GC.percent` (`Signac::RegionStats()`), else,
#' with a warning, on accessibility alone.
#'
#' With `imputed = TRUE`, z-scores are of imputed accessibility, which borrows
#' from similar cells: they tell types further apart, but p-values of tests
#' between groups of cells are then far too small.
#'
#' @inheritParams ImputeSAILERX
#' @param genome Path of a FASTA file (plain, or compressed by `bgzip` with its
#'   index) or 2bit file of the genome that the peaks are on.
#' @param motifs With `genome`, the path of a file of motifs in JASPAR's or
#'   MEME's format; `NULL`: JASPAR. Without `genome`, a matrix of peaks × motifs,
#'   not 0 where a peak has a motif, whose row names are the assay's peaks;
#'   `NULL`: those of `Signac::Motifs()`.
#' @param taxon Groups of JASPAR's motifs: `"vertebrates"`, `"insects"`,
#'   `"plants"`, `"fungi"`, `"nematodes"`, `"urochordates"`.
#' @param imputed Use the imputed accessibility instead of the counts? Needs the
#'   model: train it with `RunSAILERX(object, keep = "folder")`.
#' @param assay.name Name of the new assay. One of that name is replaced.
#' @param reduction Name of the reduction whose model is used, with `imputed`.
#' @param ... Options of Python, by name: `n_background`, `p_value`, `release`,
#'   `seed`, `threads`. `python -m sailerx motifs --help` describes them.
#' @returns The object with one more assay of class `Assay`: z-scores in the
#'   layer `data`, motifs × cells; `name` and `n_peaks` of each motif in the
#'   feature metadata. Compare groups of cells by
#'   `Seurat::FindMarkers(object, ..., assay = "chromvar", mean.fxn = rowMeans,
#'   fc.name = "avg_diff")`.
#' @references Schep and others (2017), chromVAR: inferring
#'   transcription-factor-associated accessibility from single-cell epigenomic
#'   data, Nature Methods 14:975, \doi{10.1038/nmeth.4401}.
#' @seealso [ImputeSAILERX()], [FindMarkersSAILERX()]
#' @examplesIf sailerx_available()
#' set.seed(1)
#' cells <- paste0("cell", 1:60)
#' start <- seq(1000, by = 2000, length.out = 45)
#' peaks <- c(paste("chr1", start, start + 500, sep = "-"),
#'            paste("chr2", start, start + 500, sep = "-"))
#' counts <- matrix(rpois(90 * 60, 1), 90, dimnames = list(peaks, cells))
#' object <- SeuratObject::CreateSeuratObject(as(counts, "CsparseMatrix"), assay = "peaks")
#' motifs <- matrix(runif(180) < 0.3, 90, dimnames = list(peaks, c("MA0497.1", "MA0035.4")))
#' object <- suppressWarnings(MotifActivitySAILERX(object, motifs = motifs, verbose = FALSE))
#' object[["chromvar"]]
#' @export
MotifActivitySAILERX <- function(
  object,
  genome = NULL,
  motifs = NULL,
  taxon = "vertebrates",
  imputed = FALSE,
  assay.name = "chromvar",
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
  model <- if (imputed) model_folder(object, reduction, model)
  atac.assay <- model_assay(object, reduction, atac.assay)
  check_new_assay(object, assay.name, atac.assay)
  genome <- check_file(genome, "genome")
  matches <- if (is.null(genome)) motif_matrix(object[[atac.assay]], motifs, atac.assay)
  motif_file <- if (!is.null(genome)) check_file(motifs, "motifs")
  options <- command_options(list(...), motif_options)
  python <- find_python(python, backend)

  folder <- working_folder()
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  input <- file.path(folder, "input.h5mu")
  output <- file.path(folder, "output.h5ad")
  modality <- if (imputed) model_record(model)$atac else "atac"
  write_peaks(input, object, atac.assay, modality)
  source <- if (is.null(genome)) {
    c("--matches", write_matches(file.path(folder, "matches.h5ad"), matches, object[[atac.assay]], atac.assay))
  } else {
    c("--genome", genome, if (is.null(motif_file)) c("--taxon", taxon) else c("--motifs", motif_file))
  }
  arguments <- c(
    "motifs", input, "-o", output, source, if (imputed) c("--model", model),
    "--progress", if (verbose) "lines" else "none", options
  )
  run_sailerx(arguments, backend, python, folder, verbose, c(atac = atac.assay))

  params <- list(
    genome = genome, motifs = motif_file, taxon = taxon, imputed = imputed, assay.name = assay.name, reduction = reduction,
    atac.assay = atac.assay, model = model, backend = backend, python = python, ...
  )
  put_assay(object, read_activity(output, colnames(object)), assay.name, atac.assay) |>
    log_command(atac.assay, assay.name, params, "MotifActivitySAILERX")
}

# Options of Python that an argument of MotifActivitySAILERX() sets, and the name of that argument.
motif_options <- c(
  "output" = "assay.name", "o" = "assay.name", "genome" = "genome", "matches" = "motifs", "motifs" = "motifs", "taxon" = "taxon",
  "model" = "model", "atac" = "atac.assay", "layer" = "atac.assay", "progress" = "verbose"
)

# The absolute path of a file that must exist; NULL if there is none to check.
check_file <- function(path, arg, call = rlang::caller_env()) {
  if (is.null(path)) {
    return(NULL)
  }
  if (!is_name(path) || !file.exists(path)) {
    found <- if (is_name(path)) "there is no {.path {path}}" else "it is {.obj_type_friendly {path}}"
    cli::cli_abort(paste0("{.arg {arg}} must be the path of a file, but ", found, "."), call = call)
  }
  normalizePath(path)
}

# Peaks x motifs as a dgCMatrix whose rows are the assay's: the matrix given, else the motifs of a ChromatinAssay. The
# attribute `labels` has the name of each motif, where it is known.
motif_matrix <- function(assay, motifs, name, call = rlang::caller_env()) {
  if (is.null(motifs)) {
    return(motifs_of_assay(assay, name, call))
  }
  if (is.null(dim(motifs)) || is.null(rownames(motifs)) || is.null(colnames(motifs))) {
    cli::cli_abort(c(
      "{.arg motifs} must be a matrix of peaks and motifs with the names of both, not {.obj_type_friendly {motifs}}.",
      i = "To scan a genome for motifs, name its file with {.arg genome}."
    ), call = call)
  }
  missing <- setdiff(rownames(assay), rownames(motifs))
  if (length(missing)) {
    cli::cli_abort(
      "{.arg motifs} must have a row for every peak of assay {.val {name}}: {length(missing)} of {nrow(assay)} {?is/are} missing, first {.val {missing[1]}}.",
      call = call
    )
  }
  as_dgCMatrix(methods::as(motifs[rownames(assay), , drop = FALSE] != 0, "CsparseMatrix") + 0)
}

motifs_of_assay <- function(assay, name, call) {
  found <- if (has_chromatin(assay)) Signac::Motifs(assay)
  if (is.null(found)) {
    cli::cli_abort(c(
      "Motifs must come from somewhere: the peak assay {.val {name}} has none, and neither {.arg genome} nor {.arg motifs} is given.",
      i = "Name the file of the genome with {.arg genome}, give a matrix of peaks and motifs, or add motifs with {.fn Signac::AddMotifs}."
    ), call = call)
  }
  labels <- unlist(Signac::GetMotifData(found, slot = "motif.names"))
  matrix <- Signac::GetMotifData(found, slot = "data")
  structure(as_dgCMatrix(matrix[rownames(assay), , drop = FALSE]), labels = labels[colnames(matrix)])
}

# Peaks x motifs as AnnData: coordinates and GC content of the peaks in obs, names of the motifs in var.
write_matches <- function(path, matches, assay, name) {
  labels <- attr(matches, "labels")
  motifs <- data.frame(name = as.character(labels %||% colnames(matches)), row.names = colnames(matches))
  motifs$name[is.na(motifs$name)] <- rownames(motifs)[is.na(motifs$name)]
  peaks <- peak_coordinates(assay, name, "atac") %||% data.frame(row.names = rownames(assay))
  gc <- assay[[]][["GC.percent"]]
  if (!is.null(gc)) peaks$gc <- as.numeric(gc) / 100
  file <- h5_create_plain(path)
  on.exit(h5_close(file))
  h5_encoding(file, "anndata", "0.1.0")
  attr(matches, "labels") <- NULL
  write_csr(file, "X", Matrix::t(matches))
  write_dataframe(file, "obs", peaks, training_names(assay))
  write_dataframe(file, "var", motifs)
  for (part in c("obsm", "varm", "obsp", "varp", "layers", "uns")) write_dict(file, part)
  path
}

# The z-scores as an assay, motifs x cells, like that of Signac's RunChromVAR().
read_activity <- function(path, cells) {
  file <- h5_open(path)
  on.exit(h5_close(file))
  motifs <- read_dataframe(h5_child(file, "var"))
  # hdf5r reverses the axes of a dense array
  z <- h5_read(h5_child(file, "X"))
  dimnames(z) <- list(names_in_seurat(rownames(motifs)), read_index(h5_child(file, "obs")))
  assay <- SeuratObject::CreateAssayObject(data = z[, intersect(cells, colnames(z)), drop = FALSE])
  rownames(motifs) <- rownames(assay)
  assay[[colnames(motifs)]] <- motifs
  assay
}
