"""Measure the joint embedding on a file with labels: by labels, by held-out molecules, on new cells, and without RNA.

    python benchmarks/joint.py DATA.h5mu --labels cell_type --drop Mis --library library_batch --atac-only 09J 09K 09L \\
        --out benchmarks/results/joint.csv
    python benchmarks/joint.py --table benchmarks/results/joint.csv --into benchmarks/README.md

The embedding does not depend on the network, so that only the joint embedding is computed. README.md describes the columns.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from hybrid import score as score_hybrid
from hybrid import together
from pages import markdown, parse

import sailerx
from sailerx import metrics
from sailerx.config import Settings
from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.multiome import Multiome
from sailerx.joint.embedding import JointEmbedding

SCORES = ("ari", "nmi", "knn")


def learned(mdata: mudata.MuData, seed: int, **options: Any) -> tuple[Multiome, JointEmbedding, float]:
    """Learn the joint embedding; also return the CPU seconds that takes, the RNA reference included."""
    start = time.process_time()
    data = Multiome.from_mudata(mdata, Settings(**options), seed=seed)
    settings = Settings(**options).for_data(4, hybrid=bool(data.has_rna.any() and not data.has_rna.all()))
    return data, JointEmbedding.learn(data, settings, seed), time.process_time() - start


def labelled(z: np.ndarray, labels: np.ndarray, known: np.ndarray, seed: int) -> dict[str, float]:
    found = metrics.score(z[known], labels[known], seed=seed)
    return {name: float(found[name]) for name in SCORES}


def whole(mdata: mudata.MuData, labels: np.ndarray, known: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """All cells, and gains of neighbours in an embedding of half of the molecules."""
    halves = {name: metrics.split_counts(mdata[name].X, seed) for name in ("rna", "atac")}
    seen = np.all([np.asarray(train.sum(axis=1)).ravel() > 0 for train, _ in halves.values()], axis=0)
    parts = {
        name: ad.AnnData(train[seen], mdata[name].obs[seen].copy(), mdata[name].var.copy())
        for name, (train, _) in halves.items()
    }
    half, half_joint, _ = learned(together(parts["rna"], parts["atac"]), seed)
    data, joint, seconds = learned(mdata, seed)

    def gains(z: np.ndarray) -> dict[str, float]:
        return {
            f"gain_{name}": metrics.predictive_gain(z, train[seen], held[seen])
            for name, (train, held) in halves.items()
        }

    teacher = {"what": "all cells, RNA reference"} | labelled(data.g, labels, known, seed) | gains(half.g)
    rows = joint.rows(data.x, data.g, data.has_rna)
    ours = {"what": "all cells, **sailerx**", "alpha": joint.choice.alpha, "cpu_seconds": seconds}
    ours |= labelled(rows, labels, known, seed) | gains(half_joint.rows(half.x, half.g, half.has_rna))
    peaks, alone, _ = learned(mdata, seed, gamma=0.0)
    without = {"what": "all cells, ATAC alone"} | labelled(alone.rows(peaks.x), labels, known, seed)
    return [teacher, ours, without]


def unseen(mdata: mudata.MuData, labels: np.ndarray, known: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """A tenth of the cells, embedded by what was learned from the others."""
    new = np.random.default_rng(seed).random(len(labels)) < 0.1
    seen, joint, _ = learned(together(mdata["rna"][~new].copy(), mdata["atac"][~new].copy()), seed)
    data = Multiome.from_mudata(mdata, Settings(), seed=seed)
    x = PeaksInMemory.of(data.x[np.flatnonzero(new)])
    assert seen.reference is not None
    g = seen.reference.of(mdata["rna"], "rna", np.flatnonzero(new))
    found = {
        "new cells, RNA reference of all": data.g[new],
        "new cells, **sailerx**": joint.rows(x, g, np.ones(int(new.sum()), bool)),
        "new cells, **sailerx**, ATAC alone": joint.rows(x),
    }
    return [{"what": name} | labelled(z, labels[new], known[new], seed) for name, z in found.items()]


def without_rna(
    mdata: mudata.MuData, labels: np.ndarray, alone: np.ndarray, drop: list[str], seed: int
) -> list[dict[str, Any]]:
    """Cells of some libraries without their RNA, beside the others."""
    data, joint, _ = learned(together(mdata["rna"][~alone].copy(), mdata["atac"]), seed)
    rows = joint.rows(data.x, data.g[data.has_rna], data.has_rna)
    found = score_hybrid(rows, labels, alone, drop, seed)
    return [{"what": "cells without RNA, **sailerx**"} | {k: v for k, v in found.items() if k != "cells"}]


COLUMNS = {
    **{"ari": "ARI", "nmi": "NMI", "knn": "kNN", "gain_rna": "gain RNA", "gain_atac": "gain ATAC"},
    **{"transfer": "label transfer", "ilisi": "iLISI", "clisi": "cLISI", "cpu_seconds": "CPU seconds"},
}

#: columns whose standard deviation over seeds is shown
SPREAD = (*SCORES, "gain_rna", "gain_atac")


def table(rows: pd.DataFrame) -> str:
    """Format means and, of scores and gains, standard deviations over seeds."""
    lines = [["cells", *COLUMNS.values(), "α"], ["---", *["---:"] * len(COLUMNS), "---:"]]
    for what, of in rows.groupby("what", sort=False):
        cells = []
        for name in COLUMNS:
            values = of[name].dropna() if name in of else pd.Series(dtype=float)
            digits = 4 if name.startswith("gain") else 0 if name == "cpu_seconds" else 3
            spread = f" ± {values.std():.{digits}f}" if name in SPREAD and len(values) > 1 else ""
            cells.append(f"{values.mean():.{digits}f}{spread}" if len(values) else "")
        alpha = ", ".join(f"{value:g}" for value in of["alpha"].dropna())
        lines.append([str(what), *cells, alpha])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--library", default="library_batch", help="obs column of libraries")
    parser.add_argument("--atac-only", nargs="+", default=[], help="libraries whose RNA is taken away")
    parser.add_argument("--drop", nargs="+", default=[], help="labels of cells that are not scored")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    warnings.filterwarnings("ignore")
    mdata = sailerx.read(given.data)
    counted = [np.asarray(sp.csr_matrix(mdata[name].X).sum(axis=1)).ravel() > 0 for name in ("rna", "atac")]
    mdata = mdata[np.all(counted, axis=0)].copy()
    obs = mdata["atac"].obs
    labels = obs[given.labels].astype(str).to_numpy()
    known = ~np.isin(labels, given.drop)
    rows: list[dict[str, Any]] = []
    for seed in given.seeds:
        found = whole(mdata, labels, known, seed) + unseen(mdata, labels, known, seed)
        if given.atac_only:
            alone = obs[given.library].astype(str).isin(given.atac_only).to_numpy()
            found += without_rna(mdata, labels, alone, given.drop, seed)
        rows += [{"data": given.data.stem, "seed": seed} | row for row in found]
        pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    mudata.set_options(pull_on_update=False)
    main()
