"""Measure whether types that one modality alone tells apart are told apart, on simulated pairs with known truth.

    python benchmarks/splits.py --out benchmarks/results/splits.csv --peers-python ~/peers/bin/python
    python benchmarks/splits.py --table benchmarks/results/splits.csv --into benchmarks/README.md

Six types, two of which fall into halves that only ATAC (or, in the mirror, only RNA) tells apart; README.md describes the columns.
The embedding does not depend on the network, so that only the joint embedding is computed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd
from pages import markdown, parse
from quality import HERE, run
from scoring import vote

import sailerx
from sailerx.config import Settings
from sailerx.data.lsi import lsi
from sailerx.data.multiome import Multiome
from sailerx.data.rows import unit_rows
from sailerx.joint.embedding import JointEmbedding
from sailerx.metrics import knn_accuracy

SIZE: dict[str, Any] = {
    "n_cells": 3000,
    "n_genes": 2000,
    "n_peaks": 30_000,
    "n_types": 6,
    "n_batches": 1,
    "n_programs": 0,
}
#: each cell of one type alone: none between two types, no ambient molecules
CLEAN = {"max_transition": 0.0, "max_ambient": 0.0}
DEEP, SHALLOW = ({"atac_depth": depth, "rna_depth": 1500.0} for depth in (2000.0, 510.0))
CASES: dict[str, dict[str, Any]] = {
    "pure cells, ATAC splits, deep": {"n_atac_splits": 2, **DEEP, **CLEAN},
    "pure cells, ATAC splits, shallow": {"n_atac_splits": 2, **SHALLOW, **CLEAN},
    "pure cells, RNA splits": {"n_rna_splits": 2, **DEEP, **CLEAN},
    "ATAC splits, deep": {"n_atac_splits": 2, **DEEP},
    "ATAC splits, shallow": {"n_atac_splits": 2, **SHALLOW, "split_change": 1.5},
    "RNA splits": {"n_rna_splits": 2, **DEEP},
    "ATAC shuffled": {"n_atac_splits": 2, **DEEP},
}


def accuracies(z: np.ndarray, kind: np.ndarray, subtype: np.ndarray, split: list[str]) -> dict[str, float]:
    """Score an embedding: halves within the split types, types, and all subtypes."""
    halves = [knn_accuracy(z[kind == name], subtype[kind == name], folds=5) for name in split]
    return {
        "halves": float(np.mean(halves)),
        "types": knn_accuracy(z, kind, folds=5),
        "all": knn_accuracy(z, subtype, folds=5),
    }


def wnn(mdata: mudata.MuData, peers_python: str) -> np.ndarray:
    """Compute muon's weighted nearest neighbours in an environment that has it: neighbours, cells × 100, the nearest first."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data.h5mu", Path(folder) / "wnn.npz"
        mdata.write(data)
        run(peers_python, HERE / "methods.py", "wnn", 0, data, out, "--threads", 1, threads=1)
        near: np.ndarray = np.load(out)["near"]
        return near


def votes(near: np.ndarray, kind: np.ndarray, subtype: np.ndarray, split: list[str]) -> dict[str, float]:
    """Score nearest cells as `accuracies` does an embedding; within a split type, its nearest cells vote."""
    halves = []
    for name in split:
        own = np.flatnonzero(kind == name)
        position = np.full(len(kind), -1)
        position[own] = np.arange(len(own))
        inside = np.where(near[own] < 0, -1, position[near[own]])
        order = np.argsort(inside < 0, axis=1, kind="stable")
        halves.append(vote(np.take_along_axis(inside, order, axis=1), subtype[own], folds=5))
    return {
        "halves": float(np.mean(halves)),
        "types": vote(near, kind, folds=5),
        "all": vote(near, subtype, folds=5),
    }


def rows_of(case: str, seed: int, peers_python: str | None) -> list[dict[str, Any]]:
    """Simulate a case and score all embeddings of it, and WNN if there is an environment that has it."""
    mdata = sailerx.simulate(**SIZE, seed=seed, **CASES[case])
    kind, subtype = (mdata.obs[name].astype(str).to_numpy() for name in ("cell_type", "subtype"))
    split = sorted({name[:-1] for name in subtype if name[-1] in "ab"})
    if case == "ATAC shuffled":
        mdata["atac"].X = mdata["atac"].X[np.random.default_rng(seed).permutation(len(kind))]
    data = Multiome.from_mudata(mdata, Settings(), seed=seed)
    start = time.process_time()
    joint = JointEmbedding.learn(data, Settings().for_data(4, hybrid=False), seed)
    seconds = time.process_time() - start
    linear = unit_rows(lsi(data.x.read(), 29, seed))
    found = {
        "RNA PCA": data.g,
        "ATAC LSI, 29 components": linear,
        "PCA and LSI side by side": np.concatenate([data.g, linear], axis=1),
        "**sailerx**": joint.rows(data.x, data.g, data.has_rna),
    }
    about = {"case": case, "seed": seed, "open_peaks": float(np.median(data.depth))}
    rows = [about | {"method": name} | accuracies(z, kind, subtype, split) for name, z in found.items()]
    if peers_python:
        rows.insert(
            -1, about | {"method": "WNN (muon)"} | votes(wnn(mdata, peers_python), kind, subtype, split)
        )
    rows[-1] |= {"alpha": joint.choice.alpha, "cpu_seconds": seconds}
    return rows


def table(rows: pd.DataFrame) -> str:
    """Format means over seeds, with the lowest seed's halves."""
    lines = [["case", "open peaks", "method", "halves", "lowest", "types", "all", "α", "CPU seconds"]]
    lines.append(["---", "---:", "---", *["---:"] * 6])
    for (case, method), of in rows.groupby(["case", "method"], sort=False):
        scores = [of["halves"].mean(), of["halves"].min(), of["types"].mean(), of["all"].mean()]
        alpha = ", ".join(f"{value:g}" for value in of["alpha"].dropna())
        seconds = "" if of["cpu_seconds"].isna().all() else f"{of['cpu_seconds'].mean():.0f}"
        shown = [f"{score:.3f}" for score in scores]
        lines.append([str(case), f"{of['open_peaks'].mean():,.0f}", str(method), *shown, alpha, seconds])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--peers-python", help="Python that has requirements-peers.txt, for WNN")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    if not given.out:
        parser.error("--out is needed, or --table")
    mudata.set_options(pull_on_update=False)
    rows: list[dict[str, Any]] = []
    for case in given.cases:
        for seed in given.seeds:
            rows += rows_of(case, seed, given.peers_python)
            pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
