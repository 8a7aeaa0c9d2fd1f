# Reads the results file of Python and adds it to the object as a reduction.

# The embedding (cells x latent, with cell names), the weight of ATAC in each cell's row, settings, versions and history.
read_result <- function(path) {
  file <- h5_open(path)
  on.exit(h5_close(file))
  about <- read_value(h5_child(file, "uns/sailerx"))
  list(
    embedding = matrix_of_cells(file),
    atac.weight = read_dataframe(h5_child(file, "obs"))["sailerx_atac_weight"],
    settings = jsonlite::fromJSON(about$settings),
    versions = jsonlite::fromJSON(about$versions),
    history = about$history
  )
}

# hdf5r reverses the axes of a dense array: it is read as latent x cells.
matrix_of_cells <- function(file) {
  embedding <- t(h5_read(h5_child(file, "obsm/X_sailerx")))
  rownames(embedding) <- read_index(h5_child(file, "obs"))
  embedding
}

# What a reduction of this package holds in its `misc`, so that the verbs which use its model find it.
RUN_MISC <- c("settings", "versions", "history", "run", "set", "matched.peaks")

is_of_run <- function(reduction) {
  !is.null(SeuratObject::Misc(reduction, slot = "settings"))
}

# The same for a file: text (JSON), and the history as a data frame; NULL for other reductions.
run_notes <- function(reduction) {
  if (is_of_run(reduction)) {
    misc <- methods::slot(reduction, "misc")
    about <- misc[intersect(setdiff(RUN_MISC, "history"), names(Filter(Negate(is.null), misc)))]
    list(about = scalar(as.character(jsonlite::toJSON(about, auto_unbox = TRUE, digits = I(17), always_decimal = TRUE, null = "null"))), history = misc$history)
  }
}

read_run_notes <- function(notes) {
  if (!is.null(notes)) c(jsonlite::fromJSON(notes$about), list(history = notes$history))
}

as_reduction <- function(result, assay, key, cells) {
  cells <- intersect(cells, rownames(result$embedding))
  embedding <- result$embedding[cells, , drop = FALSE]
  colnames(embedding) <- paste0(key, seq_len(ncol(embedding)))
  versions <- c(result$versions, R = as.character(getRversion()), own_versions())
  SeuratObject::CreateDimReducObject(
    embeddings = embedding, key = key, assay = assay,
    misc = list(
      settings = result$settings, versions = versions, history = result$history, run = result$run,
      set = result$set, matched.peaks = result$matched.peaks
    )
  )
}

own_versions <- function() {
  packages <- c(`sailerx (R)` = "sailerx", SeuratObject = "SeuratObject")
  lapply(packages, function(package) as.character(utils::packageVersion(package)))
}

# Adds the embedding as a reduction, the weight of ATAC as a metadata column, and an entry to the command log.
add_result <- function(object, result, assay, name, key, params, verb = "RunSAILERX") {
  key <- unused_key(object, name, key)
  object[[paste0(name, "_atac_weight")]] <- result$atac.weight[colnames(object), 1]
  add_reduction(object, as_reduction(result, assay, key, colnames(object)), name) |>
    log_command(assay, name, params, verb)
}

# A reduction of that name is removed first: Seurat would warn if the new one has another shape.
add_reduction <- function(object, reduction, name) {
  if (name %in% SeuratObject::Reductions(object)) {
    object[[name]] <- NULL
  }
  object[[name]] <- reduction
  object
}

# SeuratObject::LogSeuratCommand() would deparse the call, which holds the whole object if it was made by do.call().
log_command <- function(object, assay, result, params, verb) {
  name <- paste(verb, assay, result, sep = ".")
  arguments <- vapply(params, function(value) paste(deparse(value), collapse = " "), character(1))
  object[[name]] <- new(
    "SeuratCommand",
    name = name, time.stamp = Sys.time(), assay.used = assay,
    call.string = sprintf("%s(%s)", verb, paste(names(params), arguments, sep = " = ", collapse = ", ")),
    params = Filter(Negate(is.null), params)
  )
  object
}

#' The loss of every epoch
#'
#' @param object A `Seurat` object that [RunSAILERX()] was run on, or the
#'   reduction itself.
#' @param reduction Name of the reduction.
#' @returns A data frame with one row per epoch: `epoch` (from 0),
#'   `loss` and its terms, schedules and speed, as Python names them.
#' @seealso [RunSAILERX()]
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
#' object <- SeuratObject::CreateSeuratObject(counts(paste0("gene", 1:80)))
#' object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts(peaks))
#' object$type <- rep(c("a", "b"), 30)
#'
#' # `keep` keeps the model, which the other verbs need.
#' folder <- tempfile()
#' object <- RunSAILERX(object, n_latent = 5, max_epochs = 2, keep = folder, verbose = FALSE)
#' sailerx_history(object)
#'
#' ImputeSAILERX(object, regions = "chr1:1-9000", group.by = "type", verbose = FALSE)
#' object <- ImputeSAILERX(object, features = peaks[1:10], verbose = FALSE)
#' object[["imputed"]]
#'
#' head(FindMarkersSAILERX(object, "a", "b", group.by = "type", verbose = FALSE))
#'
#' query <- SeuratObject::CreateSeuratObject(counts(peaks), assay = "peaks")
#' query <- MapSAILERX(object, query, verbose = FALSE)
#' query[["sailerx"]]
#'
#' query <- TransferSAILERX(object, query, labels = "type", assay.name = "predicted", verbose = FALSE)
#' table(query$sailerx_label)
#' unlink(folder, recursive = TRUE)
#' @export
sailerx_history <- function(object, reduction = "sailerx") {
  if (!inherits(object, "DimReduc")) {
    check_seurat(object)
    object <- check_own_reduction(object, reduction)
  }
  SeuratObject::Misc(object, slot = "history")
}
