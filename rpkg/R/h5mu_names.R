# Names in the file and in Seurat: modalities and assays, original and rewritten feature names, keys.

# The assays to write, named by modality.
check_assays <- function(object, assays) {
  there <- SeuratObject::Assays(object)
  assays <- assays %||% there
  check_among(assays, there, "assays")
  if (!length(assays)) {
    cli::cli_abort("{.arg assays} must name at least one assay. The object has {.val {list_or_none(there)}}.")
  }
  given <- rlang::names2(assays)
  modalities <- ifelse(given == "", default_modalities(object, assays), given)
  slash <- grepl("/", modalities, fixed = TRUE)
  if (any(slash)) {
    cli::cli_abort(c(
      "The names of modalities must hold no slash, but {.val {modalities[slash][1]}} does.",
      i = "Name it otherwise: {.code assays = c({gsub('[^A-Za-z0-9]', '_', modalities[slash][1])} = \"{assays[slash][1]}\")}."
    ))
  }
  if (anyDuplicated(modalities)) {
    cli::cli_abort("The names of {.arg assays} must be unique, but {.val {modalities[duplicated(modalities)]}} occurs twice.")
  }
  rlang::set_names(unname(assays), modalities)
}

# The modalities that ReadH5MU() read the assays from, else `rna`, `atac` for the first peak assay, and the assay's own name.
default_modalities <- function(object, assays) {
  known <- SeuratObject::Misc(object, "h5mu")$modalities[assays]
  if (length(known) == length(assays) && !anyNA(known)) {
    return(unname(known))
  }
  peaks <- vapply(assays, function(name) is_peak_assay(object[[name]], name), logical(1))
  modalities <- unname(assays)
  modalities[modalities == "RNA"] <- "rna"
  modalities[match(TRUE, peaks, nomatch = 0L)] <- "atac"
  modalities
}

# The assays to create, named by the modality that each is read from; in the order of the file.
choose_modalities <- function(connection, assays) {
  mod <- h5_child(connection, "mod")
  there <- as.character(h5_attribute(mod, "mod-order") %||% h5_names(mod))
  wanted <- check_among(unname(assays %||% there), there, "assays")
  names <- vapply(wanted, function(modality) default_assay_name(h5_child(mod, modality), modality), character(1))
  given <- rlang::names2(assays %||% there)
  names[given != ""] <- given[given != ""]
  rlang::set_names(make.unique(unname(names)), wanted)
}

default_assay_name <- function(node, modality) {
  read_note(node, "assay") %||% switch(modality, rna = "RNA", atac = "ATAC", modality)
}

# The feature metadata column with the names that features had before Seurat or Signac rewrote them.
ORIGINAL_NAME <- "original_name"

# The names of the features in the file: the original one of each feature where it is known, also if it occurs twice. Signac 2
# writes a peak like a BED file but counts from 1 (chr1:6-9); in the file it has the name that Signac 1 gives it (chr1-6-9).
names_in_file <- function(assay) {
  names <- if (inherits(assay, "GRangesAssay")) peak_names(GenomicRanges::granges(assay)) else rownames(assay)
  original <- assay[[]][[ORIGINAL_NAME]]
  if (is.null(original)) {
    return(names)
  }
  original <- as.character(original)
  ifelse(is.na(original), names, original)
}

# The names of the features in a file to train on, where each must be unique: of names that occur twice in the source,
# those that Seurat made of them.
training_names <- function(assay) {
  names <- names_in_file(assay)
  twice <- names %in% names[duplicated(names)]
  names[twice] <- rownames(assay)[twice]
  make.unique(names)
}

# Seurat allows no `_`, no `|` and no duplicates in the names of features.
names_in_seurat <- function(names) {
  make.unique(gsub("[_|]", "-", names))
}

# A name that no part of the object has: `name`, else `modality.name`, else with a number.
free_name <- function(object, name, modality) {
  taken <- names(object)
  if (name %in% taken && !is.null(modality)) {
    name <- paste0(modality, ".", name)
  }
  utils::tail(make.unique(c(taken, name)), 1L)
}

# The key of a reduction that is read: as in the file, unless another part of the object has it.
free_key <- function(object, key, name) {
  if (key %in% SeuratObject::Key(object)) make_key(name) else key
}

# The key of a part that is added to an object: the one asked for, or one made from the name if another part has it.
unused_key <- function(object, name, key) {
  keys <- SeuratObject::Key(object)
  taken <- unname(keys[names(keys) != name])
  base <- paste0("X", toupper(gsub("[^a-zA-Z0-9]", "", name)))
  base <- sub("^X([A-Z])", "\\1", base)
  candidates <- c(key, paste0(base, c("", seq_along(taken)), "_"))
  setdiff(candidates, taken)[1]
}

# Seurat's form of keys: letters and digits, a letter first, one underscore at the end.
make_key <- function(name) {
  key <- gsub("[^a-zA-Z0-9]", "", name)
  paste0(if (!grepl("^[a-zA-Z]", key)) "m", key, "_")
}
