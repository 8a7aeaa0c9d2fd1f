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

test_that("row indices that are not sorted are sorted on reading", {
  matrix <- new_dgCMatrix(c(2L, 0L, 1L), c(0L, 2L, 3L), c(1, 2, 3), c(3L, 2L))
  expect_equal(as.matrix(matrix), cbind(c(2, 0, 1), c(0, 3, 0)))
})

test_that("more than 2^31 values are refused", {
  expect_error(check_countable(2^31), "at most 2\\^31 - 1 values.*2,147,483,648")
})
