# From the small results file to a reduction of the object.

# Cells x latent matrix with cell names, settings, versions and history.
read_result <- function(file) {
  h5 <- hdf5r::H5File$new(file, mode = "r")
  on.exit(h5$close_all())
  embedding <- t(h5[["obsm/X_sailerx"]]$read())
  rownames(embedding) <- read_index(h5[["obs"]])
  about <- h5[["uns/sailerx"]]
  list(
    embedding = embedding,
    settings = jsonlite::fromJSON(about[["settings"]]$read()),
    versions = jsonlite::fromJSON(about[["versions"]]$read()),
    history = read_history(about[["history"]])
  )
}

read_index <- function(group) {
  as.character(group[[hdf5r::h5attr(group, "_index")]]$read())
}

read_history <- function(group) {
  columns <- hdf5r::h5attr(group, "column-order")
  as.data.frame(lapply(rlang::set_names(columns), function(name) as.vector(group[[name]]$read())), check.names = FALSE)
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
