# New assays: from the layers of a file, or of the same class as another assay of the object.

# The class of the assay that a modality becomes: as noted in the file, Signac's class for peaks whose coordinates are
# known, else Seurat's default.
assay_class <- function(node, modality, chromatin) {
  noted <- read_note(node, "class")
  if (identical(noted, "ChromatinAssay5") && identical(chromatin, "auto") && signac_makes(noted)) {
    return(noted)
  }
  if (becomes_chromatin(node, modality, noted, chromatin)) {
    return(peak_class())
  }
  old <- identical(getOption("Seurat.object.assay.version"), "v3")
  switch(noted %||% "", Assay = "Assay", Assay5 = "Assay5", if (old) "Assay" else "Assay5")
}

# `chromatin`: "auto", TRUE, FALSE, or names of modalities.
becomes_chromatin <- function(node, modality, noted, chromatin) {
  if (is.character(chromatin) && !identical(chromatin, "auto")) {
    return(modality %in% chromatin)
  }
  if (isFALSE(chromatin) || !holds_peaks(node, modality, noted)) {
    return(FALSE)
  }
  if (isTRUE(chromatin)) {
    return(!is.null(read_peaks(node)))
  }
  has_columns(node) && (noted %||% "ChromatinAssay") %in% CHROMATIN && builds_chromatin()
}

# Coordinates alone do not make peaks of features, for genes may have them too: a modality holds peaks if it was a
# ChromatinAssay in R, is called atac or peaks, says so in `feature_types`, or names its features by their coordinates.
holds_peaks <- function(node, modality, noted) {
  if ((noted %||% "") %in% CHROMATIN || tolower(modality) %in% c("atac", "peaks")) {
    return(TRUE)
  }
  var <- h5_child(node, "var")
  if ("feature_types" %in% h5_attribute(var, "column-order")) {
    types <- as.character(read_value(h5_child(var, "feature_types")))
    return(length(types) > 0L && all(types %in% c("Peaks", "ATAC", "Chromatin Accessibility")))
  }
  all(grepl(RANGE, read_index(var)))
}

has_columns <- function(node) {
  all(PEAK_COLUMNS %in% h5_attribute(h5_child(node, "var"), "column-order"))
}

new_assay <- function(class, layers, names, cells) {
  layers <- lapply(layers, `dimnames<-`, list(names, cells))
  first <- first_layer(layers)
  create <- if (class == "Assay5") SeuratObject::CreateAssay5Object else SeuratObject::CreateAssayObject
  assay <- if (first == "data") create(data = layers[[first]]) else create(counts = layers[[first]])
  add_layers(assay, layers[setdiff(names(layers), first)])
}

# The layer that an assay is created from; the others are added to it.
first_layer <- function(layers) {
  c(intersect(c("counts", "data"), names(layers)), names(layers))[[1L]]
}

# Assay and ChromatinAssay have three layers only; others of the file are left out.
add_layers <- function(assay, layers) {
  if (!inherits(assay, "Assay5")) {
    layers <- layers[intersect(names(layers), c("counts", "data", "scale.data"))]
  }
  for (name in names(layers)) {
    SeuratObject::LayerData(assay, layer = name) <- layers[[name]]
  }
  assay
}

# A ChromatinAssay with the layers (peaks x cells) and the ranges of the file; Signac names the peaks by their ranges.
# `features`: the node that has the peaks.
new_chromatin_assay <- function(node, layers, cells, features = node) {
  ranges <- as_ranges(read_peaks(features) %||% cli::cli_abort(c(
    "A {.cls ChromatinAssay} needs the columns {.val chrom}, {.val start} and {.val end}, or names such as {.val chr1:100-200}.",
    i = "Name modalities of peaks in {.arg chromatin}."
  ), call = NULL))
  layers <- lapply(layers, `dimnames<-`, list(peak_names(ranges), cells))
  first <- first_layer(layers)
  assay <- create_chromatin_assay(
    layers[[first]], if (first == "data") "data" else "counts", ranges,
    genome = read_seqinfo(node, GenomeInfoDb::seqlevels(ranges)),
    fragments = read_fragments(node, cells),
    annotation = read_annotation(node)
  )
  add_layers(assay, lapply(layers[setdiff(names(layers), first)], `rownames<-`, rownames(assay)))
}

check_chromatin <- function(chromatin, call = rlang::caller_env()) {
  if (!(rlang::is_bool(chromatin) || (is.character(chromatin) && length(chromatin) && !anyNA(chromatin)))) {
    cli::cli_abort("{.arg chromatin} must be TRUE, FALSE, \"auto\" or names of modalities, not {.obj_type_friendly {chromatin}}.", call = call)
  }
  if (!isFALSE(chromatin) && !identical(chromatin, "auto")) {
    rlang::check_installed("Signac", "to build a ChromatinAssay.", call = call)
    if (!builds_chromatin()) {
      cli::cli_abort(c(
        "{.code chromatin = TRUE} needs a version of Signac that has {.fn CreateChromatinAssay} or {.fn CreateGRangesAssay}; version {utils::packageVersion('Signac')} has neither.",
        i = "Use {.code chromatin = FALSE}, and convert the assay to Signac's new class."
      ), call = call)
    }
  }
  chromatin
}

check_some_chromatin <- function(parts, call = rlang::caller_env()) {
  if (!any(vapply(parts, function(part) inherits(part$assay, CHROMATIN), logical(1)))) {
    cli::cli_abort(c(
      "{.code chromatin = TRUE} needs a modality of peaks, with the columns {.val chrom}, {.val start} and {.val end} or names such as {.val chr1:100-200}: there is none.",
      i = "Use {.code chromatin = FALSE}, or add the columns to {.code mdata[\"atac\"].var} in Python."
    ), call = call)
  }
}

# An assay of the class of `source` with the imputed values (peaks x cells) as layer `data`. `imputed`: what in_order_of()
# returns, for the peaks.
assay_like <- function(source, values, imputed) {
  if (any(dim(values) < 2)) {
    cli::cli_abort(c(
      "An assay must have at least two peaks and two cells, but these are {nrow(values)} and {ncol(values)}.",
      i = "Choose more, or take means by {.arg group.by}, which come as a matrix."
    ), call = NULL)
  }
  assay <- if (has_ranges(source) && has_chromatin(source)) {
    chromatin_like(source, values, imputed)
  } else if (inherits(source, "StdAssay")) {
    warn_of_signac_2(source, "the values come as a plain Assay5, without its ranges, fragments and annotation")
    # Layers of an Assay5 are usually sparse, or on disk.
    SeuratObject::CreateAssay5Object(data = as_dgCMatrix(values))
  } else {
    SeuratObject::CreateAssayObject(data = values)
  }
  with_metadata_of(assay, source, imputed$rows)
}

chromatin_like <- function(source, values, imputed) {
  known <- !anyNA(imputed$rows)
  ranges <- if (known) GenomicRanges::granges(source)[imputed$rows] else as_ranges(imputed$peaks)
  motifs <- if (known) Signac::Motifs(source)
  create_chromatin_assay(
    values, "data", ranges,
    genome = genome_for(ranges, GenomeInfoDb::seqinfo(source)),
    fragments = Signac::Fragments(source), annotation = Signac::Annotation(source),
    motifs = if (!is.null(motifs)) subset(motifs, features = rownames(values))
  )
}

# Counts (peaks of `source` x other cells) as an assay: with ranges where `source` has them, else an Assay5.
counted_like <- function(source, counts) {
  if (!(has_ranges(source) && has_chromatin(source))) {
    warn_of_signac_2(source, "the counts come as a plain Assay5, without its ranges and annotation")
    return(SeuratObject::CreateAssay5Object(counts = counts))
  }
  ranges <- GenomicRanges::granges(source)
  create_chromatin_assay(
    counts, "counts", ranges,
    genome = genome_for(ranges, GenomeInfoDb::seqinfo(source)), annotation = Signac::Annotation(source)
  )
}

# The source's genome, if it knows every chromosome of the ranges.
genome_for <- function(ranges, info) {
  if (!is.null(info) && all(GenomeInfoDb::seqlevels(ranges) %in% GenomeInfoDb::seqnames(info))) info
}

# Adds the feature metadata of the source, if every feature is one of its rows.
with_metadata_of <- function(assay, source, rows) {
  columns <- source[[]][setdiff(colnames(source[[]]), c("var.features", "var.features.rank"))]
  if (anyNA(rows) || ncol(columns) == 0L) {
    return(assay)
  }
  columns <- columns[rows, , drop = FALSE]
  rownames(columns) <- rownames(assay)
  SeuratObject::AddMetaData(assay, columns)
}

# Adds the assay, or replaces the one of that name. Seurat compares a replaced assay with the new one and cannot remove the
# default assay: the old one is removed first, with `source` as the default meanwhile.
put_assay <- function(object, assay, name, source) {
  active <- SeuratObject::DefaultAssay(object)
  if (name %in% SeuratObject::Assays(object)) {
    SeuratObject::DefaultAssay(object) <- source
    object[[name]] <- NULL
  }
  SeuratObject::Key(assay) <- unused_key(object, name, make_key(tolower(name)))
  # Seurat warns that there are no counts to sum per cell.
  suppressWarnings(object[[name]] <- assay)
  SeuratObject::DefaultAssay(object) <- active
  object
}
