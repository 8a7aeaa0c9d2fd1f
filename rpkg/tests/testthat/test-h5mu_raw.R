# A file as scanpy leaves it: X normalised, counts in `raw`, of the genes `chosen` and perhaps of others.
with_raw_file <- function(genes = rownames(random_object()), x_genes = genes, counts = NULL, env = parent.frame()) {
  object <- random_object()
  all <- counts %||% SeuratObject::LayerData(object, layer = "counts")
  normalised <- suppressWarnings(SeuratObject::CreateAssay5Object(data = log1p(all[x_genes, ] / 3)))
  written <- suppressWarnings(SeuratObject::CreateSeuratObject(normalised))
  loadings <- matrix(seq_along(x_genes) + 0, dimnames = list(x_genes, "PC_1"))
  embedding <- matrix(1:10 / 10, dimnames = list(colnames(object), "PC_1"))
  written[["pca"]] <- SeuratObject::CreateDimReducObject(embedding, loadings, assay = "RNA", key = "PC_")
  path <- withr::local_tempfile(fileext = ".h5mu", .local_envir = env)
  WriteH5MU(written, path)
  file <- hdf5r::H5File$new(path, "r+")
  node <- file[["mod/rna"]]
  node[["uns"]]$link_delete("seurat")
  raw <- h5_encoding(h5_group(node, "raw"), "raw", "0.1.0")
  write_csr(raw, "X", all[genes, ], 0L)
  write_dataframe(raw, "var", data.frame(ensembl = paste0("E", genes), row.names = genes))
  file$close_all()
  path
}

counts_of <- function(object) SeuratObject::LayerData(object, layer = "counts")

test_that("counts come from raw, beside the normalised values of the same features", {
  genes <- rownames(random_object())
  path <- with_raw_file(genes = rev(genes), x_genes = genes)
  expect_message(back <- ReadH5MU(path), "rna.*taken from.*raw")
  expect_identical(as.matrix(counts_of(back)), as.matrix(counts_of(random_object())))
  expect_equal(as.matrix(SeuratObject::LayerData(back, layer = "data")), log1p(as.matrix(counts_of(back)) / 3))
  expect_no_message(ReadH5MU(path, verbose = FALSE))
})

test_that("of other features than X has, raw comes alone, with its metadata and with loadings at the right genes", {
  genes <- rownames(random_object())
  path <- with_raw_file(x_genes = genes[c(9, 2, 5)])
  expect_message(back <- ReadH5MU(path), "left out, because")
  expect_identical(SeuratObject::Layers(back), "counts")
  expect_identical(as.matrix(counts_of(back)), as.matrix(counts_of(random_object())))
  expect_identical(back[["RNA"]][[]]$ensembl, paste0("E", genes))
  expect_identical(SeuratObject::Loadings(back, "pca")[, 1], rlang::set_names(as.double(1:3), genes[c(9, 2, 5)]))
})

test_that("raw is left where it holds no counts, or X does", {
  values <- counts_of(random_object())
  normalised <- with_raw_file(counts = values / 7)
  expect_message(back <- ReadH5MU(normalised), "Not read.*rna/raw")
  expect_identical(SeuratObject::Layers(back), "data")
  path <- with_raw_file()
  file <- hdf5r::H5File$new(path, "r+")
  file[["mod/rna"]]$link_delete("X")
  write_csr(file[["mod/rna"]], "X", 2 * values, 0L)
  file$close_all()
  expect_message(back <- ReadH5MU(path), "Not read.*rna/raw")
  expect_identical(as.matrix(counts_of(back)), 2 * as.matrix(values))
})

test_that("peaks of raw become a ChromatinAssay", {
  skip_if_not_installed("Signac")
  counts <- counts_of(random_object())
  rownames(counts) <- paste0("chr1-", 1:20 * 100, "-", 1:20 * 100 + 50)
  path <- with_raw_file(genes = rownames(counts), x_genes = rownames(counts)[1:4], counts = counts)
  back <- suppressMessages(ReadH5MU(path, chromatin = TRUE))
  expect_s4_class(back[["RNA"]], "ChromatinAssay")
  expect_identical(as.matrix(counts_of(back)), as.matrix(counts))
})

test_that("Python takes the counts that R takes", {
  skip_if_no_sailerx()
  path <- with_raw_file(x_genes = rownames(random_object())[c(9, 2, 5)])
  back <- suppressMessages(ReadH5MU(path))
  code <- "import sys, warnings; warnings.simplefilter('ignore')
from sailerx.data.reading import read_cells
from sailerx.data.modalities import find_modalities
print(*find_modalities(read_cells(sys.argv[1]), 'rna', 'atac')['rna'].X.toarray().ravel().astype(int))"
  answer <- system2(Sys.getenv("SAILERX_PYTHON"), c("-c", shQuote(code), path), stdout = TRUE)
  expect_identical(scan(text = answer, quiet = TRUE), as.double(as.matrix(counts_of(back))))
})
