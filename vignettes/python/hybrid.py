"""Hybrid training on paired and ATAC-only cells: python hybrid.py [multiome.h5mu atac_only.h5ad].

Without files it simulates data and deletes the RNA of one batch. Writes hybrid.h5mu and umap.png into the current folder.
Needs: pip install 'sailerx[plot]'
"""

import sys

import anndata
import mudata

import sailerx
from sailerx import plot

mudata.set_options(pull_on_update=False)  # as it will be from MuData 0.4 on
LABELS = "cell_type"  # obs column of the paired cells to transfer to the ATAC-only cells

if len(sys.argv) > 2:
    paired, atac_only = sailerx.read(sys.argv[1]), anndata.read_h5ad(sys.argv[2])
else:
    whole = sailerx.simulate(n_cells=2000, n_peaks=10_000, n_types=8, seed=0)
    second = (whole["atac"].obs["batch"] == whole["atac"].obs["batch"].cat.categories[0]).to_numpy()
    atac_only = whole["atac"][second].copy()
    paired = mudata.MuData({name: adata[~second].copy() for name, adata in whole.mod.items()})

# Counts of the ATAC-only set are moved to the peaks of the paired set by overlap; a message tells how many were lost.
# For several sets: {"a": ..., "b": ...}. The difference between sets is removed from the embedding like any other batch.
mdata = sailerx.combine({"multiome": paired}, {"atac_only": atac_only})
model = sailerx.fit(mdata, batch_key="set", seed=0)

atac = mdata["atac"]
atac.obsm["X_sailerx"] = model.embed(mdata)
plot.save(plot.umap_panels(atac.obsm["X_sailerx"], atac.obs, ["set", LABELS]), "umap.png")

# Each ATAC-only cell gets the label of the paired cells most like it, with its confidence, or "unknown".
alone = (atac.obs["set"] == "atac_only").to_numpy()
called = model.transfer_labels(paired, atac_only, LABELS)
for column in ("label", "confidence"):
    atac.obs[f"sailerx_{column}"] = called[column].reindex(atac.obs_names)
if LABELS in atac_only.obs:
    right = called["best_label"].astype(str) == atac_only.obs[LABELS].astype(str)
    print(
        f"right labels: {right.mean():.1%} of {alone.sum()} ATAC-only cells, at a mean confidence of "
        f"{called['confidence'].mean():.1%}"
    )

mdata.write_h5mu("hybrid.h5mu")
