test_that("large vectors are written in blocks, compressed or not", {
  local_mocked_bindings(H5_BLOCK = 7L)
  for (gzip in c(0L, 1L)) {
    file <- local_h5()
    write_array(file, "x", as.double(1:50), gzip = gzip)
    expect_identical(read_value(h5_child(file, "x")), as.double(1:50))
  }
})

test_that("names and texts in latin1 are UTF-8 in the file, and read as what they were", {
  latin1 <- function(text) `Encoding<-`(iconv(text, "UTF-8", "latin1"), "latin1")
  name <- latin1("Spender-Gr\u00f6\u00dfe")
  object <- small_object()
  meta <- object@meta.data
  meta[[name]] <- latin1("na\u00efve")
  names(meta)[ncol(meta)] <- name
  object@meta.data <- meta
  SeuratObject::Idents(object) <- latin1("K\u00f6rper")
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(object, path)
  expect_true(all(validUTF8(h5_names(h5_child(file <- h5_open(path), "obs")))))
  h5_close(file)
  back <- ReadH5MU(path)
  expect_identical(colnames(back[[]]), enc2utf8(colnames(object[[]])))
  expect_identical(unique(back[[]][["Spender-Gr\u00f6\u00dfe"]]), "na\u00efve")
})

test_that("names in UTF-8 are read in the locale C as in any other", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  object <- small_object()
  object[["Gr\u00f6\u00dfe"]] <- 1:5
  WriteH5MU(object, path)
  code <- "o <- sailerx::ReadH5MU(commandArgs(TRUE)[1]); cat(identical(names(o[[]])[4], 'Gr\\u00f6\\u00dfe'), o[['Gr\\u00f6\\u00dfe']][, 1])"
  found <- processx::run(
    file.path(R.home("bin"), "Rscript"), c("-e", code, path),
    env = c("current", LC_ALL = "C", R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep)), error_on_status = FALSE
  )
  expect_match(found$stdout, "TRUE 1 2 3 4 5", fixed = TRUE)
})
