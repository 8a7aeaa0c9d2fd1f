# Small data sets as plain lists (see v1/content.json), to Seurat objects and back, by Seurat's and Signac's own
# functions. content.py does the same for MuData.

read_content <- function(path) {
  jsonlite::read_json(path, simplifyVector = FALSE)
}

# NULL where JSON has null: NA of the right kind.
values_of <- function(entries, as) {
  missing <- vapply(entries, is.null, logical(1))
  entries[missing] <- NA
  if (length(entries) == 0L) as(list()) else as(unlist(entries))
}

to_column <- function(column) {
  switch(
    column$kind,
    factor = factor(values_of(column$values, as.character), levels = values_of(column$levels, as.character)),
    ordered = factor(values_of(column$values, as.character), levels = values_of(column$levels, as.character), ordered = TRUE),
    character = values_of(column$values, as.character),
    integer = values_of(column$values, as.integer),
    double = values_of(column$values, as.numeric),
    logical = values_of(column$values, as.logical)
  )
}

to_frame <- function(columns, rows) {
  frame <- data.frame(row.names = rows)
  for (name in names(columns)) {
    frame[[name]] <- to_column(columns[[name]])
  }
  frame
}

# Nested lists of numbers, one inner list per row.
to_matrix <- function(rows, n_columns) {
  matrix(values_of(unlist(rows, recursive = FALSE), as.numeric), nrow = length(rows), ncol = n_columns, byrow = TRUE)
}

# Seurat wants the cells of an assay in the order of the object.
to_assay <- function(modality, all_cells) {
  cells <- unlist(modality$cells)
  features <- unlist(modality$features)
  counts <- t(to_matrix(modality$counts, length(features)))
  names <- make.unique(gsub("[_|]", "-", features))
  counts <- methods::as(methods::as(counts, "CsparseMatrix"), "generalMatrix")
  dimnames(counts) <- list(names, cells)
  counts <- counts[, intersect(all_cells, cells)]
  assay <- if (is.null(modality$ranges)) {
    SeuratObject::CreateAssay5Object(counts)
  } else {
    to_chromatin(counts, modality)
  }
  var <- to_frame(modality$var, rownames(assay))
  if (!identical(rownames(assay), features)) {
    var$original_name <- features
  }
  if (ncol(var) > 0L) {
    assay <- SeuratObject::AddMetaData(assay, var)
  }
  assay
}

to_chromatin <- function(counts, modality) {
  ranges <- GenomicRanges::GRanges(
    unlist(modality$ranges$chrom),
    IRanges::IRanges(unlist(modality$ranges$start) + 1L, unlist(modality$ranges$end))
  )
  fragments <- lapply(unname(modality$fragments), function(entry) {
    Signac::CreateFragmentObject(
      entry$path,
      cells = setNames(unlist(entry$barcodes), unlist(entry$cells)),
      validate.fragments = FALSE,
      verbose = FALSE
    )
  })
  suppressWarnings(Signac::CreateChromatinAssay(
    counts,
    ranges = ranges,
    genome = to_seqinfo(modality$seqinfo),
    fragments = if (length(fragments) > 0L) fragments,
    validate.fragments = FALSE,
    verbose = FALSE
  ))
}

to_seqinfo <- function(seqinfo) {
  if (!is.null(seqinfo)) {
    GenomeInfoDb::Seqinfo(
      unlist(seqinfo$contigs),
      seqlengths = values_of(seqinfo$length, as.integer),
      isCircular = values_of(seqinfo$circular, as.logical),
      genome = values_of(seqinfo$genome, as.character)
    )
  }
}

assay_name <- function(modality) {
  switch(modality, rna = "RNA", atac = "ATAC", modality)
}

to_seurat <- function(content) {
  cells <- unlist(content$cells)
  assays <- lapply(content$modalities, to_assay, cells)
  names(assays) <- vapply(names(assays), assay_name, "")
  for (name in names(assays)) {
    SeuratObject::Key(assays[[name]]) <- paste0(tolower(name), "_")
  }
  object <- methods::new(
    "Seurat",
    assays = assays,
    meta.data = to_frame(content$obs, cells),
    active.assay = names(assays)[[1L]],
    active.ident = factor(setNames(rep("all", length(cells)), cells)),
    project.name = "example",
    version = utils::packageVersion("SeuratObject")
  )
  for (reduction in content$reductions) {
    object[[reduction$name]] <- to_reduction(object, reduction)
  }
  for (graph in content$graphs) {
    object <- add_content_graph(object, graph, content)
  }
  object
}

to_reduction <- function(object, reduction) {
  prefix <- paste0(gsub("[^A-Za-z0-9]", "", reduction$name), "_")
  columns <- paste0(prefix, seq_along(reduction$embedding[[1L]]))
  embedding <- to_matrix(reduction$embedding, length(columns))
  dimnames(embedding) <- list(unlist(reduction$cells), columns)
  embedding <- embedding[intersect(colnames(object), rownames(embedding)), , drop = FALSE]
  assay <- if (is.null(reduction$modality)) SeuratObject::DefaultAssay(object) else assay_name(reduction$modality)
  loadings <- methods::new("matrix")
  if (!is.null(reduction$loadings)) {
    loadings <- to_matrix(reduction$loadings$values, length(columns))
    original <- object[[assay]][[]]$original_name
    features <- rownames(object[[assay]])
    rownames(loadings) <- features[match(unlist(reduction$loadings$features), if (is.null(original)) features else original)]
    colnames(loadings) <- columns
  }
  SeuratObject::CreateDimReducObject(
    embedding,
    loadings = loadings,
    stdev = values_of(reduction$stdev, as.numeric),
    assay = assay,
    key = prefix
  )
}

add_content_graph <- function(object, graph, content) {
  top <- is.null(graph$modality)
  cells <- unlist(if (top) content$cells else content$modalities[[graph$modality]]$cells)
  edges <- to_matrix(graph$edges, length(cells))
  dimnames(edges) <- list(cells, cells)
  order <- intersect(colnames(object), cells)
  graph_object <- SeuratObject::as.Graph(methods::as(edges[order, order], "CsparseMatrix"))
  assay <- if (top) SeuratObject::DefaultAssay(object) else assay_name(graph$modality)
  SeuratObject::DefaultAssay(graph_object) <- assay
  object[[if (top) graph$name else paste0(assay, "_", graph$name)]] <- graph_object
  object
}

# Seurat objects to lists. `modality` of each assay is given by `modalities`: c(RNA = "rna").

# Doubles as hexadecimal text, which loses nothing on the way through JSON.
entries <- function(x) {
  missing <- is.na(x)
  text <- if (is.double(x)) sprintf("%a", x) else if (is.factor(x)) as.character(x) else x
  out <- as.list(unname(text))
  out[missing] <- list(NULL)
  out
}

rows_of <- function(matrix) {
  lapply(seq_len(nrow(matrix)), function(row) entries(matrix[row, ]))
}

describe_column <- function(column) {
  if (is.factor(column)) {
    kind <- if (is.ordered(column)) "ordered" else "factor"
    return(list(kind = kind, levels = entries(levels(column)), values = entries(column)))
  }
  list(kind = switch(typeof(column), double = "double", typeof(column)), values = entries(column))
}

describe_frame <- function(frame) {
  setNames(lapply(frame, describe_column), colnames(frame))
}

describe <- function(object, modalities) {
  list(
    cells = entries(colnames(object)),
    obs = describe_frame(object[[]]),
    modalities = setNames(lapply(names(modalities), function(name) describe_assay(object[[name]])), modalities),
    reductions = unname(lapply(SeuratObject::Reductions(object), describe_reduction, object, modalities)),
    graphs = unname(lapply(SeuratObject::Graphs(object), describe_graph, object, modalities))
  )
}

content_names <- function(assay) {
  original <- assay[[]]$original_name
  if (is.null(original)) rownames(assay) else original
}

describe_assay <- function(assay) {
  var <- assay[[]]
  var <- var[setdiff(colnames(var), c("original_name", "chrom", "start", "end"))]
  c(
    list(
      class = class(assay)[[1L]],
      cells = entries(colnames(assay)),
      features = entries(content_names(assay)),
      counts = rows_of(t(as.matrix(SeuratObject::LayerData(assay, layer = "counts")))),
      var = describe_frame(var)
    ),
    if (inherits(assay, "ChromatinAssay")) describe_chromatin(assay)
  )
}

describe_chromatin <- function(assay) {
  ranges <- GenomicRanges::granges(assay)
  info <- GenomeInfoDb::seqinfo(assay)
  fragments <- lapply(Signac::Fragments(assay), function(fragment) {
    barcodes <- Signac::GetFragmentData(fragment, "cells")
    list(
      path = Signac::GetFragmentData(fragment, "path"),
      cells = entries(names(barcodes)),
      barcodes = entries(unname(barcodes))
    )
  })
  list(
    ranges = list(
      chrom = entries(as.character(GenomeInfoDb::seqnames(ranges))),
      start = entries(GenomicRanges::start(ranges) - 1L),
      end = entries(GenomicRanges::end(ranges))
    ),
    seqinfo = if (!is.null(info)) {
      list(
        contigs = entries(GenomeInfoDb::seqnames(info)),
        length = entries(GenomeInfoDb::seqlengths(info)),
        circular = entries(GenomeInfoDb::isCircular(info)),
        genome = entries(GenomeInfoDb::genome(info))
      )
    },
    fragments = setNames(fragments, seq_along(fragments) - 1L)
  )
}

describe_reduction <- function(name, object, modalities) {
  reduction <- object[[name]]
  assay <- SeuratObject::DefaultAssay(reduction)
  loadings <- SeuratObject::Loadings(reduction)
  cells <- rownames(SeuratObject::Embeddings(reduction))
  list(
    name = name,
    modality = if (all(cells %in% colnames(object[[assay]]))) modalities[[assay]],
    cells = entries(cells),
    embedding = rows_of(SeuratObject::Embeddings(reduction)),
    loadings = if (length(loadings) > 0L) {
      features <- content_names(object[[assay]])[match(rownames(loadings), rownames(object[[assay]]))]
      list(features = entries(features), values = rows_of(loadings))
    },
    stdev = entries(SeuratObject::Stdev(reduction))
  )
}

describe_graph <- function(name, object, modalities) {
  graph <- object[[name]]
  assay <- SeuratObject::DefaultAssay(graph)
  prefix <- paste0(assay, "_")
  own <- length(assay) == 1L && startsWith(name, prefix)
  list(
    name = if (own) substring(name, nchar(prefix) + 1L) else name,
    modality = if (own) modalities[[assay]],
    edges = rows_of(as.matrix(graph))
  )
}

to_json <- function(x) {
  as.character(jsonlite::toJSON(x, auto_unbox = TRUE, null = "null"))
}
