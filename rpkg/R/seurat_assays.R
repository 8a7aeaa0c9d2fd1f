# New assays: of the layers of a file, or of the same class as another assay.

assay_class <- function(node, chromatin) {
  noted <- read_note(node, "class")
  peaks <- all(c("chrom", "start", "end") %in% h5_attribute(h5_child(node, "var"), "column-order"))
  if (identical(chromatin, "auto")) {
    chromatin <- peaks && (noted %||% "ChromatinAssay") == "ChromatinAssay" && builds_chromatin()
  } else if (chromatin) {
    peaks <- !is.null(read_peaks(node))
  }
  if (chromatin && peaks) {
    return("ChromatinAssay")
  }
  old <- identical(getOption("Seurat.object.assay.version"), "v3")
  switch(noted %||% "", Assay = "Assay", Assay5 = "Assay5", if (old) "Assay" else "Assay5")
}

new_assay <- function(class, layers, names, cells) {
  layers <- lapply(layers, `dimnames<-`, list(names, cells))
  first <- c(intersect(c("counts", "data"), names(layers)), names(layers))[[1L]]
  create <- if (class == "Assay5") SeuratObject::CreateAssay5Object else SeuratObject::CreateAssayObject
  assay <- if (first == "data") create(data = layers[[first]]) else create(counts = layers[[first]])
  add_layers(assay, layers[setdiff(names(layers), first)])
}

# Assays of the older kinds know three layers only.
add_layers <- function(assay, layers) {
  if (!inherits(assay, "Assay5")) {
    layers <- layers[intersect(names(layers), c("counts", "data", "scale.data"))]
  }
  for (name in names(layers)) {
    SeuratObject::LayerData(assay, layer = name) <- layers[[name]]
  }
  assay
}

# A ChromatinAssay of the layers (peaks x cells), which it names by their coordinates.
new_chromatin_assay <- function(node, layers, cells) {
  ranges <- as_ranges(read_peaks(node))
  layers <- lapply(layers, `dimnames<-`, list(peak_names(ranges), cells))
  first <- c(intersect(c("counts", "data"), names(layers)), names(layers))[[1L]]
  arguments <- list(
    ranges = ranges,
    genome = read_seqinfo(node, GenomeInfoDb::seqlevels(ranges)),
    fragments = read_fragments(node, cells),
    annotation = read_annotation(node),
    validate.fragments = FALSE,
    verbose = FALSE
  )
  arguments[[if (first == "data") "data" else "counts"]] <- layers[[first]]
  # Overlapping peaks are the user's own; that Signac had rather none is no news at this point.
  assay <- suppressWarnings(do.call(Signac::CreateChromatinAssay, arguments))
  add_layers(assay, lapply(layers[setdiff(names(layers), first)], `rownames<-`, rownames(assay)))
}

check_chromatin <- function(chromatin) {
  if (!(rlang::is_bool(chromatin) || identical(chromatin, "auto"))) {
    cli::cli_abort("{.arg chromatin} must be TRUE, FALSE or \"auto\", not {.obj_type_friendly {chromatin}}.")
  }
  if (isTRUE(chromatin)) {
    rlang::check_installed("Signac", "to build a ChromatinAssay.")
    if (!builds_chromatin()) {
      cli::cli_abort(c(
        "{.code chromatin = TRUE} needs a Signac that has {.fn CreateChromatinAssay}, but version {utils::packageVersion('Signac')} has not.",
        i = "Use {.code chromatin = FALSE}, and make Signac's new class from the assay."
      ))
    }
  }
  chromatin
}

builds_chromatin <- function() {
  rlang::is_installed("Signac") && "CreateChromatinAssay" %in% getNamespaceExports("Signac")
}

check_some_chromatin <- function(parts, call = rlang::caller_env()) {
  if (!any(vapply(parts, function(part) inherits(part$assay, "ChromatinAssay"), logical(1)))) {
    cli::cli_abort(c(
      "{.code chromatin = TRUE} needs a modality of peaks, with the columns {.val chrom}, {.val start} and {.val end} or names such as {.val chr1:100-200}: there is none.",
      i = "Use {.code chromatin = FALSE}, or add the columns to {.code mdata[\"atac\"].var} in Python."
    ), call = call)
  }
}

# The values (peaks x cells) as layer `data` of an assay of the same class.
assay_like <- function(source, values, imputed) {
  if (any(dim(values) < 2)) {
    cli::cli_abort(c(
      "An assay must have at least two peaks and two cells, but these are {nrow(values)} and {ncol(values)}.",
      i = "Choose more, or take means by {.arg group.by}, which come as a matrix."
    ), call = NULL)
  }
  if (inherits(source, "ChromatinAssay")) {
    return(chromatin_like(source, values, imputed))
  }
  if (!inherits(source, "StdAssay")) {
    return(with_metadata_of(SeuratObject::CreateAssayObject(data = values), source, imputed$rows))
  }
  say_plain(source, "the values come as a plain Assay5, without its ranges, fragments and annotation")
  # Layers of a v5 assay are sparse, or on disk.
  assay <- SeuratObject::CreateAssay5Object(data = as_dgCMatrix(values))
  with_metadata_of(assay, source, imputed$rows)
}

counted_like <- function(source, counts) {
  if (!inherits(source, "ChromatinAssay")) {
    say_plain(source, "the counts come as a plain Assay5, without its ranges and annotation")
    return(SeuratObject::CreateAssay5Object(counts = counts))
  }
  ranges <- GenomicRanges::granges(source)
  suppressWarnings(Signac::CreateChromatinAssay(
    counts = counts, ranges = ranges, genome = genome_for(ranges, GenomeInfoDb::seqinfo(source)),
    annotation = Signac::Annotation(source), min.cells = 0, min.features = -1, verbose = FALSE
  ))
}

chromatin_like <- function(source, values, imputed) {
  known <- !anyNA(imputed$rows)
  ranges <- if (known) GenomicRanges::granges(source)[imputed$rows] else as_ranges(imputed$peaks)
  motifs <- if (known) Signac::Motifs(source)
  # Overlapping peaks are the user's own; that Signac had rather none is no news at this point.
  assay <- suppressWarnings(Signac::CreateChromatinAssay(
    data = values, ranges = ranges,
    genome = genome_for(ranges, GenomeInfoDb::seqinfo(source)),
    fragments = Signac::Fragments(source), annotation = Signac::Annotation(source),
    motifs = if (!is.null(motifs)) subset(motifs, features = rownames(values)),
    validate.fragments = FALSE, verbose = FALSE
  ))
  with_metadata_of(assay, source, imputed$rows)
}

# The source's genome, if it has one that knows all the chromosomes.
genome_for <- function(ranges, info) {
  if (!is.null(info) && all(GenomeInfoDb::seqlevels(ranges) %in% GenomeInfoDb::seqnames(info))) info
}

# Feature metadata of the source, which says where peaks lie and what they are.
with_metadata_of <- function(assay, source, rows) {
  columns <- source[[]][setdiff(colnames(source[[]]), c("var.features", "var.features.rank"))]
  if (anyNA(rows) || ncol(columns) == 0L) {
    return(assay)
  }
  columns <- columns[rows, , drop = FALSE]
  rownames(columns) <- rownames(assay)
  SeuratObject::AddMetaData(assay, columns)
}

# An assay of that name goes first, for Seurat compares the two; the default assay cannot go.
put_assay <- function(object, assay, name, source) {
  active <- SeuratObject::DefaultAssay(object)
  if (name %in% SeuratObject::Assays(object)) {
    SeuratObject::DefaultAssay(object) <- source
    object[[name]] <- NULL
  }
  SeuratObject::Key(assay) <- unused_key(object, name, make_key(tolower(name)))
  # Seurat looks for counts to sum per cell, which probabilities have not.
  suppressWarnings(object[[name]] <- assay)
  SeuratObject::DefaultAssay(object) <- active
  object
}

# Of Signac 2's classes, counts and ranges are taken, and no more is promised.
say_plain <- function(assay, what) {
  if (inherits(assay, "ChromatinAssay5")) {
    cli::cli_warn("The assay is of Signac 2's class {.cls {class(assay)[1]}}: {what}.")
  }
}
