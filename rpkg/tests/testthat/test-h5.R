test_that("large vectors are written in blocks, compressed or not", {
  local_mocked_bindings(H5_BLOCK = 7L)
  for (gzip in c(0L, 1L)) {
    file <- local_h5()
    write_array(file, "x", as.double(1:50), gzip = gzip)
    expect_identical(read_value(h5_child(file, "x")), as.double(1:50))
  }
})
