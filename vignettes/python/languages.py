"""From Python to R and back: python languages.py.

Trains on simulated data, writes a Seurat object and reads it back. Writes cells.rds and the folder run/ into the current
folder. Needs R with Seurat and the R package sailerx, and: pip install 'sailerx[r]'
"""

import numpy as np

import sailerx
from sailerx_bridge import read_seurat, write_seurat

mdata = sailerx.simulate(n_cells=600, n_genes=500, n_peaks=3000, n_types=5, seed=0)
model = sailerx.fit(mdata, batch_key="batch", seed=0)
mdata["atac"].obsm["X_sailerx"] = model.embed(mdata)
model.save("run")

# Write a Seurat object. In R, readRDS("cells.rds") has the assays RNA and peaks and the reduction sailerx.
write_seurat(mdata, "cells.rds", assays={"RNA": "rna", "peaks": "atac"})

# Read a Seurat object as MuData. `assays` says which assay becomes which modality.
again = read_seurat("cells.rds", assays={"rna": "RNA", "atac": "peaks"})
same = np.array_equal(again["atac"].obsm["X_sailerx"], mdata["atac"].obsm["X_sailerx"])
print(again, "the same embedding" if same else "another embedding", sep="\n")

# The model embeds the object that came back.
print(np.abs(sailerx.load("run").embed(again) - mdata["atac"].obsm["X_sailerx"]).max())
