local_round_trip <- function(object, ..., env = parent.frame()) {
  path <- withr::local_tempfile(fileext = ".h5mu", .local_envir = env)
  WriteH5MU(object, path)
  ReadH5MU(path, ...)
}

random_object <- function() {
  withr::local_seed(1)
  counts <- Matrix::rsparsematrix(20, 10, 0.3, rand.x = function(n) stats::rpois(n, 3) + 1)
  dimnames(counts) <- list(paste0("gene-", 1:20), paste0("cell", 1:10))
  object <- SeuratObject::CreateSeuratObject(counts)
  object$label <- factor(rep(c("b", NA, "a", "b", "a"), 2), levels = c("b", "unused", "a"))
  object$note <- rep(c("x", NA), 5)
  SeuratObject::Idents(object) <- "label"
  SeuratObject::VariableFeatures(object) <- paste0("gene-", c(7, 2, 11))
  embedding <- matrix(stats::rnorm(30), 10, dimnames = list(colnames(object), paste0("PC_", 1:3)))
  loadings <- matrix(stats::rnorm(9), 3, dimnames = list(paste0("gene-", c(7, 2, 11)), paste0("PC_", 1:3)))
  object[["pca"]] <- SeuratObject::CreateDimReducObject(embedding, loadings, stdev = c(3, 2, 1), assay = "RNA", key = "PC_")
  edges <- Matrix::sparseMatrix(c(1, 2, 9), c(2, 3, 10), x = c(1, 0.5, 1), dims = c(10, 10))
  dimnames(edges) <- list(colnames(object), colnames(object))
  graph <- SeuratObject::as.Graph(edges)
  SeuratObject::DefaultAssay(graph) <- "RNA"
  object[["RNA_nn"]] <- graph
  object
}

test_that("an object comes back as it was", {
  object <- random_object()
  back <- local_round_trip(object)
  expect_identical(SeuratObject::LayerData(back, layer = "counts"), SeuratObject::LayerData(object, layer = "counts"))
  expect_identical(back[[]], object[[]])
  expect_identical(SeuratObject::Idents(back), SeuratObject::Idents(object))
  expect_identical(SeuratObject::VariableFeatures(back), SeuratObject::VariableFeatures(object))
  expect_identical(SeuratObject::Embeddings(back, "pca"), SeuratObject::Embeddings(object, "pca"))
  expect_identical(SeuratObject::Loadings(back, "pca"), SeuratObject::Loadings(object, "pca"))
  expect_identical(SeuratObject::Stdev(back, "pca"), SeuratObject::Stdev(object, "pca"))
  expect_identical(as.matrix(back[["RNA_nn"]]), as.matrix(object[["RNA_nn"]]))
  expect_identical(SeuratObject::Key(back[["pca"]]), "PC_")
  expect_null(SeuratObject::Misc(back, "h5mu"))
})

test_that("an older assay comes back as one, with counts and data", {
  object <- random_object()
  object[["old"]] <- SeuratObject::CreateAssayObject(SeuratObject::LayerData(object, layer = "counts"))
  back <- local_round_trip(object)
  expect_s4_class(back[["old"]], "Assay")
  expect_s4_class(back[["RNA"]], "Assay5")
})

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
  expect_identical(file_names(object[["RNA"]]), names)
})

test_that("peaks become a ChromatinAssay, one base later on the start, with seqlengths and no download", {
  skip_if_not_installed("Signac")
  object <- random_object()
  counts <- SeuratObject::LayerData(object, layer = "counts")[1:3, ]
  rownames(counts) <- c("chr1-6-9", "HLA-A*01:01-1-5", "chr1-KI270706v1-random-100-149")
  info <- GenomeInfoDb::Seqinfo(c("chr1", "HLA-A*01:01", "chr1-KI270706v1-random"), c(100L, NA, 200L), genome = "hg38")
  ranges <- GenomicRanges::GRanges(GenomeInfoDb::seqnames(info), IRanges::IRanges(c(6, 1, 100), c(9, 5, 149)))
  object[["peaks"]] <- Signac::CreateChromatinAssay(counts, ranges = ranges, genome = info, verbose = FALSE)
  back <- local_round_trip(object)
  expect_s4_class(back[["peaks"]], "ChromatinAssay")
  expect_identical(rownames(back[["peaks"]]), rownames(counts))
  expect_identical(as.data.frame(Signac::granges(back[["peaks"]])), as.data.frame(Signac::granges(object[["peaks"]])))
  expect_identical(GenomeInfoDb::seqinfo(back[["peaks"]]), info)
  plain <- local_round_trip(object, chromatin = FALSE)
  expect_s4_class(plain[["peaks"]], "Assay5")
  expect_identical(plain[["peaks"]][[]]$start, c(5L, 0L, 99L))
})

test_that("peaks without coordinates become a ChromatinAssay by their names, if asked for", {
  skip_if_not_installed("Signac")
  counts <- SeuratObject::LayerData(random_object(), layer = "counts")[1:3, ]
  object <- random_object()
  rownames(counts) <- paste0("p", 1:3)
  object[["open"]] <- SeuratObject::CreateAssay5Object(counts)
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(object, path)
  expect_error(ReadH5MU(path, chromatin = TRUE), "there is none.*chromatin = FALSE")
  file <- hdf5r::H5File$new(path, "r+")
  file[["mod/open/var/_index"]]$write(list(1:3), c("chr1:10-19", "chrX:5-9", "GL_1:7-8"))
  file$close_all()
  expect_s4_class(ReadH5MU(path)[["open"]], "Assay5")
  assay <- ReadH5MU(path, chromatin = TRUE)[["open"]]
  expect_s4_class(assay, "ChromatinAssay")
  expect_equal(as.character(GenomicRanges::granges(assay)), c("chr1:10-19", "chrX:5-9", "GL_1:7-8"), ignore_attr = TRUE)
  expect_s4_class(ReadH5MU(path, chromatin = TRUE)[["RNA"]], "Assay5")
})

test_that("a fragment file that is gone is left out with a warning", {
  expect_warning(found <- new_fragments(list(path = "/nowhere/fragments.tsv.gz"), "cell1"), "is not there")
  expect_null(found)
})

test_that("files that cannot be read are refused with a reason", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  expect_error(ReadH5MU(path), "there is no")
  writeLines("text", path)
  expect_error(ReadH5MU(path), "cannot be opened as HDF5")
  unlink(path)
  WriteH5MU(random_object(), path)
  expect_error(ReadH5MU(path, assays = "atac"), "no \"atac\".*\"rna\"")
  file <- hdf5r::H5File$new(path, "r+")
  hdf5r::h5attr(file, "sailerx-format") <- 2L
  file$close_all()
  expect_error(ReadH5MU(path), "version 1 or older, but it is of version 2")
})

test_that("every file is closed, after an error too", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  WriteH5MU(random_object(), path)
  ReadH5MU(path)
  try(ReadH5MU(path, assays = "atac"), silent = TRUE)
  file <- hdf5r::H5File$new(path, "r+")
  expect_equal(file$get_obj_count(), 1)
  file$close_all()
})

test_that("the columns of a modality join the metadata and go back where they came from", {
  path <- withr::local_tempfile(fileext = ".h5mu")
  object <- random_object()
  SeuratObject::Misc(object, "h5mu") <- list(modalities = c(RNA = "rna"), columns = list(RNA = c(kind = "label")), global = "note")
  WriteH5MU(object, path)
  back <- ReadH5MU(path)
  expect_identical(back$kind, object$label, ignore_attr = TRUE)
  expect_identical(SeuratObject::Misc(back, "h5mu")$columns, list(RNA = c(kind = "kind")))
})
