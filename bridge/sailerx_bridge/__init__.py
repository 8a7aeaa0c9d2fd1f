"""Read and write Seurat objects in Python by calling R: `read_seurat`, `write_seurat`.

Both are thin: R's `WriteH5MU()` and `ReadH5MU()` convert between a Seurat object and the .h5mu file that bridge/FORMAT.md
describes.
"""

from sailerx_bridge.seurat import read_seurat, write_seurat

__all__ = ["read_seurat", "write_seurat"]
