"""Motif activity and peak-to-gene links: python regulators.py [multiome.h5mu genome.fa genes.gtf].

Without files it runs on simulated data with a genome of its own. Writes motifs.csv, motifs.png, heatmap.png, links.csv and
links.png into the current folder. Needs: pip install 'sailerx[plot,motifs]'
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import sailerx
from sailerx import motifs, plot

LABELS, BATCH = "cell_type", ["batch"]  # obs columns

if len(sys.argv) > 1:
    file, genome, genes = sys.argv[1:]
    mdata = sailerx.read(file)
else:  # a motif of another factor is planted in the peaks of each type; 300 genes follow a peak near their start
    genome, depth = "genome.fa", {"rna_depth": 2000.0, "atac_depth": 600.0}
    mdata = sailerx.simulate(1500, 1000, 8000, 6, seed=0, genome=genome, n_links=300, **depth)
    genes = mdata["rna"].var
model = sailerx.fit(mdata, batch_key=BATCH, seed=0)

# Motifs in peaks, by exact thresholds; the scan is kept in a folder beside the genome.
known = motifs.jaspar("vertebrates")
matches = motifs.scan(mdata, genome, known)

# z-scores of counts, to test; and of imputed accessibility, to look at: tests between groups of cells would be far too sure.
activity = motifs.activity(mdata, matches)
imputed = model.motif_activity(mdata, matches)

# Motifs that are more active in the largest cell type than in all other cells.
largest = mdata["atac"].obs[LABELS].value_counts().index[0]
table = motifs.differential(activity, LABELS, largest, batch_key=BATCH[0])
table.to_csv("motifs.csv")
shown = ["name", "difference", "auroc", "p_value", "fdr"]
print(table.sort_values("difference", ascending=False).head()[shown].to_string())
plot.save(plot.motif_ranks(table, known, title=f"{largest} against all other cells"), "motifs.png")
plot.save(plot.motif_heatmap(imputed, LABELS), "heatmap.png")

# Peaks within 60,000 bases of a gene's start whose accessibility follows its expression, against like peaks on other
# chromosomes. p_value is of a single pair; of the pairs that are linked, 5 % are expected to be false. With few cell types many
# peaks vary alike by chance, so that few pairs can be called, or none: then take the first as candidates.
links = model.links(mdata, genes, distance=60_000)
links.to_csv("links.csv", index=False)
print(f"{links['linked'].sum()} of {len(links)} pairs are linked")
print(links.head()[["gene", "peak", "distance", "correlation", "p_value", "fdr"]].to_string())

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for mask, colour, label in (
    (~links["linked"], "#999999", "not linked"),
    (links["linked"], "#D55E00", "linked"),
):
    axes.scatter(
        links["correlation"][mask], -np.log10(links["p_value"][mask]), s=5, color=colour, label=label
    )
axes.set_xlabel("correlation of peak and gene over metacells")
axes.set_ylabel("-log10 p-value")
axes.legend(frameon=False)
plot.save(figure, "links.png")
