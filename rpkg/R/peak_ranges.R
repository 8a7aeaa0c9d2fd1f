# Where peaks lie. In Python and in the file, positions are 0-based and half-open, as in BED; in R and in the names of
# peaks they are 1-based and both ends are included. Only the start differs, by one: all of that arithmetic is here.

# Signac's class, or the one that takes its place in Signac 2 and builds on Assay5.
has_ranges <- function(assay) {
  inherits(assay, c("ChromatinAssay", "GRangesAssay"))
}

is_peak_assay <- function(assay, name) {
  has_ranges(assay) || tolower(name) %in% c("peaks", "atac")
}

# chrom, start, end of each peak: 0-based, half-open. R counts from 1 and closed, so only the start differs, by one.
peak_coordinates <- function(assay, name, modality) {
  if (has_ranges(assay)) {
    ranges <- as.data.frame(GenomicRanges::granges(assay), row.names = rownames(assay))
    return(data.frame(
      chrom = factor(as.character(ranges$seqnames), unique(as.character(ranges$seqnames))),
      start = ranges$start - 1L,
      end = ranges$end,
      row.names = rownames(assay)
    ))
  }
  if (all(c("chrom", "start", "end") %in% colnames(assay[[]]))) {
    return(assay[[]][c("chrom", "start", "end")])
  }
  if (modality == "atac" || is_peak_assay(assay, name)) {
    return(parse_peaks(rownames(assay)))
  }
  NULL
}

# Reads chr1-5-9, chr1:5-9 and chr1_5_9 from the right, for contigs may hold any of these signs. Names count as
# Signac counts them: from 1, closed. NULL where a name is of no such form.
parse_peaks <- function(names) {
  pattern <- "^(.+)[-:_]([0-9]+)[-_]([0-9]+)$"
  plain <- sub("\\.[0-9]+$", "", names)
  if (length(names) == 0L || !all(grepl(pattern, plain))) {
    return(NULL)
  }
  chrom <- sub(pattern, "\\1", plain)
  data.frame(
    chrom = factor(chrom, unique(chrom)),
    start = as.integer(sub(pattern, "\\2", plain)) - 1L,
    end = as.integer(sub(pattern, "\\3", plain)),
    row.names = names
  )
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

peak_names <- function(ranges) {
  chrom <- as.character(GenomeInfoDb::seqnames(ranges))
  make.unique(paste(chrom, IRanges::start(ranges), IRanges::end(ranges), sep = "-", recycle0 = TRUE))
}

# From 1 and both ends included, to from 0 and half-open: only the start differs.
python_regions <- function(regions, chroms, call) {
  if (inherits(regions, "GRanges")) {
    regions <- paste0(GenomeInfoDb::seqnames(regions), ":", IRanges::start(regions), "-", IRanges::end(regions))
  }
  if (!is.character(regions) || !length(regions) || anyNA(regions)) {
    cli::cli_abort("{.arg regions} must be text such as {.val chr1:1000-5000} or a {.cls GRanges}, not {.obj_type_friendly {regions}}.", call = call)
  }
  pattern <- "^(.+)[-:_]([0-9,]+)[-_]([0-9,]+)$"
  whole <- regions %in% chroms | !grepl(pattern, regions)
  start <- as.numeric(gsub(",", "", sub(pattern, "\\2", regions[!whole])))
  regions[!whole] <- paste0(sub(pattern, "\\1", regions[!whole]), ":", number_text(pmax(start - 1, 0)), "-", sub(pattern, "\\3", regions[!whole]))
  regions
}

coordinate_keys <- function(table) {
  paste(table$chrom, number_text(table$start), number_text(table$end), recycle0 = TRUE)
}

# Positions in the assay of the peaks of a table of Python's (row names; chrom, start, end); NA for others.
rows_of_peaks <- function(table, assay, name) {
  rows <- match(rownames(table), file_names(assay))
  own <- peak_coordinates(assay, name, "atac")
  if (anyNA(rows) && !is.null(own) && !is.null(table$chrom)) {
    rows <- ifelse(is.na(rows), match(coordinate_keys(table), coordinate_keys(own)), rows)
  }
  rows
}

# Are there peaks of the model that the assay has not, by coordinates?
lacks_peaks <- function(assay, name, model) {
  known <- utils::read.csv(file.path(model, "peaks.csv"), colClasses = c(chrom = "character"), encoding = "UTF-8")
  own <- peak_coordinates(assay, name, "atac")
  !is.null(known$chrom) && !is.null(own) && !all(coordinate_keys(known) %in% coordinate_keys(own))
}
