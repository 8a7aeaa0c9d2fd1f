# .rds to .h5mu and back, for Python's sailerx_bridge.

rds_to_h5mu <- function(rds, h5mu, assays) {
  object <- tryCatch(readRDS(rds), error = function(error) {
    cli::cli_abort("{.path {rds}} must be an .rds file, but R cannot read it: {conditionMessage(error)}.")
  })
  # Updating a new object would add columns to its metadata.
  if (inherits(object, "Seurat") && SeuratObject::Version(object) < "5.0.0") {
    object <- suppressMessages(SeuratObject::UpdateSeuratObject(object))
  }
  WriteH5MU(object, h5mu, assays = assays)
}

h5mu_to_rds <- function(h5mu, rds, assays) {
  saveRDS(ReadH5MU(h5mu, assays = assays), rds)
  invisible(rds)
}
