# Genome, sequence lengths, fragment files and gene annotation of Signac's assays: `uns` of their modality.

write_chromatin <- function(uns, assay) {
  info <- if (has_ranges(assay)) GenomeInfoDb::seqinfo(assay)
  if (!is.null(info) && length(info) > 0L) {
    write_dataframe(uns, "seqinfo", seqinfo_frame(info))
    genome <- unique(unname(GenomeInfoDb::genome(info)))
    if (length(genome) == 1L && !is.na(genome)) {
      write_scalar(uns, "genome", genome)
    }
  }
  write_fragments(uns, Signac::Fragments(assay))
  annotation <- Signac::Annotation(assay)
  if (length(annotation) > 0L) {
    write_dataframe(uns, "annotation", ranges_frame(annotation))
  }
}

seqinfo_frame <- function(info) {
  data.frame(
    length = GenomeInfoDb::seqlengths(info),
    circular = GenomeInfoDb::isCircular(info),
    genome = factor(GenomeInfoDb::genome(info)),
    row.names = GenomeInfoDb::seqnames(info)
  )
}

# A Seqinfo and not the name of the genome, because Signac would download the sequence lengths of a named genome.
read_seqinfo <- function(node, contigs) {
  uns <- h5_child(node, "uns")
  if (h5_has(uns, "seqinfo")) {
    frame <- read_value(h5_child(uns, "seqinfo"))
    return(GenomeInfoDb::Seqinfo(
      rownames(frame),
      seqlengths = as.integer(frame$length),
      isCircular = as.logical(frame$circular),
      genome = as.character(frame$genome)
    ))
  }
  if (h5_has(uns, "genome")) {
    GenomeInfoDb::Seqinfo(contigs, genome = as.character(read_value(h5_child(uns, "genome"))))
  }
}

# One group per fragment file: its path, its cells and the barcodes that they have in the file.
write_fragments <- function(uns, fragments) {
  if (length(fragments) == 0L) {
    return(invisible())
  }
  node <- write_dict(uns, "fragments")
  for (number in seq_along(fragments)) {
    cells <- SeuratObject::Cells(fragments[[number]])
    barcodes <- Signac::GetFragmentData(fragments[[number]], "cells")
    write_value(node, as.character(number - 1L), list(
      path = scalar(fragment_path(fragments[[number]])),
      cells = as.character(cells),
      barcodes = as.character(unname(barcodes))
    ))
  }
}

read_fragments <- function(node, cells) {
  uns <- h5_child(node, "uns")
  entries <- if (h5_has(uns, "fragments")) read_value(h5_child(uns, "fragments"))
  entries <- entries[order(as.integer(names(entries)))]
  if (length(entries) == 0L && h5_has(uns, "files") && h5_has(uns, "files/fragments")) {
    entries <- list(list(path = as.character(h5_read(h5_child(uns, "files/fragments"))), cells = cells, barcodes = cells))
  }
  Filter(Negate(is.null), unname(lapply(entries, new_fragments, cells)))
}

new_fragments <- function(entry, cells) {
  if (!file.exists(entry$path) && !grepl("^(https?|ftp)://", entry$path)) {
    cli::cli_warn(c(
      "Fragment file {.path {entry$path}} is not there; the peaks are read without it.",
      i = "Add it from where it is now with {.code Signac::Fragments(object[[\"peaks\"]]) <- Signac::CreateFragmentObject(path, cells)}."
    ))
    return(NULL)
  }
  kept <- entry$cells %in% cells
  Signac::CreateFragmentObject(
    entry$path,
    cells = rlang::set_names(entry$barcodes[kept], entry$cells[kept]),
    validate.fragments = FALSE,
    verbose = FALSE
  )
}

read_annotation <- function(node) {
  uns <- h5_child(node, "uns")
  if (!h5_has(uns, "annotation")) {
    return(NULL)
  }
  frame <- read_value(h5_child(uns, "annotation"))
  ranges <- as_ranges(frame)
  names(ranges) <- as.character(frame[[SHARED_NAMES]] %||% rownames(frame))
  S4Vectors::mcols(ranges) <- frame[setdiff(colnames(frame), c(PEAK_COLUMNS, "strand", SHARED_NAMES))]
  ranges
}
