"""Imputed and differential accessibility: python imputation.py [multiome.h5mu].

Without a file it runs on simulated data. Writes differential.csv, imputed.png, means.csv and imputed.h5ad into the current
folder. Needs: pip install 'sailerx[plot]'
"""

import sys

import sailerx
from sailerx import plot

LABELS, BATCH = "cell_type", ["batch"]  # obs columns

file = sys.argv[1] if len(sys.argv) > 1 else None
mdata = sailerx.read(file) if file else sailerx.simulate(n_cells=1500, n_peaks=10_000, n_types=6, seed=0)
atac = mdata["atac"]
model = sailerx.fit(mdata, batch_key=BATCH, seed=0)

# Peaks that differ between the two largest cell types. log2_fold_change comes from the decoder, at equal depth and batch;
# probability from the observed counts. Of the peaks marked differential, 5 % are expected to be false.
one, other = atac.obs[LABELS].value_counts().index[:2]
table = model.differential_accessibility(mdata, LABELS, one, other)
table.to_csv("differential.csv")
print(f"{one} against {other}: {table['differential'].sum()} of {len(table)} peaks differ")

# The most probable peak: imputed values next to observed ones.
best = table.index[0]
imputed = model.impute(mdata, peaks=best)
cells = atac.obs.assign(
    observed=(atac[:, best].X.toarray().ravel() > 0).astype(int), imputed=imputed.X.ravel()
)
plot.save(
    plot.umap_panels(model.embed(mdata), cells, [LABELS, "observed", "imputed"], title=best), "imputed.png"
)

# Means over groups need little memory, whatever the number of peaks.
model.impute(mdata, group_by=LABELS).to_df().T.to_csv("means.csv")

# Write all cells and all peaks to a file, in chunks of cells; anndata.read_h5ad("imputed.h5ad", backed="r") opens it.
# For a sparse matrix of high probabilities: threshold=0.1. For standard deviations: samples=20.
model.impute(mdata, out="imputed.h5ad")
