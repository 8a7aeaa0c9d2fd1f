"""Measure hybrid training: the quality of ATAC-only cells trained together with paired cells, and by three other ways.

    python benchmarks/hybrid.py DATA.h5mu --labels cell_type --library library_batch --atac-only 09J 09K 09L --drop Mis \\
        --out benchmarks/results/hybrid.csv
    python benchmarks/hybrid.py --simulated --out benchmarks/results/hybrid.csv
    python benchmarks/hybrid.py --table benchmarks/results/hybrid.csv --into benchmarks/README.md

The RNA of whole libraries is removed (simulated data: of one batch of three). Their cells are embedded in four ways and scored by
labels: clusters of the ATAC-only cells (best of the usual resolutions), and labels voted by the 15 nearest paired cells; and, over
all cells, by mixing of the two sets (iLISI) and separation of types (cLISI).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd
from pages import parse
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

import sailerx
from sailerx import metrics
from sailerx.data.lsi import lsi

METHODS = {
    "lsi": "ATAC LSI of all cells, components 2 to 21",
    "alone": "the ATAC-only cells alone",
    "paired": "learned from the paired cells alone",
    "hybrid": "**hybrid**: learned from all cells",
}


def embedded(method: str, mdata: mudata.MuData, alone: np.ndarray, seed: int) -> np.ndarray:
    """Embed all cells; those in ``alone`` (boolean per cell) are treated as ATAC-only."""
    # the joint embedding does not depend on the network
    quiet: dict[str, Any] = {"seed": seed, "progress": "none", "device": "cpu", "max_epochs": 0}
    atac = mdata["atac"]
    if method == "lsi":
        return lsi(atac.X, seed=seed)
    if method == "alone":
        return sailerx.fit(atac[alone].copy(), **quiet).embed(atac)
    shown = together(mdata["rna"][~alone].copy(), atac)
    learned_from = together(shown["rna"], atac[~alone].copy()) if method == "paired" else shown
    return sailerx.fit(learned_from, **quiet).embed(shown)


def together(rna: Any, atac: Any) -> mudata.MuData:
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData({"rna": rna, "atac": atac})


def score(
    z: np.ndarray, labels: np.ndarray, alone: np.ndarray, drop: list[str], seed: int
) -> dict[str, float]:
    """Score ATAC-only cells by clusters and by labels transferred from paired cells, and all cells by LISI."""
    z = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    known = ~np.isin(labels, drop)
    found = metrics.score(z[alone & known], labels[alone & known], seed=seed)
    voter = KNeighborsClassifier(15).fit(z[~alone & known], labels[~alone & known])
    voted = voter.predict(z[alone & known])
    sets, kinds = np.where(alone[known], "alone", "paired"), labels[known]
    return {
        "ilisi": metrics.ilisi(z[known], sets),
        "clisi": metrics.clisi(z[known], kinds),
        "nmi": float(found["nmi"]),
        "ari": float(found["ari"]),
        "transfer": float(balanced_accuracy_score(labels[alone & known], voted)),
        "cells": int((alone & known).sum()),
    }


COLUMNS = {"nmi": "NMI", "ari": "ARI", "transfer": "label transfer", "ilisi": "iLISI", "clisi": "cLISI"}


def table(rows: pd.DataFrame) -> str:
    """Format scores as a Markdown table: mean over seeds, and the score of each seed."""
    lines = [
        f"| data | method | {' | '.join(COLUMNS.values())} |",
        f"| --- | --- |{' ---: |' * len(COLUMNS)}",
    ]
    for data in rows["data"].unique():
        for method, title in METHODS.items():
            found = rows[(rows["method"] == method) & (rows["data"] == data)].sort_values("seed")
            if len(found):
                cells = [
                    f"{found[s].mean():.3f} ({', '.join(f'{v:.3f}' for v in found[s])})" for s in COLUMNS
                ]
                lines.append(f"| {data} | {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def load(given: argparse.Namespace, seed: int) -> tuple[mudata.MuData, np.ndarray, np.ndarray]:
    """Load the data, or simulate another for each seed; also return which cells lose their RNA, and the labels."""
    mdata = sailerx.simulate(seed=seed) if given.simulated else sailerx.read(given.data)
    library, chosen = ("batch", ["batch1"]) if given.simulated else (given.library, given.atac_only)
    obs = mdata["atac"].obs
    alone = obs[library].astype(str).isin(chosen).to_numpy()
    return mdata, alone, obs[given.labels].astype(str).to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--simulated", action="store_true", help="simulated data in place of DATA.h5mu")
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--library", default="library_batch", help="obs column of libraries")
    parser.add_argument("--atac-only", nargs="+", default=[], help="libraries whose RNA is taken away")
    parser.add_argument("--drop", nargs="+", default=[], help="labels of cells that are not scored")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    warnings.filterwarnings("ignore")
    name = "simulated" if given.simulated else given.data.stem
    for seed in given.seeds:
        mdata, alone, labels = load(given, seed)
        for method in given.methods:
            rows = pd.read_csv(given.out).to_dict("records") if given.out.exists() else []
            if any((row["data"], row["method"], row["seed"]) == (name, method, seed) for row in rows):
                continue
            z = embedded(method, mdata, alone, seed)
            row = {"data": name, "method": method, "seed": seed} | score(z, labels, alone, given.drop, seed)
            print(row, flush=True)
            pd.DataFrame([*rows, row]).to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
