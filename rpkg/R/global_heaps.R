# Damaged global heaps of an HDF5 file, in which text lies: the HDF5 library (1.14 and before) would read one for ever, and R
# could not be interrupted. Source: HDF5 File Format Specification, III.E "Global Heap".

# Larger files are not searched, because that would take as much memory.
MOST_BYTES_SEARCHED <- 2^28

# Whether HDF5 would never return from reading a text of the file: a free object of a heap has the size 0, at which the
# library's loop over the objects stands still. All heaps are walked over at once.
has_endless_heap <- function(file) {
  size <- file.size(file)
  if (is.na(size) || size > MOST_BYTES_SEARCHED) {
    return(FALSE)
  }
  bytes <- readBin(file, "raw", size)
  starts <- grepRaw(as.raw(c(0x47, 0x43, 0x4f, 0x4c, 1, 0, 0, 0)), bytes, fixed = TRUE, all = TRUE) - 1
  starts <- starts[starts %% 8 == 0 & starts + 16 <= size]
  ends <- pmin(starts + numbers_at(bytes, starts + 8, 8), size)
  at <- starts + 16
  while (any(going <- at + 16 <= ends)) {
    at <- at[going]
    ends <- ends[going]
    free <- numbers_at(bytes, at, 2) == 0
    length <- numbers_at(bytes, at + 8, 8)
    if (any(free & length == 0)) {
      return(TRUE)
    }
    at <- at + ifelse(free, length, 16 + 8 * ceiling(length / 8))
  }
  FALSE
}

# Whole numbers of some bytes, the lowest first, at positions that count from 0.
numbers_at <- function(bytes, at, n_bytes) {
  Reduce(`+`, lapply(seq_len(n_bytes), function(k) as.integer(bytes[at + k]) * 256^(k - 1)), numeric(length(at)))
}
