# Columns of `obs` and `var`, and the metadata of cells and features.

check_meta_data <- function(object, columns) {
  meta <- object[[]]
  if (!is.null(columns)) {
    meta <- meta[check_among(columns, colnames(meta), "meta.data")]
  }
  storable_columns(meta, "meta.data")
}

# Drops, with a warning, the columns that have no place in the file; plain text stands for dates.
storable_columns <- function(frame, what) {
  fits <- vapply(frame, is_storable, logical(1))
  if (!all(fits)) {
    cli::cli_warn(c(
      "Columns of {.arg {what}} must be numbers, text, logicals or factors: {.val {colnames(frame)[!fits]}} left out.",
      i = "Convert them first, for example with {.fun as.character}."
    ))
  }
  safe_names(frame[fits], what)
}

is_storable <- function(column) {
  is.factor(column) || is_plain(column)
}

is_plain <- function(column) {
  is.null(dim(column)) && !is.object(column) && typeof(column) %in% c("logical", "integer", "double", "character")
}

# A slash would make a folder inside the file.
safe_names <- function(frame, what) {
  bad <- grepl("/", colnames(frame), fixed = TRUE) | colnames(frame) %in% c("_index", "")
  if (any(bad)) {
    renamed <- make.unique(c(colnames(frame)[!bad], gsub("/", "_", sub("^(_index)?$", "index", colnames(frame)[bad]))))
    renamed <- renamed[-seq_len(sum(!bad))]
    cli::cli_warn("{.arg {what}}: {.val {colnames(frame)[bad]}} cannot be stored under that name; renamed to {.val {renamed}}.")
    colnames(frame)[bad] <- renamed
  }
  frame
}

text_columns <- function(frame) {
  as.character(names(frame)[vapply(frame, is.character, logical(1))])
}

# Text columns come back as text, though they may be stored as categories.
as_text <- function(frame, columns) {
  for (column in intersect(as.character(columns), colnames(frame))) {
    frame[[column]] <- as.character(frame[[column]])
  }
  frame
}

read_cells <- function(node) {
  as_text(read_dataframe(h5_child(node, "obs")), read_note(node, "columns", "obs_character"))
}

read_features <- function(node) {
  as_text(read_dataframe(h5_child(node, "var")), read_note(node, "columns", "var_character"))
}

# Columns that ReadH5MU() took from a modality go back to it; all others are those of the whole.
# Returns `global` and, by assay, `own`: data frames with one row per cell of the object.
split_columns <- function(object, meta, assays) {
  origin <- SeuratObject::Misc(object, "h5mu")
  own <- lapply(origin$columns[intersect(names(origin$columns), assays)], function(columns) {
    columns <- columns[columns %in% colnames(meta)]
    rlang::set_names(meta[columns], names(columns))
  })
  moved <- unlist(lapply(origin$columns[names(own)], unname))
  list(global = meta[setdiff(colnames(meta), setdiff(moved, origin$global))], own = own)
}

# Cell metadata of the whole: the columns of the global obs, then those of the modalities. A column that says the same
# in several places is one column; one that differs from its namesakes is called `modality:column`.
merge_columns <- function(meta, parts) {
  state <- list(meta = meta, known = lapply(meta, function(column) rep(TRUE, nrow(meta))), homes = list(), global = colnames(meta))
  for (part in parts) {
    for (column in colnames(part$obs)) {
      state <- place_column(state, part, column)
    }
  }
  state
}

place_column <- function(state, part, column) {
  values <- part$obs[[column]]
  rows <- match(part$cells, rownames(state$meta))
  for (name in c(column, paste0(part$modality, ":", column))) {
    if (column_agrees(state, name, values, rows)) {
      break
    }
  }
  filled <- state$meta[[name]] %||% values[rep(NA_integer_, nrow(state$meta))]
  filled[rows] <- values
  state$meta[[name]] <- filled
  state$known[[name]] <- (state$known[[name]] %||% logical(nrow(state$meta))) | seq_len(nrow(state$meta)) %in% rows
  state$homes[[part$name]][[column]] <- name
  state
}

# May `values` join the metadata column `name`? Yes where there is none, or where it says the same of every cell it knows.
column_agrees <- function(state, name, values, rows) {
  there <- state$meta[[name]]
  if (is.null(there)) {
    return(TRUE)
  }
  shared <- state$known[[name]][rows]
  same_kind <- identical(class(there), class(values)) && identical(levels(there), levels(values))
  same_kind && identical(as.vector(there[rows])[shared], as.vector(values)[shared])
}

# Feature metadata as columns of `var`, with chrom, start and end for peaks.
feature_frame <- function(assay, name, features, modality) {
  frame <- data.frame(row.names = rownames(assay))
  if (features) {
    own <- assay[[]]
    kept <- setdiff(colnames(own), c(ORIGINAL_NAME, "var.features", "var.features.rank"))
    frame <- cbind(storable_columns(own[kept], name), variable_columns(assay))
  }
  coordinates <- peak_coordinates(assay, name, modality)
  frame[colnames(coordinates)] <- coordinates
  frame
}

# Columns of var that Seurat keeps elsewhere are taken from there when the object is written.
add_feature_metadata <- function(assay, frame, names, class) {
  chosen <- rownames(assay)[variable_rows(frame)]
  moved <- c(
    if (length(chosen) > 0L) c("highly_variable", "highly_variable_rank"),
    if (class == "ChromatinAssay") c("chrom", "start", "end")
  )
  frame <- frame[setdiff(colnames(frame), moved)]
  rownames(frame) <- rownames(assay)
  if (!identical(rownames(assay), names)) {
    frame[[ORIGINAL_NAME]] <- names
  }
  if (ncol(frame) > 0L) {
    assay <- SeuratObject::AddMetaData(assay, frame)
  }
  if (length(chosen) > 0L) {
    SeuratObject::VariableFeatures(assay) <- chosen
  }
  assay
}

variable_columns <- function(assay) {
  chosen <- SeuratObject::VariableFeatures(assay)
  frame <- data.frame(row.names = rownames(assay))
  if (length(chosen) == 0L) {
    return(frame)
  }
  frame$highly_variable <- rownames(assay) %in% chosen
  if (!identical(chosen, rownames(assay)[frame$highly_variable])) {
    frame$highly_variable_rank <- as.double(match(rownames(assay), chosen) - 1L)
  }
  frame
}

# Rows of the variable features, best first where the file ranks them.
variable_rows <- function(frame) {
  chosen <- which(as.logical(frame[["highly_variable"]]))
  rank <- frame[["highly_variable_rank"]]
  if (is.null(rank)) chosen else chosen[order(rank[chosen])]
}
