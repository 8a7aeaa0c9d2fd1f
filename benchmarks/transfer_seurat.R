# Seurat's ways to transfer labels and RNA to cells with ATAC alone, called by transfer.py: Rscript transfer_seurat.R FOLDER LABELS METHOD
#
# FOLDER holds known.h5mu and new.h5mu; written are labels.csv and rna.mtx (genes x cells). METHOD: `seurat`, anchors between the ATAC of
# both sets in the LSI of the known cells (FindTransferAnchors, TransferData), or `bridge`, bridge integration (Hao and others 2024,
# doi:10.1038/s41587-023-01767-y), where the known cells are both the bridge and the reference.

suppressPackageStartupMessages({
  library(Seurat)
  library(Signac)
  library(sailerx)
})
set.seed(0)
given <- commandArgs(trailingOnly = TRUE)
LSI <- 2:30

read <- function(name) {
  object <- ReadH5MU(file.path(given[1], paste0(name, ".h5mu")), verbose = FALSE)
  DefaultAssay(object) <- "ATAC"
  object <- RunTFIDF(object, verbose = FALSE)
  object <- FindTopFeatures(object, min.cutoff = "q0")
  RunSVD(object, n = max(LSI), verbose = FALSE)
}

by_projection <- function(known, new) {
  anchors <- FindTransferAnchors(
    known, new,
    reference.assay = "ATAC", query.assay = "ATAC", reference.reduction = "lsi", reduction = "lsiproject", dims = LSI
  )
  function(data) TransferData(anchors, data, weight.reduction = "lsiproject")
}

by_bridge <- function(known, new) {
  reference <- known
  DefaultAssay(reference) <- "RNA"
  reference[["ATAC"]] <- NULL
  reference <- FindVariableFeatures(reference, verbose = FALSE) |>
    ScaleData(verbose = FALSE) |>
    RunPCA(npcs = 50, verbose = FALSE)
  DefaultAssay(known) <- "RNA"
  extended <- PrepareBridgeReference(
    reference, known,
    reference.reduction = "pca", reference.dims = 1:50, normalization.method = "LogNormalize",
    reference.assay = "RNA", bridge.ref.assay = "RNA", bridge.query.assay = "ATAC",
    supervised.reduction = "slsi", bridge.query.reduction = NULL
  )
  anchors <- FindBridgeTransferAnchors(extended, new, query.assay = "ATAC", reduction = "lsiproject", dims = LSI)
  function(data) {
    # The anchors name the cells of the reference in their own way.
    if (length(dim(data))) colnames(data) <- sub("_reference$", "", slot(anchors, "reference.cells"))
    TransferData(anchors, data, weight.reduction = "Bridge.reduc")
  }
}

known <- NormalizeData(read("known"), assay = "RNA", verbose = FALSE)
new <- read("new")
new[["RNA"]] <- NULL
start <- proc.time()
transfer <- switch(given[3], seurat = by_projection, bridge = by_bridge)(known, new)
called <- transfer(as.character(known[[given[2]]][, 1]))
seconds <- sum((proc.time() - start)[c("user.self", "sys.self")])
table <- data.frame(label = called$predicted.id, confidence = called$prediction.score.max, seconds, row.names = rownames(called))
write.csv(table, file.path(given[1], "labels.csv"))
rna <- LayerData(transfer(LayerData(known, assay = "RNA", layer = "data")), layer = "data")
Matrix::writeMM(methods::as(rna[rownames(known[["RNA"]]), rownames(table)], "CsparseMatrix"), file.path(given[1], "rna.mtx"))
