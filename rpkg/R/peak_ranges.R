# Where peaks lie. In the file and in Python, positions are 0-based and half-open, as in BED; in a GRanges and in the
# names of peaks they are 1-based with both ends included. `end` is the same number in both, `start` differs by one.
# Every conversion between the two is in this file.

zero_based <- function(start) {
  start - 1L
}

one_based <- function(start) {
  start + 1L
}

PEAK_COLUMNS <- c("chrom", "start", "end")

# Signac's class, or the one that replaces it in Signac 2 and extends Assay5.
has_ranges <- function(assay) {
  inherits(assay, c("ChromatinAssay", "GRangesAssay"))
}

is_peak_assay <- function(assay, name) {
  has_ranges(assay) || tolower(name) %in% c("peaks", "atac")
}

# chrom, start, end (0-based, half-open) of the features of an assay: from its ranges, its feature metadata or the names
# of its peaks; NULL for an assay that has no peaks.
peak_coordinates <- function(assay, name, modality) {
  if (has_ranges(assay)) {
    ranges <- GenomicRanges::granges(assay)
    chrom <- as.character(GenomeInfoDb::seqnames(ranges))
    return(peak_table(chrom, IRanges::start(ranges), IRanges::end(ranges), rownames(assay)))
  }
  if (all(PEAK_COLUMNS %in% colnames(assay[[]]))) {
    return(assay[[]][PEAK_COLUMNS])
  }
  if (modality == "atac" || is_peak_assay(assay, name)) parse_peaks(rownames(assay))
}

# `start`: 1-based.
peak_table <- function(chrom, start, end, names) {
  data.frame(chrom = factor(chrom, unique(chrom)), start = zero_based(start), end = end, row.names = names)
}

# A range as text: chr1-5-9, chr1:5-9 or chr1_5_9. Read from the right, because the names of contigs may contain any of
# these separators. `digits`: the characters of a number.
range_pattern <- function(digits) {
  sprintf("^(.+)[-:_]([%1$s]+)[-_]([%1$s]+)$", digits)
}

# The coordinates that the names of peaks hold; NULL unless every name is a range. A suffix that made a name unique
# (chr1-5-9.1) is ignored.
parse_peaks <- function(names) {
  pattern <- range_pattern("0-9")
  plain <- sub("\\.[0-9]+$", "", names)
  if (length(names) == 0L || !all(grepl(pattern, plain))) {
    return(NULL)
  }
  part <- function(number) sub(pattern, paste0("\\", number), plain)
  peak_table(part(1), as.integer(part(2)), as.integer(part(3)), names)
}

# The coordinates of a modality of the file: from the columns of `var`, else from the names of the peaks; NULL if neither
# has them.
read_peaks <- function(node) {
  var <- h5_child(node, "var")
  if (!all(PEAK_COLUMNS %in% h5_attribute(var, "column-order"))) {
    return(parse_peaks(make.unique(read_index(var))))
  }
  read_dataframe(var)[PEAK_COLUMNS]
}

# A data frame with chrom, start, end (0-based, half-open) and perhaps strand, as GRanges.
as_ranges <- function(frame) {
  chrom <- as.character(frame$chrom)
  levels <- if (is.factor(frame$chrom)) levels(frame$chrom) else unique(chrom)
  GenomicRanges::GRanges(
    factor(chrom, levels),
    IRanges::IRanges(one_based(as.integer(frame$start)), as.integer(frame$end)),
    strand = as.character(frame$strand %||% "*")
  )
}

# The reverse: chrom, start, end, strand, then the metadata columns of the ranges.
ranges_frame <- function(ranges) {
  frame <- data.frame(
    chrom = factor(as.character(GenomeInfoDb::seqnames(ranges)), GenomeInfoDb::seqlevels(ranges)),
    start = zero_based(IRanges::start(ranges)),
    end = IRanges::end(ranges),
    strand = factor(as.character(GenomicRanges::strand(ranges)), c("+", "-", "*"))
  )
  frame <- cbind(frame, storable_columns(as.data.frame(S4Vectors::mcols(ranges), optional = TRUE), "annotation"))
  rownames(frame) <- make.unique(names(ranges) %||% as.character(seq_along(ranges)))
  frame
}

# Signac's names of peaks: chr1-5-9.
peak_names <- function(ranges) {
  make.unique(range_text(ranges, c("-", "-")))
}

range_text <- function(ranges, sep) {
  chrom <- as.character(GenomeInfoDb::seqnames(ranges))
  paste0(chrom, sep[1], IRanges::start(ranges), sep[2], IRanges::end(ranges), recycle0 = TRUE)
}

# Regions (text or GRanges, 1-based) as the command line takes them: chr1:4-9, 0-based and half-open. Chromosomes stay.
python_regions <- function(regions, chroms, call) {
  if (inherits(regions, "GRanges")) {
    regions <- range_text(regions, c(":", "-"))
  }
  if (!is.character(regions) || !length(regions) || anyNA(regions)) {
    cli::cli_abort("{.arg regions} must be text such as {.val chr1:1000-5000} or a {.cls GRanges}, not {.obj_type_friendly {regions}}.", call = call)
  }
  pattern <- range_pattern("0-9,")
  is_range <- grepl(pattern, regions) & !regions %in% chroms
  part <- function(number) sub(pattern, paste0("\\", number), regions[is_range])
  start <- zero_based(as.numeric(gsub(",", "", part(2))))
  regions[is_range] <- paste0(part(1), ":", number_text(pmax(start, 0)), "-", part(3), recycle0 = TRUE)
  regions
}

# The rows of the assay that are the peaks of a table from Python (row names; chrom, start, end): matched by name, else by
# coordinates; NA if neither is found.
rows_of_peaks <- function(table, assay, name) {
  rows <- match(rownames(table), names_in_file(assay))
  own <- peak_coordinates(assay, name, "atac")
  if (anyNA(rows) && !is.null(own) && !is.null(table$chrom)) {
    rows <- ifelse(is.na(rows), match(coordinate_keys(table), coordinate_keys(own)), rows)
  }
  rows
}

# Does the model have peaks that the assay lacks, by coordinates?
lacks_peaks <- function(assay, name, model) {
  known <- utils::read.csv(file.path(model, "peaks.csv"), colClasses = c(chrom = "character"), encoding = "UTF-8")
  own <- peak_coordinates(assay, name, "atac")
  !is.null(known$chrom) && !is.null(own) && !all(coordinate_keys(known) %in% coordinate_keys(own))
}

coordinate_keys <- function(table) {
  paste(table$chrom, number_text(table$start), number_text(table$end), recycle0 = TRUE)
}
