# Graphs between cells: `obsp`.

# The graph `RNA_nn` of assay RNA becomes obsp `nn` of its modality; any other graph keeps its name, at the top of the file.
write_graph <- function(file, name, graph, written) {
  assay <- SeuratObject::DefaultAssay(graph)
  prefix <- paste0(assay, "_")
  own <- length(assay) == 1L && startsWith(name, prefix)
  place <- place_of(file, if (own) assay else NA, rownames(graph), written, exactly = TRUE)
  key <- h5_key(if (identical(place$node, file)) name else substring(name, nchar(prefix) + 1L))
  write_csr(h5_child(place$node, "obsp"), key, Matrix::t(graph_on(graph, place$cells)))
  write_value(notes_group(place$node, "graphs"), key, list(
    name = scalar(name),
    assay = if (length(assay) == 1L) scalar(assay),
    cells = if (!setequal(rownames(graph), place$cells)) rownames(graph)
  ))
}

# The graph with one row and column for each of `cells`, in this order; cells that it lacks have no edges.
graph_on <- function(graph, cells) {
  edges <- methods::as(methods::as(graph, "dgCMatrix"), "TsparseMatrix")
  from <- match(rownames(graph), cells)[edges@i + 1L]
  to <- match(colnames(graph), cells)[edges@j + 1L]
  kept <- !is.na(from) & !is.na(to)
  Matrix::sparseMatrix(from[kept], to[kept], x = edges@x[kept], dims = rep(length(cells), 2L))
}

# The reverse: adds the graph `key` of a place.
add_graph <- function(object, place, key) {
  edges <- read_value(h5_child(place$node, paste0("obsp/", key)))
  notes <- read_note(place$node, "graphs", key)
  edges <- as_dgCMatrix(edges)[place$rows, place$rows]
  dimnames(edges) <- list(place$cells, place$cells)
  if (!is.null(notes$cells)) {
    kept <- intersect(place$cells, notes$cells)
    edges <- edges[kept, kept]
  }
  graph <- SeuratObject::as.Graph(edges)
  SeuratObject::DefaultAssay(graph) <- c(notes$assay, place$name, SeuratObject::DefaultAssay(object))[[1L]]
  name <- notes$name %||% paste(c(place$name, key), collapse = "_")
  object[[free_name(object, name, NULL)]] <- graph
  object
}
