# A fault of SeuratObject 5: subset() by features leaves a layer as it is if it has none of them (scale.data of other features,
# say), and the assay then lists features that it no longer has metadata for.

# The object with such layers dropped, and a message that names them.
without_left_layers <- function(object, arg, call) {
  assays <- attr(object, "assays")
  odd <- Filter(has_left_layers, assays)
  for (name in names(odd)) {
    attr(object, "assays")[[name]] <- drop_left_layers(odd[[name]], name, arg, call)
  }
  object
}

has_left_layers <- function(assay) {
  inherits(assay, "StdAssay") && nrow(methods::slot(assay, "meta.data")) != nrow(methods::slot(assay, "features"))
}

drop_left_layers <- function(assay, name, arg, call) {
  map <- methods::slot(assay, "features")
  left <- left_layers(map, nrow(methods::slot(assay, "meta.data")))
  if (is.null(left)) {
    cli::cli_abort(c(
      "Assay {.val {name}} of {.arg {arg}} must be whole, but {.fn subset} has left layers of features that are gone: {.val {colnames(map)}}.",
      i = "Take the subset again, of the assay without the layer that has none of the chosen features: {.code object[[\"{name}\"]][[\"LAYER\"]] <- NULL}."
    ), call = call)
  }
  cli::cli_inform(c(i = "Assay {.val {name}}: {.fn subset} has left {cli::qty(length(left))}layer{?s} {.val {left}} without any of its features; dropped."))
  kept <- setdiff(colnames(map), left)
  methods::slot(assay, "layers") <- methods::slot(assay, "layers")[kept]
  methods::slot(assay, "features") <- methods::as(map[rowSums(map[, kept, drop = FALSE]) > 0, kept, drop = FALSE], "LogMap")
  methods::slot(assay, "default") <- min(methods::slot(assay, "default"), length(kept))
  assay
}

# The layers that share no feature with the only layer (or equal ones) that has as many features as the assay; NULL if that
# does not tell which were left.
left_layers <- function(map, n_features) {
  members <- lapply(rlang::set_names(colnames(map)), function(layer) unname(which(map[, layer])))
  whole <- unique(Filter(function(rows) length(rows) == n_features, unname(members)))
  if (length(whole) != 1L) {
    return(NULL)
  }
  shared <- vapply(members, function(rows) mean(rows %in% whole[[1]]), numeric(1))
  if (all(shared %in% c(0, 1))) names(shared)[shared == 0]
}
