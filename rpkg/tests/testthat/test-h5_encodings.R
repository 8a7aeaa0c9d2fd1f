# Values that go in come out.

expect_kept <- function(value, write = write_value) {
  file <- local_h5()
  write(file, "x", value)
  expect_identical(read_value(h5_child(file, "x")), value)
}

test_that("vectors of each kind are kept, also empty ones", {
  expect_kept(c(1.5, -Inf, 1e-300))
  expect_kept(c(0L, -5L, .Machine$integer.max))
  expect_kept(c(TRUE, FALSE))
  expect_kept(c("a", "", "NA", "na\u00efve", "\u7d30\u80de"))
  expect_kept(double())
  expect_kept(integer())
  expect_kept(logical())
  expect_kept(character())
})

test_that("factors keep levels, order, unused levels and NA", {
  expect_kept(factor(c("10", NA, "2"), levels = c("2", "10", "unused")))
  expect_kept(factor(c("late", "early"), levels = c("early", "late"), ordered = TRUE))
  expect_kept(factor(c("NA", NA)))
  expect_kept(factor(c(NA, NA), levels = character()))
  expect_kept(factor(paste0("level", 1:200)))
})

test_that("integers and logicals keep NA", {
  expect_kept(c(1L, NA, -3L), write_column)
  expect_kept(c(TRUE, NA, FALSE), write_column)
})

test_that("text with NA becomes categories, for there is no older encoding", {
  file <- local_h5()
  write_column(file, "x", c("b", NA, "a"))
  expect_identical(as.character(read_value(h5_child(file, "x"))), c("b", NA, "a"))
})

test_that("data frames keep names, order and columns of each kind, and may have no columns or no rows", {
  frame <- data.frame(
    b = 1:2,
    a = c("x", "y"),
    "\u00e9 t" = factor(c("u", NA)),
    check.names = FALSE,
    row.names = c("r\u00e9", "s")
  )
  expect_kept(frame)
  expect_kept(frame[0])
  expect_kept(frame[0, ])
})

test_that("lists become groups", {
  expect_kept(list(a = c(1, 2), b = list(c = "x", d = 3L)))
})
