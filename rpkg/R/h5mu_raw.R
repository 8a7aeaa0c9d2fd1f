# Counts in `raw`, where scanpy keeps what X was before it was normalised and cut to chosen genes.

# What an assay is made of: the `layers` (features x cells), the `names` of their features, and the `node` that describes
# these. They are those of the modality, unless counts are in its `raw` alone, as Python decides too: then `from_raw`.
features_and_layers <- function(node, modality, rows) {
  names <- read_index(h5_child(node, "var"))
  layers <- lapply(read_layers(node, modality), order_columns, rows)
  found <- list(node = node, names = names, layers = layers, x_rows = seq_along(names))
  counts <- if (!holds_counts(layers)) raw_counts(node)
  if (is.null(counts)) {
    return(found)
  }
  with_raw(found, h5_child(node, "raw"), order_columns(counts, rows))
}

holds_counts <- function(layers) {
  "counts" %in% names(layers) && are_counts(layers$counts)
}

are_counts <- function(matrix) {
  fits <- rlang::is_integerish(matrix@x, finite = TRUE)
  fits && (!length(matrix@x) || min(matrix@x) >= 0)
}

# The matrix of `raw` (features x cells) if it holds counts, else NULL.
raw_counts <- function(node) {
  if (!h5_has(node, "raw") || !h5_is_group(h5_child(node, "raw")) || !h5_has(node, "raw/X") || !h5_has(node, "raw/var")) {
    return(NULL)
  }
  counts <- read_features_by_cells(h5_child(node, "raw/X"))
  if (are_counts(counts)) counts
}

# With the counts of `raw` beside X if both have the same features, else in the place of all other layers, because the layers
# of an assay share their features. `x_rows`: where the features of X are among those of the assay.
with_raw <- function(found, raw, counts) {
  names <- read_index(h5_child(raw, "var"))
  rows <- match(found$names, names)
  if (anyDuplicated(names) == 0L && !anyNA(rows) && length(names) == length(rows)) {
    found$layers <- c(list(counts = counts[rows, , drop = FALSE]), found$layers[setdiff(names(found$layers), "counts")])
    return(c(found, from_raw = "beside X"))
  }
  list(node = raw, names = names, layers = list(counts = counts), x_rows = rows, from_raw = "instead of X")
}

report_raw <- function(parts) {
  for (part in Filter(function(part) !is.null(part$from_raw), parts)) {
    cli::cli_inform(c(
      i = "Counts of modality {.val {part$modality}} are taken from {.code raw}: X holds none.",
      if (part$from_raw == "instead of X") c(" " = "X and its layers are left out, because {.code raw} has other features.")
    ))
  }
}
