#!/usr/bin/env Rscript
# The whole path from a Seurat object to an embedding and back:
#
#   Rscript demo.R FOLDER [DATA.h5mu [LABELS [BATCH [DROP]]]]
#
# Without DATA, 2,000 cells and 20,000 peaks are simulated, like blood by 10x Multiome, with two cell types whose halves only ATAC
# tells apart. LABELS and BATCH are columns of the metadata, by default cell_type and batch where there are such columns; cells
# labelled DROP are not scored. Into FOLDER go demo.rds (the Seurat
# object), demo.h5mu (the same for Python), umap.png, losses.png and scores.csv.

suppressPackageStartupMessages({
  library(sailerx)
  library(Seurat)
  library(ggplot2)
})

colours <- c(
  "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#0075DC", "#F0A0FF", "#993F00",
  "#4C005C", "#005C31", "#2BCE48", "#808080", "#94FFB5", "#8F7C00", "#9DCC00", "#C20088", "#003380", "#FFA8BB",
  "#426600", "#FF0010", "#5EF1F2", "#00998F", "#740AFF", "#990000"
)

# Says what is done, and then the seconds that it took.
step <- function(text, code) {
  message(text, " ...")
  seconds <- system.time(value <- code)[["elapsed"]]
  message("    ", round(seconds), " s")
  value
}

python <- function(found, ...) {
  status <- system2(found, shQuote(c("-m", ...)))
  if (status != 0) {
    stop("Python ended with status ", status, ".", call. = FALSE)
  }
}

# Runs code(part) and gives its file the name `path` once it is complete.
write_whole <- function(path, code) {
  part <- file.path(dirname(path), paste0(".", Sys.getpid(), ".", basename(path)))
  on.exit(unlink(part))
  code(part)
  if (!file.rename(part, path)) {
    stop("Cannot write ", path, ".", call. = FALSE)
  }
}

column <- function(object, asked, usual) {
  if (is.na(asked) || asked == "") {
    return(intersect(usual, colnames(object[[]])))
  }
  if (!asked %in% colnames(object[[]])) {
    stop("The metadata has no column ", asked, "; it has: ", toString(colnames(object[[]])), ".", call. = FALSE)
  }
  asked
}

load_data <- function(path, found) {
  if (is.na(path) || path == "") {
    path <- tempfile(fileext = ".h5mu")
    on.exit(unlink(path))
    sizes <- c("--n-cells", 2000, "--n-genes", 3000, "--n-peaks", 20000)
    splits <- c("--n-atac-splits", 2, "--split-share", 1 / 15, "--split-change", 1.5)
    python(found, "sailerx", "simulate", path, "--preset", "10x", sizes, splits)
  }
  ReadH5MU(path, assays = c(RNA = "rna", peaks = "atac"), verbose = FALSE)
}

add_rna_pca <- function(object) {
  DefaultAssay(object) <- "RNA"
  # Seurat's 10,000 molecules per cell are many for shallow cells: after log1p, depth would be the first component.
  object |>
    NormalizeData(scale.factor = median(Matrix::colSums(LayerData(object, "counts"))), verbose = FALSE) |>
    FindVariableFeatures(verbose = FALSE) |>
    ScaleData(verbose = FALSE) |>
    RunPCA(npcs = min(50, dim(object) - 1), verbose = FALSE)
}

options(Seurat.warn.umap.uwot = FALSE) # the method is named

cluster <- function(object) {
  dims <- seq_len(ncol(Embeddings(object, "sailerx")))
  object |>
    FindNeighbors(reduction = "sailerx", dims = dims, verbose = FALSE) |>
    FindClusters(graph.name = "peaks_snn", verbose = FALSE) |> # named after the reduction's assay
    RunUMAP(reduction = "sailerx", dims = dims, umap.method = "uwot", metric = "cosine", verbose = FALSE)
}

plot_cells <- function(object, columns) {
  panel <- function(name) {
    n <- length(unique(object[[name, drop = TRUE]]))
    palette <- rep_len(if (n <= 7) colours[1:7] else colours[-(1:7)], n)
    DimPlot(object, reduction = "umap", group.by = name, cols = palette, shuffle = TRUE) +
      guides(colour = guide_legend(ncol = ceiling(n / 15), override.aes = list(size = 2))) +
      ggtitle(gsub("_", " ", name)) + coord_equal() + theme_void() +
      theme(plot.title = element_text(face = "plain", size = 12), legend.text = element_text(size = 8))
  }
  patchwork::wrap_plots(lapply(columns, panel), nrow = 1)
}

save_plot <- function(plot, path, width, height) {
  write_whole(path, function(part) ggsave(part, plot, device = "png", width = width, height = height, dpi = 150, bg = "white"))
}

main <- function(folder = "demo", data = NA, labels = NA, batch = NA, drop = NA) {
  found <- sailerx:::find_python()
  simulated <- is.na(data) || data == ""
  object <- step(if (simulated) "Simulating cells" else paste("Reading", data), load_data(data, found))
  labels <- column(object, labels, if (simulated) "subtype" else "cell_type")
  batch <- column(object, batch, "batch")
  object <- step("Seurat's PCA of RNA, the reference", add_rna_pca(object))
  object <- step("RunSAILERX()", RunSAILERX(
    object, atac.assay = "peaks", reference = "pca", batch = if (length(batch)) batch, seed = 0,
    max_epochs = if (simulated) 20 # the network serves imputation, of which nothing is shown here
  ))
  object <- step("Clusters and UMAP of its embedding", cluster(object))

  dir.create(folder, showWarnings = FALSE, recursive = TRUE)
  into <- function(name) file.path(folder, name)
  step("Writing the object for R and Python", {
    write_whole(into("demo.rds"), function(part) saveRDS(object, part))
    WriteH5MU(object, into("demo.h5mu"), assays = c(rna = "RNA", atac = "peaks"), overwrite = TRUE)
  })
  step("Drawing", {
    columns <- c(labels, "seurat_clusters", batch)
    save_plot(plot_cells(object, columns), into("umap.png"), 5.6 * length(columns), 4.6)
    save_plot(LossPlotSAILERX(object), into("losses.png"), 9, 5)
  })
  if (length(labels)) {
    step("Scoring it beside RNA PCA and ATAC LSI", python(
      found, "sailerx.demo", into("demo.h5mu"), "--labels", labels, if (length(batch)) c("--batch", batch),
      if (simulated) c("--within", "cell_type"), if (!is.na(drop)) c("--drop", drop), "-o", into("scores.csv")
    ))
  }
  cat("Written into ", folder, "/: ", toString(list.files(folder)), "\n", sep = "")
}

do.call(main, as.list(commandArgs(trailingOnly = TRUE)))
