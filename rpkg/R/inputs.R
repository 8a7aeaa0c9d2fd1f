# What R hands to Python: an .h5mu file with no more than the command needs, and options.

# `assays`: named by modality; `layer`: the layer of each, NA for none; `meta`: columns as split_columns() returns them.
# Where peaks lie is always written.
write_for_python <- function(path, object, assays, meta, layer = rep("counts", length(assays)), reference = NULL) {
  options <- list(
    layer = rlang::set_names(layer, assays), layers = NULL, features = FALSE, chromatin = FALSE, gzip = 0L,
    names = training_names
  )
  write_atomically(path, FALSE, function(path) {
    write_mudata(path, object, assays, as.character(reference), character(), meta, options)
  })
}

# Both assays, the reference, and columns of the metadata (`batch` as factors, `covariates` as they are): in the global obs,
# or in each modality's with `own`.
write_input <- function(object, path, rna, atac, reference, columns, own = FALSE) {
  if (!is.null(reference)) {
    object[[reference]] <- bare_reduction(object[[reference]], rna)
  }
  rna_layer <- if (has_counts(object, rna)) "counts" else NA
  if (is.na(rna_layer)) {
    columns$covariates <- c(columns$covariates, intersect(paste0("nCount_", c("RNA", rna)), colnames(object[[]])))
  }
  assays <- c(rna = rna, atac = atac)
  meta <- chosen_columns(object, columns, if (own) assays)
  write_for_python(path, object, assays, meta, c(rna_layer, "counts"), reference)
}

# The counts of the peak assay under the name of the model's modality, and columns: a data frame with one row per cell.
write_peaks <- function(path, object, assay, modality, columns = object[[]][character()]) {
  write_for_python(path, object, rlang::set_names(assay, modality), list(global = columns, own = list()))
}

chosen_columns <- function(object, columns, own_assays = NULL) {
  meta <- check_meta_data(object, unique(as.character(unlist(columns))))
  meta <- with_factors(meta, columns$batch)
  if (is.null(own_assays)) {
    return(list(global = meta, own = list()))
  }
  list(global = meta[character()], own = rlang::set_names(rep(list(meta), length(own_assays)), own_assays))
}

# Without loadings, and of the RNA assay, whichever assay it was made from.
bare_reduction <- function(reduction, rna) {
  SeuratObject::CreateDimReducObject(
    embeddings = SeuratObject::Embeddings(reduction), key = SeuratObject::Key(reduction), assay = rna
  )
}

# An option with several values, each of which follows the flag and an equals sign: whatever signs it has, Python takes it
# for no option.
flag_values <- function(flag, values) {
  paste0(flag, "=", utf8(as.character(values)), recycle0 = TRUE)
}
