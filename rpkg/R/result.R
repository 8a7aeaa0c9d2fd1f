# From the small results file to a reduction of the object.

# Cells x latent matrix with cell names, settings, versions and history.
read_result <- function(path) {
  file <- h5_open(path)
  on.exit(h5_close(file))
  about <- read_value(h5_child(file, "uns/sailerx"))
  list(
    embedding = matrix_of_cells(file),
    settings = jsonlite::fromJSON(about$settings),
    versions = jsonlite::fromJSON(about$versions),
    history = about$history
  )
}

# hdf5r shows the axes of a dense array in reverse: latent x cells.
matrix_of_cells <- function(file) {
  embedding <- t(h5_read(h5_child(file, "obsm/X_sailerx")))
  rownames(embedding) <- read_index(h5_child(file, "obs"))
  embedding
}

as_reduction <- function(result, assay, key, cells) {
  cells <- intersect(cells, rownames(result$embedding))
  embedding <- result$embedding[cells, , drop = FALSE]
  colnames(embedding) <- paste0(key, seq_len(ncol(embedding)))
  versions <- c(result$versions, R = as.character(getRversion()), own_versions())
  SeuratObject::CreateDimReducObject(
    embeddings = embedding, key = key, assay = assay,
    misc = list(settings = result$settings, versions = versions, history = result$history, run = result$run)
  )
}

own_versions <- function() {
  packages <- c(`sailerx (R)` = "sailerx", SeuratObject = "SeuratObject")
  lapply(packages, function(package) as.character(utils::packageVersion(package)))
}

# A reduction of that name goes first: Seurat warns of every change of shape.
add_reduction <- function(object, reduction, name) {
  if (name %in% SeuratObject::Reductions(object)) {
    object[[name]] <- NULL
  }
  object[[name]] <- reduction
  object
}

# Built by hand: LogSeuratCommand() deparses the call, and with it the whole
# object where RunSAILERX() was called by do.call().
log_command <- function(object, assay, reduction, params) {
  name <- paste("RunSAILERX", assay, reduction, sep = ".")
  arguments <- vapply(params, function(value) paste(deparse(value), collapse = " "), character(1))
  object[[name]] <- new(
    "SeuratCommand",
    name = name, time.stamp = Sys.time(), assay.used = assay,
    call.string = sprintf("RunSAILERX(%s)", paste(names(params), arguments, sep = " = ", collapse = ", ")),
    params = Filter(Negate(is.null), params)
  )
  object
}
