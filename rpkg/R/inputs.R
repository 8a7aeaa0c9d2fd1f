# The files that Python gets from R: what it needs, and no more.

# What Python needs, and no more. Metadata of the whole lies in the global obs, or with `own` in each modality's.
write_input <- function(object, path, rna, atac, reference, columns, own = FALSE) {
  if (!is.null(reference)) {
    object[[reference]] <- bare_reduction(object[[reference]], rna)
  }
  rna_layer <- if (has_counts(object, rna)) "counts" else NA
  if (is.na(rna_layer)) {
    columns <- c(columns, intersect(paste0("nCount_", c("RNA", rna)), colnames(object[[]])))
  }
  assays <- c(rna = rna, atac = atac)
  options <- input_options(assays, c(rna_layer, "counts"))
  meta <- check_meta_data(object, unique(as.character(columns)))
  meta <- if (own) {
    list(global = meta[character()], own = rlang::set_names(list(meta, meta), assays))
  } else {
    list(global = meta, own = list())
  }
  write_atomically(path, FALSE, function(path) {
    write_mudata(path, object, assays, as.character(reference), character(), meta, options)
  })
}

# Counts of some assays, named by modality, with the columns in each: `sailerx combine` keeps those.
write_set <- function(path, object, assays, columns = character()) {
  meta <- check_meta_data(object, unique(as.character(columns)))
  own <- rlang::set_names(rep(list(meta), length(assays)), assays)
  write_atomically(path, FALSE, function(path) {
    write_mudata(path, object, assays, character(), character(), list(global = meta[character()], own = own), input_options(assays))
  })
}

# Counts of the peak assay, and columns of metadata (a data frame with a row per cell), as the model's modality.
write_peaks <- function(path, object, assay, modality, columns = object[[]][character()]) {
  assays <- rlang::set_names(assay, modality)
  write_atomically(path, FALSE, function(path) {
    write_mudata(path, object, assays, character(), character(), list(global = columns, own = list()), input_options(assays))
  })
}

# Counts alone: no further layers, no feature metadata but where peaks lie.
input_options <- function(assays, layer = rep("counts", length(assays))) {
  list(layer = rlang::set_names(layer, assays), layers = NULL, features = FALSE, chromatin = FALSE, gzip = 0L)
}

# Without loadings, and at home in the RNA assay whichever assay it was made from.
bare_reduction <- function(reduction, rna) {
  SeuratObject::CreateDimReducObject(
    embeddings = SeuratObject::Embeddings(reduction), key = SeuratObject::Key(reduction), assay = rna
  )
}

# One argument per line, for a list that is too long for a command line.
lines_argument <- function(flag, values, folder) {
  if (is.null(values)) {
    return(character())
  }
  path <- file.path(folder, paste0(sub("--", "", flag), ".txt"))
  writeLines(enc2utf8(values), path, useBytes = TRUE)
  c(flag, paste0("@", path))
}
