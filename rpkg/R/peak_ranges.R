# Where peaks lie. In the file and in Python, positions are 0-based and half-open, as in BED; in a GRanges and in the
# names that Signac gives to peaks they are 1-based with both ends included. `end` is the same number in both, `start`
# differs by one. Every conversion between the two is in this file.

zero_based <- function(start) {
  start - 1L
}

one_based <- function(start) {
  start + 1L
}

PEAK_COLUMNS <- c("chrom", "start", "end")

is_peak_assay <- function(assay, name) {
  has_ranges(assay) || tolower(name) %in% c("peaks", "atac")
}

# chrom, start, end (0-based, half-open) of the features of an assay: from its ranges, its feature metadata or the names
# that its peaks have in the file; NULL for an assay that has no peaks.
peak_coordinates <- function(assay, name, modality) {
  if (has_ranges(assay)) {
    ranges <- GenomicRanges::granges(assay)
    chrom <- as.character(GenomeInfoDb::seqnames(ranges))
    return(peak_table(chrom, IRanges::start(ranges), IRanges::end(ranges), rownames(assay)))
  }
  if (modality != "atac" && !is_peak_assay(assay, name)) {
    return(NULL)
  }
  if (all(PEAK_COLUMNS %in% colnames(assay[[]]))) {
    return(as_positions(assay[[]][PEAK_COLUMNS], name))
  }
  found <- parse_peaks(names_in_file(assay))
  if (!is.null(found)) `rownames<-`(found, rownames(assay))
}

# `start`: 1-based.
peak_table <- function(chrom, start, end, names) {
  data.frame(chrom = factor(chrom, unique(chrom)), start = zero_based(start), end = end, row.names = names)
}

# A range as text: chr1-5-9, chr1:5-9 or chr1_5_9, perhaps with thousands separators. Read from the right, because the
# names of contigs may contain any of the separators. The parts: contig, separator, start, separator, end.
RANGE <- "^(.+)([-:_])([0-9][0-9,]*)([-_])([0-9][0-9,]*)$"

range_part <- function(texts, number) {
  sub(RANGE, paste0("\\", number), texts)
}

# The coordinates that the names of peaks hold; NULL unless every name is a range. Two hyphens, as Signac writes them, count
# from 1; all other forms are those of BED files and count from 0. A suffix that made a name unique (chr1-5-9.1) is ignored.
parse_peaks <- function(names) {
  plain <- sub("\\.[0-9]+$", "", names)
  if (length(names) == 0L || !all(grepl(RANGE, plain))) {
    return(NULL)
  }
  from_one <- range_part(plain, 2) == "-" & range_part(plain, 4) == "-"
  start <- as_whole_positions(range_part(plain, 3), "start", names)
  start[from_one] <- pmax(zero_based(start[from_one]), 0L)
  end <- as_whole_positions(range_part(plain, 5), "end", names)
  chrom <- range_part(plain, 1)
  data.frame(chrom = factor(chrom, unique(chrom)), start = start, end = end, row.names = make.unique(names))
}

# The columns chrom, start, end as a factor and integers, whatever their type is: text, perhaps with thousands separators,
# factors or numbers.
as_positions <- function(table, where) {
  if (anyNA(table)) {
    lacking <- rownames(table)[rowSums(is.na(table)) > 0]
    cli::cli_abort(c(
      "Every peak must have {.val chrom}, {.val start} and {.val end}, but {length(lacking)} of {.val {where}} lack one, first {.val {lacking[1]}}.",
      i = "Complete or drop them."
    ), call = NULL)
  }
  if (!is.factor(table$chrom)) table$chrom <- factor(table$chrom, unique(table$chrom))
  for (column in c("start", "end")) {
    table[[column]] <- as_whole_positions(table[[column]], column, rownames(table))
  }
  table
}

as_whole_positions <- function(values, what, names) {
  if (is.factor(values)) values <- as.character(values)
  numbers <- if (is.character(values)) suppressWarnings(as.numeric(gsub(",", "", values, fixed = TRUE))) else as.numeric(values)
  bad <- is.na(numbers) | numbers < 0 | numbers != floor(numbers) | numbers > .Machine$integer.max
  if (any(bad)) {
    cli::cli_abort(c(
      "{.val {what}} of a peak must be a whole number from 0 to 2^31 - 1, but {sum(bad)} {?is/are} none, first {.val {values[bad][1]}} of {.val {names[bad][1]}}.",
      i = "Correct them, or leave this modality out with {.arg assays}."
    ), call = NULL)
  }
  as.integer(numbers)
}

# The coordinates of a modality of the file: from the columns of `var`, else from the names of the peaks; NULL if neither
# has them.
read_peaks <- function(node) {
  var <- h5_child(node, "var")
  if (!all(PEAK_COLUMNS %in% h5_attribute(var, "column-order"))) {
    return(parse_peaks(read_index(var)))
  }
  as_positions(read_dataframe(var)[PEAK_COLUMNS], "the file")
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

# Column of a table of ranges with their names, if they are not unique.
SHARED_NAMES <- "range_name"

# The reverse: chrom, start, end, strand, then the metadata columns of the ranges.
ranges_frame <- function(ranges) {
  frame <- data.frame(
    chrom = factor(as.character(GenomeInfoDb::seqnames(ranges)), GenomeInfoDb::seqlevels(ranges)),
    start = zero_based(IRanges::start(ranges)),
    end = IRanges::end(ranges),
    strand = factor(as.character(GenomicRanges::strand(ranges)), c("+", "-", "*"))
  )
  frame <- cbind(frame, storable_columns(as.data.frame(S4Vectors::mcols(ranges), optional = TRUE), "annotation"))
  if (anyDuplicated(names(ranges))) frame[[SHARED_NAMES]] <- names(ranges) # exons of several transcripts
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
  is_range <- grepl(RANGE, regions) & !regions %in% chroms
  part <- function(number) range_part(regions[is_range], number)
  start <- zero_based(as.numeric(gsub(",", "", part(3))))
  regions[is_range] <- paste0(part(1), ":", number_text(pmax(start, 0)), "-", part(5), recycle0 = TRUE)
  regions
}

# The rows of the assay that are the peaks of a table from Python (row names; chrom, start, end): matched by name, else by
# coordinates; NA if neither is found.
rows_of_peaks <- function(table, assay, name) {
  rows <- match(rownames(table), training_names(assay))
  own <- peak_coordinates(assay, name, "atac")
  if (anyNA(rows) && !is.null(own) && !is.null(table$chrom)) {
    rows <- ifelse(is.na(rows), match(coordinate_keys(table), coordinate_keys(own)), rows)
  }
  rows
}

# Does the model have peaks that the assay lacks, by coordinates and by name?
lacks_peaks <- function(assay, name, model) {
  known <- utils::read.csv(file.path(model, "peaks.csv"), colClasses = c(peak = "character", chrom = "character"), encoding = "UTF-8")
  own <- peak_coordinates(assay, name, "atac")
  if (is.null(known$chrom) || is.null(own)) {
    return(FALSE)
  }
  by_name <- name_keys(known$peak) %in% name_keys(names_in_file(assay))
  !all(by_name | coordinate_keys(known) %in% coordinate_keys(own))
}

# Names of peaks in one form, as Signac writes them, so that chr1:5-9 and chr1_5_9 are the same; others stay as they are.
name_keys <- function(names) {
  is_range <- grepl(RANGE, names)
  part <- function(number) gsub(",", "", range_part(names[is_range], number), fixed = TRUE)
  names[is_range] <- paste(gsub("[_|]", "-", range_part(names[is_range], 1)), part(3), part(5), sep = "-", recycle0 = TRUE)
  names
}

coordinate_keys <- function(table) {
  paste(table$chrom, number_text(table$start), number_text(table$end), recycle0 = TRUE)
}
