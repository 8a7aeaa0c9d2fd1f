# The levels of batches as text: one rule for both languages (bridge/FORMAT.md, "Levels"). Batches are written as factors, so
# that a column means the same in every object and file, whatever its type is there.

# 1 and 1L become "1", TRUE becomes "True", 0.5 becomes "0.5"; text and the levels of a factor stay.
level_text <- function(values) {
  if (is.factor(values)) {
    return(as.character(values))
  }
  if (is.logical(values)) {
    return(ifelse(values, "True", "False"))
  }
  if (!is.numeric(values)) {
    return(as.character(values))
  }
  distinct <- unique(values[!is.na(values)])
  decimal_text(distinct)[match(values, distinct)]
}

# As Python writes numbers: the shortest text that is the same number, with an exponent below 0.0001 and from 1e16 on.
decimal_text <- function(x) {
  vapply(x, function(value) {
    if (is.finite(value) && abs(value) < 1e15 && value == round(value)) {
      return(sprintf("%.0f", value))
    }
    digits <- Find(function(digits) as.numeric(format(value, digits = digits, scientific = TRUE)) == value, 1:17)
    exponent <- floor(log10(abs(value)))
    format(value, digits = digits %||% 17, scientific = exponent < -4 || exponent >= 16)
  }, character(1))
}

# A column as a factor, its levels in the order of the factor's, else sorted.
level_factor <- function(values) {
  if (is.factor(values)) values else factor(level_text(values), level_text(sort(unique(values))))
}

# A data frame with the named columns as factors.
with_factors <- function(frame, columns) {
  columns <- intersect(columns, colnames(frame))
  frame[columns] <- lapply(frame[columns], level_factor)
  frame
}
