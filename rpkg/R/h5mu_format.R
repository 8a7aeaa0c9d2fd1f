# The frame of an .h5mu file: its version, its root groups, and the maps of cells and features to modalities.

# The version of bridge/FORMAT.md that this package writes, and the root attribute that holds it.
H5MU_VERSION <- 1L

H5MU_VERSION_ATTRIBUTE <- "sailerx-format"

open_h5mu <- function(file) {
  call <- rlang::caller_env()
  if (!file.exists(file)) {
    cli::cli_abort("{.arg file} must be an .h5mu file: there is no {.path {file}}.", call = call)
  }
  connection <- tryCatch(h5_open(file), error = function(error) abort_unopened(file, error, call))
  tryCatch(check_content(connection, file, call), error = function(error) {
    h5_close(connection)
    rlang::cnd_signal(error)
  })
  connection
}

check_content <- function(connection, file, call) {
  if (has_endless_heap(file)) {
    cli::cli_abort(c("{.path {file}} cannot be read: the part with its texts is damaged.", i = "Write or copy it again."), call = call)
  }
  said_of_file(file, check_h5mu(connection, file), call)
}

check_h5mu <- function(connection, file) {
  version <- h5_attribute(connection, H5MU_VERSION_ATTRIBUTE) %||% 0L
  if (version > H5MU_VERSION) {
    cli::cli_abort(c(
      "{.path {file}} must be of format version {H5MU_VERSION} or older, but it is of version {version}.",
      i = "Install a newer version of the R package sailerx."
    ))
  }
  missing <- Filter(function(name) !h5_has(connection, name), c("mod", "obs"))
  if (length(missing) > 0L) {
    cli::cli_abort(c(
      "An .h5mu file must have the groups {.val mod} and {.val obs}, but {.path {file}} lacks {.val {missing}}.",
      i = "One modality saved as .h5ad is wrapped in Python by {.code mudata.MuData({{\"rna\": adata}}).write(...)}."
    ))
  }
}

write_root <- function(file, assays) {
  h5_encoding(file, "MuData", "0.1.0")
  h5_attr(file, "encoder", "sailerx")
  h5_attr(file, "encoder-version", package_version_text())
  h5_attr(file, "axis", 0L, as = "int64")
  h5_attr(file, H5MU_VERSION_ATTRIBUTE, H5MU_VERSION, as = "int64")
  for (name in c("obsm", "obsp", "obsmap", "varm", "varp", "varmap", "uns")) {
    write_dict(file, name)
  }
  h5_attr(h5_group(file, "mod"), "mod-order", names(assays), scalar = FALSE)
}

package_version_text <- function() {
  as.character(utils::packageVersion("sailerx"))
}

# The position of each cell and feature of the file in each modality, as mudata counts: from 1, 0 = absent.
write_maps <- function(file, all_cells, cells, features) {
  offset <- 0L
  n_features <- sum(lengths(features))
  for (modality in names(cells)) {
    map <- match(all_cells, cells[[modality]], nomatch = 0L)
    write_array(h5_child(file, "obsmap"), modality, map, as = "uint32")
    map <- integer(n_features)
    own <- seq_along(features[[modality]])
    map[offset + own] <- own
    write_array(h5_child(file, "varmap"), modality, map, as = "uint32")
    offset <- offset + length(own)
  }
}
