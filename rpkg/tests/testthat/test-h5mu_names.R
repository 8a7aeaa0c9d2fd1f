test_that("features that Seurat renames get their own names back", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(random_object(), path)
  names <- c("a_b", "a-b", paste0("g|", 3:20))
  file <- hdf5r::H5File$new(path, "r+")
  file[["mod/rna/var/_index"]]$write(list(1:20), names)
  file$close_all()
  object <- ReadH5MU(path)
  expect_identical(rownames(object)[1:3], c("a-b", "a-b.1", "g-3"))
  expect_identical(object[["RNA"]][[]]$original_name, names)
  expect_identical(names_in_file(object[["RNA"]]), names)
})

test_that("a name that occurs twice costs no other name, and both come back", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(random_object(), path)
  names <- c("MT_CO1", "MT-CO1", "TBCE", "TBCE", "TBCE.1", "A|B", paste0("g_", 7:20))
  file <- hdf5r::H5File$new(path, "r+")
  file[["mod/rna/var/_index"]]$write(list(1:20), names)
  file$close_all()
  object <- suppressWarnings(ReadH5MU(path))
  expect_false(anyDuplicated(rownames(object)) > 0)
  back <- local_written(object)
  expect_identical(read_index(h5_child(back, "mod/rna/var")), names)
  part <- suppressWarnings(subset(object[["RNA"]], features = rownames(object)[c(1, 4, 6)]))
  expect_identical(names_in_file(part), names[c(1, 4, 6)])
  expect_identical(training_names(object[["RNA"]])[1:6], c("MT_CO1", "MT-CO1", rownames(object)[3:4], "TBCE.1", "A|B"))
})

test_that("a slash in the name of an assay is refused with what to do, and in the name of a graph or layer replaced", {
  object <- random_object()
  names(object@assays) <- "a/b"
  object@active.assay <- "a/b"
  expect_error(check_assays(object, NULL), "no slash.*a_b = ")
  expect_equal(h5_key("counts.a/b"), "counts.a_b")
})

test_that("a key that is taken is replaced by one made from the name", {
  object <- toy_object()
  expect_equal(unused_key(object, "sailerx", "SAILERX_"), "SAILERX_")
  expect_equal(unused_key(object, "pca", "PC_"), "PC_")
  expect_equal(unused_key(object, "sailerx.2", "PC_"), "SAILERX2_")
  expect_equal(unused_key(object, "2nd", "PC_"), "X2ND_")
  expect_equal(unused_key(object, "p.c", "PC_"), "PC1_")
})
