# What other tools hand over instead of a Seurat object: the list that Read10X_h5() returns, Bioconductor's containers.

# Names, in lower case, under which tools keep genes and peaks.
RNA_NAMES <- c("gene expression", "rna", "gex", "genes", "expression")
ATAC_NAMES <- c("peaks", "atac", "chromatin accessibility", "accessibility")

# The names of genes and peaks among `there`, as c(rna =, atac =).
find_both <- function(there, what, call) {
  found <- lapply(list(rna = RNA_NAMES, atac = ATAC_NAMES), function(names) there[tolower(there) %in% names])
  if (any(lengths(found) != 1L)) {
    cli::cli_abort(c(
      "{.arg object} must have one {what} of genes and one of peaks, called for example {.val Gene Expression} and {.val Peaks}, or {.val RNA} and {.val ATAC}.",
      x = "It has: {.val {list_or_none(there)}}.",
      i = "Rename them, or make a {.cls Seurat} object with an assay of each."
    ), call = call)
  }
  unlist(found)
}

# A Seurat object with the assays RNA and ATAC of two matrices (features x cells), of the cells that both have.
seurat_of_counts <- function(rna, atac, meta.data = NULL, call = rlang::caller_env()) {
  check_cell_names(colnames(rna), "genes", call)
  check_cell_names(colnames(atac), "peaks", call)
  cells <- intersect(colnames(rna), colnames(atac))
  if (!length(cells)) {
    cli::cli_abort(c(
      "Genes and peaks must be of the same cells, but no name of a cell is in both: {.val {colnames(rna)[1]}}, ... and {.val {colnames(atac)[1]}}, ...",
      i = "Check for suffixes such as {.val -1}."
    ), call = call)
  }
  lost <- ncol(rna) + ncol(atac) - 2L * length(cells)
  if (lost > 0L) {
    cli::cli_warn("{lost} cell{?s} that {?has/have} only genes or only peaks {?is/are} left out.", call = call)
  }
  object <- SeuratObject::CreateSeuratObject(
    assay_of_counts(rna[, cells, drop = FALSE]), assay = "RNA", meta.data = meta.data[cells, , drop = FALSE]
  )
  object[["ATAC"]] <- assay_of_counts(atac[, cells, drop = FALSE])
  object
}

check_cell_names <- function(names, what, call) {
  twice <- unique(names[duplicated(names)])
  if (length(twice) || is.null(names)) {
    cli::cli_abort(c(
      "Every cell must have a name of its own, but {if (is.null(names)) 'there are no names' else 'names occur twice'} in the matrix of {what}.",
      x = if (length(twice)) "{length(twice)} {?name occurs/names occur} more than once: {.val {utils::head(twice, 3)}}{if (length(twice) > 3) ', ...'}.",
      i = "Name the cells of each sample apart before you bind samples, for example with {.code colnames(x) <- paste0(\"sample1_\", colnames(x))}."
    ), call = call)
  }
}

# An assay of counts, with the names of the features before Seurat rewrote them.
assay_of_counts <- function(counts) {
  names <- rownames(counts)
  frame <- data.frame(row.names = make.unique(names))
  assay <- new_assay("Assay5", list(counts = as_dgCMatrix(counts)), names_in_seurat(names), colnames(counts))
  add_feature_metadata(assay, frame, names)
}

#' @rdname RunSAILERX
#' @export
RunSAILERX.list <- function(object, ...) {
  both <- find_both(rlang::names2(object), "element", rlang::caller_env())
  left <- setdiff(names(object), both)
  if (length(left)) {
    cli::cli_warn("Only genes and peaks are used; {.val {left}} {?is/are} left out.")
  }
  RunSAILERX(seurat_of_counts(object[[both[["rna"]]]], object[[both[["atac"]]]]), ...)
}

# SingleCellExperiment: one modality is the main experiment, the other an alternative one.

#' @rdname RunSAILERX
#' @export
RunSAILERX.SingleCellExperiment <- function(object, reference = NULL, reduction.name = "sailerx", ...) {
  rlang::check_installed(c("SingleCellExperiment", "SummarizedExperiment"), "to read a SingleCellExperiment.")
  check_no_unpaired(...names())
  seurat <- seurat_of_sce(object, reference)
  result <- RunSAILERX(seurat, reference = reference, reduction.name = reduction.name, ...)
  rows <- SeuratObject::Embeddings(result, reduction.name)[colnames(object), , drop = FALSE]
  attr(rows, "sailerx") <- SeuratObject::Misc(result[[reduction.name]])
  SingleCellExperiment::reducedDim(object, reduction.name) <- rows
  weight <- paste0(reduction.name, "_atac_weight")
  object[[weight]] <- result[[weight]][colnames(object), 1]
  object
}

seurat_of_sce <- function(object, reference, call = rlang::caller_env()) {
  main <- SingleCellExperiment::mainExpName(object)
  others <- SingleCellExperiment::altExpNames(object)
  # A main experiment without a name is the one that the alternative ones are not.
  if (is.null(main) || !tolower(main) %in% c(RNA_NAMES, ATAC_NAMES)) {
    main <- if (any(tolower(others) %in% RNA_NAMES)) "ATAC" else "RNA"
  }
  both <- find_both(c(main, setdiff(others, main)), "experiment", call)
  counts <- lapply(both, function(name) {
    counts_of(if (name == main) object else SingleCellExperiment::altExp(object, name), name, call)
  })
  seurat <- seurat_of_counts(counts$rna, counts$atac, plain_frame(SummarizedExperiment::colData(object)), call)
  if (!is.null(reference)) {
    seurat[[reference]] <- reduction_of_sce(object, reference, call)
  }
  seurat
}

reduction_of_sce <- function(object, reference, call) {
  check_among(reference, SingleCellExperiment::reducedDimNames(object), "reference", call = call)
  values <- as.matrix(SingleCellExperiment::reducedDim(object, reference))
  key <- make_key(tolower(reference))
  dimnames(values) <- list(colnames(object), paste0(key, seq_len(ncol(values))))
  SeuratObject::CreateDimReducObject(values, key = key, assay = "RNA")
}

# The assay `counts` of an experiment, features x cells; or the experiment itself, if it is a matrix.
counts_of <- function(experiment, name, call) {
  if (!inherits(experiment, "SummarizedExperiment")) {
    return(experiment)
  }
  there <- SummarizedExperiment::assayNames(experiment)
  if (!"counts" %in% there) {
    cli::cli_abort(c(
      "Experiment {.val {name}} must have an assay {.val counts}: it has {.val {list_or_none(there)}}.",
      i = "Add raw counts with {.code SummarizedExperiment::assay(x, \"counts\")}."
    ), call = call)
  }
  SummarizedExperiment::assay(experiment, "counts")
}

# The columns of a DataFrame that a Seurat object can hold.
plain_frame <- function(frame) {
  fits <- vapply(seq_along(frame), function(i) is_storable(frame[[i]]), logical(1))
  as.data.frame(frame[, fits, drop = FALSE], optional = TRUE)
}

# MultiAssayExperiment: cells are matched by the primary names of its sample map.

#' @rdname RunSAILERX
#' @export
RunSAILERX.MultiAssayExperiment <- function(object, reduction.name = "sailerx", ...) {
  rlang::check_installed(c("MultiAssayExperiment", "SummarizedExperiment"), "to read a MultiAssayExperiment.")
  check_no_unpaired(...names())
  if (reduction.name %in% names(object)) {
    object <- suppressWarnings(suppressMessages(object[, , setdiff(names(object), reduction.name)])) # tells what is dropped
  }
  seurat <- seurat_of_mae(object)
  result <- RunSAILERX(seurat, reduction.name = reduction.name, ...)
  embedding <- SeuratObject::Embeddings(result, reduction.name)
  map <- data.frame(primary = rownames(embedding), colname = rownames(embedding))
  named <- function(entry) rlang::set_names(list(entry), reduction.name)
  c(object, named(t(embedding)), sampleMap = named(map))
}

seurat_of_mae <- function(object, call = rlang::caller_env()) {
  experiments <- MultiAssayExperiment::experiments(object)
  map <- MultiAssayExperiment::sampleMap(object)
  both <- find_both(names(experiments), "experiment", call)
  counts <- lapply(both, function(name) {
    matrix <- counts_of(experiments[[name]], name, call)
    own <- map[map$assay == name, ]
    primary <- as.character(own$primary)[match(colnames(matrix), own$colname)]
    if (anyNA(primary) || anyDuplicated(primary)) {
      cli::cli_abort(c(
        "The sample map must name each cell of experiment {.val {name}} once, as its own primary unit.",
        i = "Give every cell a primary name of its own, the same in both experiments."
      ), call = call)
    }
    `colnames<-`(matrix, primary)
  })
  seurat_of_counts(counts$rna, counts$atac, plain_frame(SummarizedExperiment::colData(object)), call)
}
