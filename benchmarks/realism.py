"""Compare a simulated data set with the real one that its preset imitates: depth, frequency of features, and overlap of cell types.

    python benchmarks/realism.py snareseq_cortex.h5mu --preset snareseq --drop Mis --out benchmarks/results/realism.csv
    python benchmarks/realism.py pbmc_10x_100.h5mu --preset 10x --drop unlabelled --out benchmarks/results/realism.csv

The simulation has as many genes as are seen in the real data, and as many peaks. Where these have fewer cells than the preset,
equally many are drawn from it, 20 times, and means are shown. README.md describes the columns.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from pages import markdown, parse
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

import sailerx
from sailerx.data.lsi import lsi
from sailerx.data.rna_pca import rna_pca
from sailerx.data.rows import unit_rows
from sailerx.metrics import knn_accuracy

N_DRAWS = 20
N_LSI = 29
FEW = 500
NAMES = {"rna": "molecules", "atac": "open peaks"}


def depths(mdata: mudata.MuData) -> dict[str, float]:
    """Measure depth, and the share of cells that features are seen in: median and 90th percentile of those ever seen."""
    found: dict[str, float] = {}
    for name in NAMES:
        x = sp.csr_matrix(mdata[name].X)
        depth = np.asarray(x.sum(axis=1)).ravel() if name == "rna" else x.getnnz(axis=1)
        often = x.getnnz(axis=0) / x.shape[0]
        found |= {f"{name}_depth": float(np.median(depth)), f"{name}_spread": float(np.log(depth).std())}
        found |= dict(
            zip((f"{name}_often", f"{name}_most"), np.quantile(often[often > 0], (0.5, 0.9)), strict=True)
        )
    return found


def overlap(mdata: mudata.MuData, labels: np.ndarray, seed: int) -> dict[str, float]:
    """Name cell types by nearest neighbours in each modality."""
    atac = sp.csr_matrix((sp.csr_matrix(mdata["atac"].X) > 0).astype(np.float32))
    spaces = {
        "rna": rna_pca(sp.csr_matrix(mdata["rna"].X), seed),
        "atac": unit_rows(lsi(atac, min(N_LSI, mdata.n_obs // 8), seed)),
    }
    accuracy = leave_one_out if mdata.n_obs < FEW else knn_accuracy
    return {f"{name}_knn": accuracy(z, labels) for name, z in spaces.items()}


def leave_one_out(z: np.ndarray, labels: np.ndarray) -> float:
    """Balanced accuracy of the vote of three neighbours, for so few cells that 15 reach beyond most types."""
    found = cross_val_predict(KNeighborsClassifier(3), z, labels, cv=LeaveOneOut())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a type of one cell
        return float(balanced_accuracy_score(labels, found))


def described(mdata: mudata.MuData, labels: np.ndarray, seed: int) -> dict[str, float]:
    return depths(mdata) | overlap(mdata, labels, seed)


def simulated(preset: str, like: mudata.MuData, seed: int) -> dict[str, float]:
    """Describe a simulation with the sizes of real data."""
    expressed = int(
        (like["rna"].X.getnnz(axis=0) > 0).sum()
    )  # annotation names genes that no cell of the tissue expresses
    sizes = {"n_genes": expressed, "n_peaks": like["atac"].n_vars}
    whole = sailerx.simulate(preset=preset, **sizes, seed=seed)
    rng = np.random.default_rng(seed)
    few = like.n_obs < whole.n_obs
    draws = [rng.permutation(whole.n_obs)[: like.n_obs] for _ in range(N_DRAWS if few else 1)]
    found = [
        described(part, part.obs["cell_type"].astype(str).to_numpy(), seed)
        for part in (whole[i].copy() for i in draws)
    ]
    return dict(pd.DataFrame(found).mean())


def table(rows: pd.DataFrame) -> str:
    """Format one line per data set."""
    head = [
        "data",
        "cells",
        "molecules",
        "open peaks",
        "spread of log depth, RNA",
        "ATAC",
        "share of cells with a gene",
        "a peak",
    ]
    lines = [[*head, "kNN of RNA", "of ATAC"], ["---", *["---:"] * 9]]
    for row in rows.to_dict("records"):
        seen = [f"{row[f'{name}_often']:.4f}, {row[f'{name}_most']:.3f}" for name in NAMES]
        lines.append(
            [
                *(
                    str(row["data"]),
                    f"{row['cells']:,.0f}",
                    *(f"{row[f'{name}_depth']:,.0f}" for name in NAMES),
                ),
                *(*(f"{row[f'{name}_spread']:.2f}" for name in NAMES), *seen),
                *(f"{row[f'{name}_knn']:.3f}" for name in NAMES),
            ]
        )
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--preset", choices=("snareseq", "10x"))
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--drop", nargs="+", default=[], help="labels of cells that are left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="OUT.csv", help="what is there of other data stays")
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    warnings.filterwarnings("ignore")
    real = sailerx.read(given.data)
    counted = [np.asarray(sp.csr_matrix(real[name].X).sum(axis=1)).ravel() > 0 for name in NAMES]
    labels = real["atac"].obs[given.labels].astype(str).to_numpy()
    kept = np.all(counted, axis=0) & ~np.isin(labels, given.drop)
    real, labels = real[kept].copy(), labels[kept]
    rows: list[dict[str, Any]] = [
        {"data": given.data.stem, "cells": real.n_obs} | described(real, labels, given.seed),
        {"data": f'simulated, `preset="{given.preset}"`', "cells": real.n_obs}
        | simulated(given.preset, real, given.seed),
    ]
    found = pd.DataFrame(rows)
    if given.out.exists():
        old = pd.read_csv(given.out)
        found = pd.concat([old[~old["data"].isin(found["data"])], found])
    found.to_csv(given.out, index=False, float_format="%.5g")
    print(table(found))


if __name__ == "__main__":
    mudata.set_options(pull_on_update=False)
    main()
