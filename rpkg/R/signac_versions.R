# What differs between Signac 1 and Signac 2. Signac 2 keeps peaks in a GRangesAssay (an Assay5 with ranges), features of any
# kind with fragments and annotation in a ChromatinAssay5, its parent, and a fragment file in a Fragment2.

# Signac's classes, of version 1 and of version 2.
CHROMATIN <- c("ChromatinAssay", "ChromatinAssay5", "GRangesAssay")

# Does the installed Signac have the function that makes an assay of a class?
signac_makes <- function(class) {
  rlang::is_installed("Signac") && paste0("Create", class) %in% getNamespaceExports("Signac")
}

builds_chromatin <- function() {
  signac_makes("ChromatinAssay") || signac_makes("GRangesAssay")
}

# The class for peaks of the installed Signac.
peak_class <- function() {
  if (signac_makes("ChromatinAssay")) "ChromatinAssay" else "GRangesAssay"
}

has_ranges <- function(assay) {
  inherits(assay, c("ChromatinAssay", "GRangesAssay"))
}

# Has the assay fragments, annotation and motifs, and can the installed Signac read them? Signac 1 has no methods for the
# classes of Signac 2.
has_chromatin <- function(assay) {
  inherits(assay, "ChromatinAssay") || (inherits(assay, "ChromatinAssay5") && signac_makes("ChromatinAssay5"))
}

warn_of_signac_2 <- function(assay, what) {
  if (inherits(assay, "ChromatinAssay5") && !has_chromatin(assay)) {
    cli::cli_warn(c(
      "The assay is of Signac 2's class {.cls {class(assay)[1]}}, and the installed Signac is older: {what}.",
      i = "Install Signac 2 to keep them."
    ))
  }
}

# The path of a Fragment or Fragment2. Where its index lies and how its contigs are renamed, which Signac 2 can note, has no
# place in the file: said if it is not as usual.
fragment_path <- function(fragments) {
  if (!inherits(fragments, "Fragment2")) {
    return(Signac::GetFragmentData(fragments, "path"))
  }
  path <- Signac::GetFragmentData(fragments, "file.path")
  index <- Signac::GetFragmentData(fragments, "file.index")
  if (!is.null(Signac::GetFragmentData(fragments, "seqlevels")) || !(basename(index) %in% paste0(basename(path), c(".tbi", ".csi")))) {
    cli::cli_warn(c(
      "Of fragment file {.path {path}} the path and the barcodes are kept; where its index is or how its contigs are renamed is not.",
      i = "After reading, make it again with {.code Signac::CreateFragmentObject(path, index, cells, seqlevels)}."
    ))
  }
  path
}

# `layer`: "counts" or "data". Signac warns of overlapping peaks; they are those that the user chose.
create_chromatin_assay <- function(values, layer, ranges, ...) {
  create <- if (peak_class() == "ChromatinAssay") Signac::CreateChromatinAssay else create_granges_assay
  arguments <- list(ranges = ranges, ..., validate.fragments = FALSE, verbose = FALSE)
  arguments[[layer]] <- values
  suppressWarnings(do.call(create, arguments))
}

# Signac 2 has the genome with the ranges, and takes motifs whose peaks have the names that it gives them.
create_granges_assay <- function(ranges, genome = NULL, motifs = NULL, ...) {
  refuse_equal_ranges(ranges)
  if (!is.null(genome) && all(GenomeInfoDb::seqlevels(ranges) %in% GenomeInfoDb::seqnames(genome))) {
    GenomeInfoDb::seqlevels(ranges) <- GenomeInfoDb::seqnames(genome)
    GenomeInfoDb::seqinfo(ranges) <- genome
  }
  create <- utils::getFromNamespace("CreateGRangesAssay", "Signac")
  assay <- create(ranges = ranges, ...)
  if (!is.null(motifs)) Signac::Motifs(assay) <- motifs
  assay
}

refuse_equal_ranges <- function(ranges) {
  names <- range_text(ranges, c(":", "-"))
  twice <- names[duplicated(names)]
  if (length(twice)) {
    cli::cli_abort(c(
      "The peaks of a {.cls GRangesAssay} must differ in their coordinates, but {length(twice)} occur{?s/} again, first {.val {twice[1]}}.",
      i = "Use {.code chromatin = FALSE}, or drop the peaks that occur again."
    ), call = NULL)
  }
}

# An assay of features without coordinates, with fragments and annotation (Signac 2 alone).
new_chromatin_assay5 <- function(node, layers, names, cells) {
  layers <- lapply(layers, `dimnames<-`, list(names, cells))
  first <- first_layer(layers)
  arguments <- list(
    layers[[first]], fragments = read_fragments(node, cells), annotation = read_annotation(node),
    validate.fragments = FALSE, verbose = FALSE
  )
  names(arguments)[1L] <- if (first == "data") "data" else "counts"
  assay <- do.call(utils::getFromNamespace("CreateChromatinAssay5", "Signac"), arguments)
  add_layers(assay, layers[setdiff(names(layers), first)])
}
