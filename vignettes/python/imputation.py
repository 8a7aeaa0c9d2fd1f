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

# Peaks that differ between the two largest types. log2_fold_change is the decoder's, at equal depth and batch; probability
# comes from the observed counts. Of the peaks marked differential, 5 % are expected to be false.
one, other = atac.obs[LABELS].value_counts().index[:2]
table = model.differential_accessibility(mdata, LABELS, one, other)
table.to_csv("differential.csv")
print(f"{one} against {other}: {table['differential'].sum()} of {len(table)} peaks differ")

# Imputed values of the most probable one beside its counts.
best = table.index[0]
imputed = model.impute(mdata, peaks=best)
cells = atac.obs.assign(
    observed=(atac[:, best].X.toarray().ravel() > 0).astype(int), imputed=imputed.X.ravel()
)
plot.save(
    plot.umap_panels(model.embed(mdata), cells, [LABELS, "observed", "imputed"], title=best), "imputed.png"
)

# Means over groups need little memory, for any number of peaks.
model.impute(mdata, group_by=LABELS).to_df().T.to_csv("means.csv")

# All cells and all peaks go to a file, some cells at a time; anndata.read_h5ad("imputed.h5ad", backed="r") opens it.
# Only what is probable, as a sparse matrix: threshold=0.1. With a standard deviation: samples=20.
model.impute(mdata, out="imputed.h5ad")
