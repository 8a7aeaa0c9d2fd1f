"""Read the paper's data sets from the files in which they are published."""

from __future__ import annotations

import gzip
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from hybrid import together
from scipy.io import mmread

import sailerx

SNARE = "GSE126074_AdBrainCortex_SNAREseq_"
SHARE_ATAC, SHARE_RNA = "GSM4156597_skin.late.anagen", "GSM4156608_skin.late.anagen"


def tenx(file: Path) -> mudata.MuData:
    """Read Cell Ranger's matrix of genes and peaks."""
    found = sailerx.read(file)
    return together(found["rna"], found["atac"])


def snareseq(folder: Path) -> mudata.MuData:
    """Read SNARE-seq (GSE126074): matrices of features × cells in Matrix Market format, and the names of both."""
    rna = _market(
        folder, f"{SNARE}cDNA.counts.mtx.gz", f"{SNARE}cDNA.genes.tsv.gz", f"{SNARE}cDNA.barcodes.tsv.gz"
    )
    atac = _market(
        folder,
        f"{SNARE}chromatin.counts.mtx.gz",
        f"{SNARE}chromatin.peaks.tsv.gz",
        f"{SNARE}chromatin.barcodes.tsv.gz",
    )
    return together(rna, atac)


def shareseq(folder: Path) -> mudata.MuData:
    """Read SHARE-seq of skin (GSE140203): ATAC in Matrix Market format, RNA as a table, types and both barcodes of each cell."""
    cells = pd.read_csv(folder / "celltype_skin.txt", sep="\t")
    of_atac, of_rna, kind = (cells.iloc[:, i].astype(str) for i in range(3))
    atac = _market(
        folder, f"{SHARE_ATAC}.counts.txt.gz", f"{SHARE_ATAC}.peaks.bed.gz", f"{SHARE_ATAC}.barcodes.txt.gz"
    )
    names = of_rna if atac.obs_names.isin(of_rna).all() else of_atac
    atac = atac[names.to_numpy()].copy()
    rna = _table(folder / f"{SHARE_RNA}.rna.counts.txt.gz")[of_rna.to_numpy()].copy()
    for part in (rna, atac):
        part.obs_names = of_rna.to_numpy()
        part.obs["cell_type"] = pd.Categorical(kind.to_numpy())
    return together(rna, atac)


def stacked(paired: mudata.MuData, other: mudata.MuData) -> mudata.MuData:
    """Put the cells of a second set below those of the first, on the genes of both and the peaks of the first."""
    genes = paired["rna"].var_names.intersection(other["rna"].var_names)
    moved = sailerx.match_peaks(other["atac"], paired["atac"])
    parts = {
        "rna": [paired["rna"][:, genes], other["rna"][:, genes]],
        "atac": [paired["atac"], moved[:, paired["atac"].var_names]],
    }
    joined = {
        name: ad.concat(both, label="set", keys=["pbmc10k", "pbmc3k"], index_unique="-", merge="first")
        for name, both in parts.items()
    }
    return together(joined["rna"], joined["atac"])


def _market(folder: Path, matrix: str, features: str, cells: str) -> ad.AnnData:
    """Read a matrix of features × cells; peaks in BED format are named chrom:start-end."""
    with gzip.open(folder / matrix) as file:
        x = sp.csr_matrix(mmread(file).T, dtype=np.float32)
    names = pd.read_csv(folder / features, sep="\t", header=None, dtype=str)
    if ".bed" in features:
        index = names[0] + ":" + names[1] + "-" + names[2]
    else:
        index = names.iloc[:, -1] if names.shape[1] <= 2 else names[0]
    barcodes = pd.read_csv(folder / cells, sep="\t", header=None, dtype=str)[0]
    found = ad.AnnData(x, pd.DataFrame(index=barcodes.to_numpy()), pd.DataFrame(index=index.to_numpy()))
    found.var_names_make_unique()
    return found


def _table(file: Path) -> ad.AnnData:
    """Read a table of genes × cells, a thousand genes at a time."""
    parts, genes, cells = [], [], pd.Index([])
    for chunk in pd.read_csv(file, sep="\t", index_col=0, chunksize=1000):
        parts.append(sp.csr_matrix(chunk.to_numpy(np.float32)))
        genes += list(chunk.index.astype(str))
        cells = chunk.columns
    x = sp.csr_matrix(sp.vstack(parts).T)
    found = ad.AnnData(x, pd.DataFrame(index=cells.astype(str)), pd.DataFrame(index=genes))
    found.var_names_make_unique()
    return found
