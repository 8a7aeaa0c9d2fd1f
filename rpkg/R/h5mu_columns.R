# Metadata of cells and features: columns of `obs` and `var` in the file, `object[[]]` and `assay[[]]` in Seurat.

# The chosen columns of the cell metadata (all with NULL), if they can be stored.
check_meta_data <- function(object, columns) {
  meta <- object[[]]
  if (!is.null(columns)) {
    meta <- meta[check_among(columns, colnames(meta), "meta.data")]
  }
  storable_columns(meta, "meta.data")
}

# Drops, with a warning, the columns that the file cannot hold: dates, lists, matrices.
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

# A slash in a name would create an HDF5 group, a dot is the group itself, and two columns cannot have one name.
safe_names <- function(frame, what) {
  names <- utf8(colnames(frame))
  names[is.na(names)] <- "NA"
  bad <- grepl("/", names, fixed = TRUE) | names %in% c("_index", "", ".", "..") | duplicated(names)
  if (any(bad)) {
    renamed <- gsub("/", "_", sub("^\\.+$", "_", sub("^(_index)?$", "index", names[bad])))
    renamed <- make.unique(c(names[!bad], renamed))[-seq_len(sum(!bad))]
    cli::cli_warn("{.arg {what}}: {.val {names[bad]}} cannot be stored under that name; renamed to {.val {renamed}}.")
    names[bad] <- renamed
  }
  colnames(frame) <- names
  without_excess(frame, what)
}

# HDF5 keeps the names of the columns in a header of 64 kB, 16 bytes for each.
MOST_COLUMNS <- 4000L

without_excess <- function(frame, what) {
  if (ncol(frame) > MOST_COLUMNS) {
    left <- colnames(frame)[-seq_len(MOST_COLUMNS)]
    cli::cli_warn(c(
      "{.arg {what}} may have at most {MOST_COLUMNS} columns in an HDF5 file, but has {ncol(frame)}: {length(left)} {?is/are} left out, {.val {utils::head(left, 3)}}, ...",
      i = "Store values of this many kinds as an assay."
    ))
    frame <- frame[seq_len(MOST_COLUMNS)]
  }
  frame
}

text_columns <- function(frame) {
  as.character(names(frame)[vapply(frame, is.character, logical(1))])
}

# Turns the columns that were text in R back into text: Python may have stored them as categories.
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

# Splits the cell metadata into the columns of the global obs and those that ReadH5MU() read from the obs of a modality.
# Returns the data frames `global` and, in a list named by assay, `own`; each has one row per cell of the object.
split_columns <- function(object, meta, assays) {
  origin <- SeuratObject::Misc(object, "h5mu")
  own <- lapply(origin$columns[intersect(names(origin$columns), assays)], function(columns) {
    columns <- columns[columns %in% colnames(meta)]
    rlang::set_names(meta[columns], names(columns))
  })
  moved <- unlist(lapply(origin$columns[names(own)], unname))
  list(global = meta[setdiff(colnames(meta), setdiff(moved, origin$global))], own = own)
}

# The reverse: joins the columns of the modalities to those of the global obs. Columns of one name become one column if
# they agree in every cell that they share; else the later one is named `modality:column`.
# Returns `meta`; `known`, per column, the cells that have a value; `by_assay`, per assay, the names of its columns in `meta`;
# and `global`, the names of the columns of the global obs.
merge_columns <- function(meta, parts) {
  known <- lapply(meta, function(column) rep(TRUE, nrow(meta)))
  state <- list(meta = meta, known = known, by_assay = list(), global = colnames(meta))
  for (part in parts) {
    for (column in colnames(part$obs)) {
      state <- join_column(state, part, column)
    }
  }
  state
}

join_column <- function(state, part, column) {
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
  state$by_assay[[part$name]][[column]] <- name
  state
}

# Can `values` be stored in the metadata column `name`? Yes if it is new, or holds the same values in the cells it knows.
column_agrees <- function(state, name, values, rows) {
  there <- state$meta[[name]]
  if (is.null(there)) {
    return(TRUE)
  }
  shared <- state$known[[name]][rows]
  same_kind <- identical(class(there), class(values)) && identical(levels(there), levels(values))
  same_kind && identical(as.vector(there[rows])[shared], as.vector(values)[shared])
}

# The columns of `var`: feature metadata (unless `features = FALSE`), and chrom, start and end of peaks.
feature_frame <- function(assay, name, features, modality) {
  frame <- data.frame(row.names = rownames(assay))
  if (features) {
    own <- assay[[]]
    kept <- setdiff(colnames(own), c(ORIGINAL_NAME, "var.features", "var.features.rank"))
    frame <- add_reserved(storable_columns(own[kept], name), variable_columns(assay), name)
  }
  add_reserved(frame, peak_coordinates(assay, name, modality), name)
}

# Adds columns whose names the file reserves. A column of the user's of such a name is the same column if it has the same
# values; else it is kept under another name, with a warning.
add_reserved <- function(frame, reserved, name) {
  same <- function(column) isTRUE(all.equal(plain_values(frame[[column]]), plain_values(reserved[[column]])))
  taken <- intersect(colnames(frame), colnames(reserved))
  other <- Filter(Negate(same), taken)
  if (length(other)) {
    renamed <- utils::tail(make.unique(c(union(colnames(frame), colnames(reserved)), other), sep = "_"), length(other))
    cli::cli_warn(c(
      "{.val {other}} in the feature metadata of {.val {name}} holds something else than the file keeps under that name: it is written as {.val {renamed}}."
    ))
    colnames(frame)[match(other, colnames(frame))] <- renamed
  }
  frame[colnames(reserved)] <- reserved
  frame
}

# Values as text or numbers, whatever their class is, to compare them.
plain_values <- function(values) {
  values <- if (is.factor(values)) as.character(values) else as.vector(values)
  if (is.logical(values)) as.numeric(values) else values
}

# The reserved columns that are the user's own too.
own_reserved <- function(assay) {
  intersect(c("highly_variable", "highly_variable_rank", PEAK_COLUMNS), colnames(assay[[]]))
}

# The reverse. Variable features and ranges are not feature metadata in Seurat; feature_frame() makes their columns anew.
# `own`: those that were feature metadata all the same.
add_feature_metadata <- function(assay, frame, names, own = NULL) {
  chosen <- rownames(assay)[variable_rows(frame)]
  moved <- c(
    if (length(chosen) > 0L) c("highly_variable", "highly_variable_rank"),
    if (has_ranges(assay)) PEAK_COLUMNS
  )
  frame <- frame[setdiff(colnames(frame), setdiff(moved, own))]
  rownames(frame) <- rownames(assay)
  if (!identical(names_in_file(assay), names)) {
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

# `highly_variable` and, unless they are in the order of the features, `highly_variable_rank` (from 0).
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

# The reverse: row numbers of the variable features, in the order of their rank if the file has it.
variable_rows <- function(frame) {
  chosen <- which(as.logical(frame[["highly_variable"]]))
  rank <- frame[["highly_variable_rank"]]
  if (is.null(rank)) chosen else chosen[order(rank[chosen])]
}
