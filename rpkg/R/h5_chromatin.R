# Genome, sequence lengths, fragment files and gene annotation of a ChromatinAssay, to `uns` and back.

write_chromatin <- function(uns, assay) {
  info <- GenomeInfoDb::seqinfo(assay)
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

# One group per fragment file: its path, the cells it serves and the barcodes they have inside it.
write_fragments <- function(uns, fragments) {
  if (length(fragments) == 0L) {
    return(invisible())
  }
  node <- write_dict(uns, "fragments")
  for (number in seq_along(fragments)) {
    cells <- SeuratObject::Cells(fragments[[number]])
    barcodes <- Signac::GetFragmentData(fragments[[number]], "cells")
    write_value(node, as.character(number - 1L), list(
      path = scalar(Signac::GetFragmentData(fragments[[number]], "path")),
      cells = as.character(cells),
      barcodes = as.character(unname(barcodes))
    ))
  }
}

# Ranges as a data frame: chrom, start (from 0), end (half-open), strand, then their own columns.
ranges_frame <- function(ranges) {
  frame <- data.frame(
    chrom = factor(as.character(GenomeInfoDb::seqnames(ranges)), GenomeInfoDb::seqlevels(ranges)),
    start = IRanges::start(ranges) - 1L,
    end = IRanges::end(ranges),
    strand = factor(as.character(GenomicRanges::strand(ranges)), c("+", "-", "*"))
  )
  frame <- cbind(frame, storable_columns(as.data.frame(S4Vectors::mcols(ranges), optional = TRUE), "annotation"))
  rownames(frame) <- make.unique(names(ranges) %||% as.character(seq_along(ranges)))
  frame
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

# Coordinates from the columns of `var`, else from the names of the peaks; NULL where neither has them.
read_peaks <- function(node) {
  columns <- c("chrom", "start", "end")
  var <- h5_child(node, "var")
  if (!all(columns %in% h5_attribute(var, "column-order"))) {
    return(parse_peaks(make.unique(read_index(var))))
  }
  read_dataframe(var)[columns]
}

# Columns chrom, start, end (from 0, half-open) and perhaps strand as ranges (from 1, closed).
as_ranges <- function(frame) {
  chrom <- as.character(frame$chrom)
  levels <- if (is.factor(frame$chrom)) levels(frame$chrom) else unique(chrom)
  GenomicRanges::GRanges(
    factor(chrom, levels),
    IRanges::IRanges(as.integer(frame$start) + 1L, as.integer(frame$end)),
    strand = as.character(frame$strand %||% "*")
  )
}

peak_names <- function(ranges) {
  chrom <- as.character(GenomeInfoDb::seqnames(ranges))
  make.unique(paste(chrom, IRanges::start(ranges), IRanges::end(ranges), sep = "-", recycle0 = TRUE))
}

# From stored sequence lengths, never by the name of a genome: Signac would fetch those from the internet.
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
      "Fragment file {.path {entry$path}} is not there; the peaks come without it.",
      i = "Attach it where it is now by {.code Signac::Fragments(object[[\"peaks\"]]) <- Signac::CreateFragmentObject(path, cells)}."
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
  names(ranges) <- rownames(frame)
  S4Vectors::mcols(ranges) <- frame[setdiff(colnames(frame), c("chrom", "start", "end", "strand"))]
  ranges
}
