"""From a multiome object to clusters and the peaks that mark one: python multiome.py [multiome.h5mu].

Without a file it runs on simulated data. Writes clusters.h5mu, umap.png, loss.png and peaks.csv into the current folder.
Needs: pip install 'sailerx[plot]'
"""

import sys

import mudata

import sailerx
from sailerx import metrics, plot

mudata.set_options(pull_on_update=False)  # as it will be from MuData 0.4 on

BATCH = ["batch"]  # the technical columns of obs; sequencing depth is always removed

file = sys.argv[1] if len(sys.argv) > 1 else None
mdata = sailerx.read(file) if file else sailerx.simulate(n_cells=1500, n_peaks=10_000, n_types=8, seed=0)
atac = mdata["atac"]

# Train. The teacher is a denoised PCA of the RNA counts; to name another embedding: rna_embedding="X_pca".
model = sailerx.fit(mdata, batch_key=BATCH, seed=0)
atac.obsm["X_sailerx"] = model.embed(mdata)

# The curves of the network, which imputes accessibility, should be flat at the end. If "alignment" still falls, increase max_epochs.
plot.save(plot.loss_curves(model.history), "loss.png")

# Clusters and UMAP. A row is the RNA reference, of length one, beside the weighted ATAC scores: made for Euclidean neighbours.
atac.obs["cluster"] = metrics.leiden_clusters(atac.obsm["X_sailerx"], 0.5)
columns = [column for column in ("cluster", "cell_type", *BATCH) if column in atac.obs]
plot.save(plot.umap_panels(atac.obsm["X_sailerx"], atac.obs, columns), "umap.png")

# Peaks that mark the largest cluster; help(sailerx.results.differential) explains the statistics.
peaks = model.differential_accessibility(mdata, "cluster", "0")
peaks.to_csv("peaks.csv")
shown = ["log2_fold_change", "probability", "fdr", "open_1", "open_2"]
print(peaks.query("differential").head(10)[shown].round(3).to_string())

mdata.write_h5mu("clusters.h5mu")
