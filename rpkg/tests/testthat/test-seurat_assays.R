test_that("an older assay comes back as one, with counts and data", {
  object <- random_object()
  object[["old"]] <- SeuratObject::CreateAssayObject(SeuratObject::LayerData(object, layer = "counts"))
  back <- local_round_trip(object)
  expect_s4_class(back[["old"]], "Assay")
  expect_s4_class(back[["RNA"]], "Assay5")
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
  expect_equal(as.character(GenomicRanges::granges(assay)), c("chr1:11-19", "chrX:6-9", "GL_1:8"), ignore_attr = TRUE)
  expect_s4_class(ReadH5MU(path, chromatin = TRUE)[["RNA"]], "Assay5")
})

test_that("an assay of that name is replaced, also where it is the default", {
  object <- toy_object()
  SeuratObject::DefaultAssay(object) <- "peaks"
  object <- put_assay(object, object[["RNA"]], "imputed", "RNA")
  SeuratObject::DefaultAssay(object) <- "imputed"
  expect_no_warning(object <- put_assay(object, object[["peaks"]], "imputed", "peaks"))
  expect_equal(rownames(object[["imputed"]]), toy_peaks())
  expect_equal(SeuratObject::DefaultAssay(object), "imputed")
  expect_equal(anyDuplicated(SeuratObject::Key(object)), 0)
})

test_that("one peak is no assay", {
  expect_error(assay_like(NULL, matrix(1, 1, 5), NULL), "two peaks and two cells.*1 and 5")
})

test_that("coordinates make peaks of peaks alone, never of genes", {
  skip_if_not_installed("Signac")
  path <- withr::local_tempfile(fileext = ".h5mu")
  object <- with_peaks()
  placed <- data.frame(chrom = "chr1", start = c(NA, 2:6), end = c(NA, 12:16), row.names = rownames(object[["RNA"]]))
  object[["RNA"]] <- SeuratObject::AddMetaData(object[["RNA"]], placed)
  object[["third"]] <- SeuratObject::CreateAssay5Object(`rownames<-`(small_counts()[, 1:3], peak_names_of(6)))
  WriteH5MU(object, path)
  forget_class(path, c("rna", "atac", "third"))
  for (chromatin in list("auto", TRUE)) {
    back <- ReadH5MU(path, chromatin = chromatin, verbose = FALSE)
    expect_s4_class(back[["RNA"]], "Assay5")
    expect_identical(rownames(back[["RNA"]]), paste0("gene", 1:6))
    expect_identical(back[["RNA"]][[]]$start, placed$start)
    expect_s4_class(back[["peaks"]], "ChromatinAssay")
  }
  expect_s4_class(back[["third"]], "ChromatinAssay")
  asked <- ReadH5MU(path, chromatin = "third", verbose = FALSE)
  expect_s4_class(asked[["third"]], "ChromatinAssay")
  expect_s4_class(asked[["peaks"]], "Assay5")
})
