small_counts <- function(n_features = 6, n_cells = 5, prefix = "gene") {
  counts <- Matrix::sparseMatrix(
    i = c(1, 2, 4, 6), j = c(1, 3, 3, 5), x = c(1, 2, 300, 4), dims = c(n_features, n_cells),
    dimnames = list(paste0(prefix, seq_len(n_features)), paste0("cell", seq_len(n_cells)))
  )
  methods::as(counts, "generalMatrix")
}

small_object <- function(...) {
  SeuratObject::CreateSeuratObject(small_counts(), ...)
}

peak_names_of <- function(n) paste0("chr", seq_len(n), "-", 10 * seq_len(n), "-", 10 * seq_len(n) + 5)

with_peaks <- function(object = small_object()) {
  counts <- small_counts()
  rownames(counts) <- peak_names_of(6)
  object[["peaks"]] <- SeuratObject::CreateAssay5Object(counts[, 1:3])
  object
}

local_written <- function(object, ..., env = parent.frame()) {
  path <- withr::local_tempfile(fileext = ".h5mu", .local_envir = env)
  WriteH5MU(object, path, ...)
  file <- h5_open(path)
  withr::defer(h5_close(file), envir = env)
  file
}

test_that("assays become modalities with counts, cells and coordinates", {
  file <- local_written(with_peaks())
  expect_identical(h5_attribute(h5_child(file, "mod"), "mod-order"), c("rna", "atac"))
  rna <- h5_child(file, "mod/rna")
  expect_equal(read_features_by_cells(h5_child(rna, "X")), unname(small_counts()), ignore_attr = TRUE)
  expect_identical(read_index(h5_child(file, "mod/atac/obs")), paste0("cell", 1:3))
  var <- read_value(h5_child(file, "mod/atac/var"))
  expect_identical(as.character(var$chrom), paste0("chr", 1:6))
  expect_identical(var$start, 10L * 1:6 - 1L)
  expect_identical(var$end, 10L * 1:6 + 5L)
  expect_equal(h5_read(h5_child(file, "obsmap/atac")), c(1, 2, 3, 0, 0))
})

test_that("only what is asked for is written", {
  object <- with_peaks()
  object$donor <- factor(c("a", "b", "a", "b", "a"))
  file <- local_written(object, assays = c(x = "peaks"), meta.data = "donor", features = FALSE, chromatin = FALSE)
  expect_identical(h5_names(h5_child(file, "mod")), "x")
  obs <- read_value(h5_child(file, "obs"))
  expect_identical(obs, data.frame(donor = factor(c("a", "b", "a")), row.names = paste0("cell", 1:3)))
})

test_that("v4 and v5 assays give the same matrix, and split layers are joined", {
  old <- SeuratObject::CreateAssayObject(small_counts())
  split <- small_object()
  split[["RNA"]] <- suppressWarnings(split(split[["RNA"]], f = c("a", "b", "a", "b", "b")))
  expect_gt(length(SeuratObject::Layers(split)), 1)
  expect_equal(layer_matrix(old, "counts", "RNA"), small_counts())
  expect_equal(layer_matrix(split[["RNA"]], "counts", "RNA")[, colnames(small_counts())], small_counts())
})

test_that("a layer can be chosen, added or left out", {
  object <- small_object()
  SeuratObject::LayerData(object[["RNA"]], layer = "data") <- small_counts() / 3
  file <- local_written(object, layers = "data")
  expect_equal(read_features_by_cells(h5_child(file, "mod/rna/layers/data"))@x, c(1, 2, 300, 4) / 3)
  file <- local_written(object, layer = c(RNA = "data"))
  expect_equal(read_features_by_cells(h5_child(file, "mod/rna/X"))@x, c(1, 2, 300, 4) / 3)
  suppressWarnings(object[["smooth"]] <- SeuratObject::CreateAssay5Object(data = small_counts() / 3))
  file <- local_written(object)
  expect_equal(read_features_by_cells(h5_child(file, "mod/rna/X"))@x, c(1, 2, 300, 4))
  expect_equal(read_features_by_cells(h5_child(file, "mod/smooth/X"))@x, c(1, 2, 300, 4) / 3)
  file <- local_written(object, layer = NA)
  expect_false(h5_has(file, "mod/rna/X"))
})

test_that("a reduction of some cells has NaN for the others", {
  object <- small_object()
  embedding <- matrix(1:6 / 2, 3, dimnames = list(paste0("cell", c(1, 3, 5)), c("PC_1", "PC_2")))
  object[["pca"]] <- SeuratObject::CreateDimReducObject(embedding, assay = "RNA", key = "PC_")
  file <- local_written(object)
  stored <- t(h5_read(h5_child(file, "mod/rna/obsm/X_pca")))
  expect_equal(stored[c(1, 3, 5), ], unname(embedding))
  expect_true(all(is.na(stored[c(2, 4), ])))
})

test_that("what is not there is refused, naming what there is", {
  object <- with_peaks()
  path <- tempfile(fileext = ".h5mu")
  expect_error(WriteH5MU(object, path, assays = "ATAC"), "no \"ATAC\".*\"RNA\" and \"peaks\"")
  expect_error(WriteH5MU(object, path, layer = "logcounts"), "must have the layer \"logcounts\".*\"counts\"")
  expect_error(WriteH5MU(object, path, reductions = "pca"), "no \"pca\".*none")
  expect_error(WriteH5MU(object, path, meta.data = "donor"), "no \"donor\".*\"orig.ident\"")
  expect_error(WriteH5MU(object, path, assays = c(x = "RNA", x = "peaks")), "must be unique")
  expect_error(WriteH5MU(small_counts(), path), "must be a Seurat object")
  expect_error(WriteH5MU(object, file.path(tempfile(), "x.h5mu")), "folder that exists")
  expect_false(file.exists(path))
})

test_that("a file that is there is replaced only if asked, and an error leaves nothing behind", {
  folder <- withr::local_tempdir()
  path <- file.path(folder, "\u00e9 a.h5mu")
  WriteH5MU(small_object(), path)
  expect_error(WriteH5MU(small_object(), path), "exists")
  expect_no_error(WriteH5MU(small_object(), path, overwrite = TRUE))
  expect_error(write_atomically(file.path(folder, "b"), FALSE, function(path) {
    writeLines("half", path)
    stop("the disk is full")
  }), "the disk is full")
  expect_identical(list.files(folder, all.files = TRUE, no.. = TRUE), basename(path))
})

test_that("columns that do not fit are left out or renamed with a warning", {
  object <- small_object()
  object$day <- as.Date("2022-01-01") + 0:4
  object[["a/b"]] <- 1:5
  expect_warning(expect_warning(file <- local_written(object), "\"day\" left out"), "renamed to \"a_b\"")
  expect_true("a_b" %in% h5_attribute(h5_child(file, "obs"), "column-order"))
})

test_that("peak names are read from the right", {
  names <- c("chr1-KI270706v1-random-100-149", "HLA-A*01:01-5-9", "chr1:5-9", "chrUn_gl000211_7_8", "chr1-5-9.1")
  found <- parse_peaks(names)
  expect_identical(as.character(found$chrom), c("chr1-KI270706v1-random", "HLA-A*01:01", "chr1", "chrUn_gl000211", "chr1"))
  expect_identical(found$start, c(99L, 4L, 4L, 6L, 4L))
  expect_identical(found$end, c(149L, 9L, 9L, 8L, 9L))
  expect_null(parse_peaks(c("chr1-5-9", "peak7")))
})
