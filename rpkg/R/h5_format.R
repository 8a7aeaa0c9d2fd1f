# The version of bridge/FORMAT.md that this package writes, and the attribute of the file that holds it.
H5MU_VERSION <- 1L
H5MU_VERSION_ATTRIBUTE <- "sailerx-format"

# Feature metadata column with the names that features had before Seurat or Signac rewrote them.
ORIGINAL_NAME <- "original_name"
