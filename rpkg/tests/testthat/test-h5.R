# The file layer: values that go in come out, and every file is closed.

local_h5 <- function(env = parent.frame()) {
  path <- tempfile(fileext = ".h5")
  file <- h5_create(path)
  withr::defer({
    h5_close(file)
    unlink(path)
  }, envir = env)
  file
}

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

test_that("a sparse matrix is stored as the CSR matrix cells x features", {
  file <- local_h5()
  matrix <- Matrix::sparseMatrix(c(1, 3, 1), c(1, 1, 4), x = c(5, 2, 0.5), dims = c(3, 4))
  write_csr(file, "x", matrix)
  node <- h5_child(file, "x")
  expect_identical(as.integer(h5_attribute(node, "shape")), c(4L, 3L))
  expect_identical(h5_read(h5_child(node, "indptr")), c(0L, 2L, 2L, 2L, 3L))
  expect_equal(read_features_by_cells(node), matrix)
  expect_equal(read_value(node), Matrix::t(matrix))
})

test_that("a matrix without any value, row or column is kept", {
  for (size in list(c(3, 4), c(0, 4), c(3, 0))) {
    file <- local_h5()
    empty <- methods::as(Matrix::Matrix(0, size[1], size[2], sparse = TRUE), "generalMatrix")
    write_csr(file, "x", empty)
    expect_equal(dim(read_features_by_cells(h5_child(file, "x"))), size)
  }
})

test_that("counts are stored in single precision only where nothing is lost", {
  expect_true(fits_float32(c(0, 1, 2^24 - 1)))
  expect_false(fits_float32(2^24 + 1))
  expect_false(fits_float32(0.1))
  expect_false(fits_float32(NA_real_))
  expect_true(fits_float32(double()))
})

test_that("large vectors are written in blocks, compressed or not", {
  local_mocked_bindings(H5_BLOCK = 7L)
  for (gzip in c(0L, 1L)) {
    file <- local_h5()
    write_array(file, "x", as.double(1:50), gzip = gzip)
    expect_identical(read_value(h5_child(file, "x")), as.double(1:50))
  }
})

test_that("row indices that are not sorted are sorted on reading", {
  matrix <- new_dgCMatrix(c(2L, 0L, 1L), c(0L, 2L, 3L), c(1, 2, 3), c(3L, 2L))
  expect_equal(as.matrix(matrix), cbind(c(2, 0, 1), c(0, 3, 0)))
})

test_that("more than 2^31 values are refused", {
  expect_error(check_countable(2^31), "at most 2\\^31 - 1 values.*2,147,483,648")
})
