# Genome, sequence lengths, fragment files and gene annotation of a ChromatinAssay, to `uns` and back.

write_chromatin <- function(uns, assay) {
  info <- GenomeInfoDb::seqinfo(assay)
  if (!is.null(info) && length(info) > 0L) {
    write_dataframe(uns, "seqinfo", seqinfo_frame(info))
    genome <- unique(stats::na.omit(GenomeInfoDb::genome(info)))
    if (length(genome) == 1L) {
      write_scalar(uns, "genome", unname(genome))
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
    strand = factor(as.character(BiocGenerics::strand(ranges)), c("+", "-", "*"))
  )
  frame <- cbind(frame, storable_columns(as.data.frame(S4Vectors::mcols(ranges), optional = TRUE), "annotation"))
  rownames(frame) <- make.unique(names(ranges) %||% as.character(seq_along(ranges)))
  frame
}
