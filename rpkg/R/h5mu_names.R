# Names in the file and in Seurat: modalities and assays, features, keys.

# Assay names, named by modality.
check_assays <- function(object, assays) {
  there <- SeuratObject::Assays(object)
  assays <- assays %||% there
  check_among(assays, there, "assays")
  given <- rlang::names2(assays)
  modalities <- ifelse(given == "", default_modalities(object, assays), given)
  if (anyDuplicated(modalities)) {
    cli::cli_abort("The names of {.arg assays} must be unique, but {.val {modalities[duplicated(modalities)]}} is there twice.")
  }
  rlang::set_names(unname(assays), modalities)
}

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

# Assay names, named by modality, in the order of the file.
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

# Feature metadata column with the names that features had before Seurat or Signac rewrote them.
ORIGINAL_NAME <- "original_name"

# Names of the features in the file: those they had before Seurat or Signac rewrote them, where they are known.
file_names <- function(assay) {
  names <- rownames(assay)
  original <- assay[[]][[ORIGINAL_NAME]]
  if (is.null(original)) {
    return(names)
  }
  original <- as.character(original)
  original <- ifelse(is.na(original), names, original)
  if (anyDuplicated(original)) names else original
}

# Seurat allows neither _ nor | in the name of a feature, and none twice.
seurat_names <- function(names) {
  make.unique(gsub("[_|]", "-", names))
}

free_name <- function(object, name, modality) {
  taken <- names(object)
  if (name %in% taken && !is.null(modality)) {
    name <- paste0(modality, ".", name)
  }
  utils::tail(make.unique(c(taken, name)), 1L)
}

free_key <- function(object, key, name) {
  if (key %in% SeuratObject::Key(object)) make_key(name) else key
}

unused_key <- function(object, name, key) {
  keys <- SeuratObject::Key(object)
  taken <- unname(keys[names(keys) != name])
  base <- paste0("X", toupper(gsub("[^a-zA-Z0-9]", "", name)))
  base <- sub("^X([A-Z])", "\\1", base)
  candidates <- c(key, paste0(base, c("", seq_along(taken)), "_"))
  setdiff(candidates, taken)[1]
}

make_key <- function(name) {
  key <- gsub("[^a-zA-Z0-9]", "", name)
  paste0(if (!grepl("^[a-zA-Z]", key)) "m", key, "_")
}
