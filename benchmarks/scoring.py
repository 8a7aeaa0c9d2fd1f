"""Score one embedding or neighbour graph: by labels, and by prediction of molecules held out from it.

    python benchmarks/scoring.py split DATA.h5mu FOLDER        each molecule goes to one of two halves by a fair coin
    python benchmarks/scoring.py score WHOLE.npy DATA.h5mu FOLDER --half HALF.npy --labels cell_type --metrics euclidean cosine

WHOLE is an embedding of DATA.h5mu, HALF one computed from FOLDER/train.h5mu. Each command prints one line of JSON. README.md
describes the scores. `--tools` names a folder with a `score.py` whose `score` replaces `sailerx.metrics.score`, with equal
arguments and results.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import warnings
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import scipy.sparse as sp
from methods import held_out
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score, normalized_mutual_info_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

from sailerx import metrics
from sailerx.evaluate.clustering import RESOLUTIONS
from sailerx.evaluate.prediction import gain_of_neighbors, split_counts

MODALITIES = ("rna", "atac")
NEIGHBORS = 100


# By labels


def score_embedding(
    z: np.ndarray, labels: np.ndarray, metric: str, seed: int, tools: Path | None
) -> dict[str, Any]:
    """Score an embedding (cells × dimensions): ARI, NMI, resolution, clusters, silhouette and kNN accuracy."""
    if tools is None:
        return metrics.score(z, labels, metric=metric, seed=seed)
    spec = importlib.util.spec_from_file_location("score", tools / "score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score(z, labels, metric=metric, seed=seed)


def score_graph(graph: sp.csr_matrix, near: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """Score a graph (cells × cells) and neighbours (cells × neighbours, nearest first): all but silhouette."""
    best: dict[str, Any] = {"nmi": -1.0}
    for resolution in RESOLUTIONS:
        clusters = metrics.leiden(graph, resolution, seed=seed)
        nmi = float(normalized_mutual_info_score(labels, clusters))
        if nmi > best["nmi"]:
            ari = float(adjusted_rand_score(labels, clusters))
            best = {"ari": ari, "nmi": nmi, "resolution": resolution, "clusters": int(clusters.max()) + 1}
    return {**best, "knn": vote(near, labels)}


def vote(near: np.ndarray, labels: np.ndarray, n_votes: int = 15, folds: int = 3) -> float:
    """Compute the balanced accuracy of a majority vote of each cell's ``n_votes`` nearest cells of the other folds.

    If a cell has fewer neighbours of other folds in ``near``, all of them vote.
    """
    names, code = np.unique(labels, return_inverse=True)
    scores = []
    for train, test in StratifiedKFold(folds).split(near, code):
        voter = np.append(np.isin(np.arange(len(near)), train), False)[
            near[test]
        ]  # −1 (no neighbour) has no vote
        voter &= voter.cumsum(axis=1) <= n_votes
        votes = np.stack([(voter & (code[near[test]] == k)).sum(axis=1) for k in range(len(names))], axis=1)
        scores.append(balanced_accuracy_score(code[test], votes.argmax(axis=1)))
    return float(np.mean(scores))


# By held-out molecules


def nearest(z: np.ndarray, metric: str) -> np.ndarray:
    """Find the 100 nearest cells of each cell, without itself."""
    k = min(NEIGHBORS, len(z) - 1)
    return NearestNeighbors(n_neighbors=k, metric=metric).fit(z).kneighbors(return_distance=False)


# Commands


def split_file(data: Path, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Split molecules into train.h5mu and held_rna.npz, held_atac.npz; drop cells whose training half has no counts in a modality."""
    whole = mudata.read_h5mu(data)
    halves = {name: split_counts(whole[name].X, seed) for name in MODALITIES}
    keep = np.all([np.asarray(train.sum(axis=1)).ravel() > 0 for train, _ in halves.values()], axis=0)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: whole[name][keep].copy() for name in MODALITIES}
    for name, (train, held) in halves.items():
        parts[name].X = train[keep]
        sp.save_npz(folder / f"held_{name}.npz", held[keep])
    mudata.MuData(parts).write_h5mu(folder / ".train.h5mu")
    os.replace(folder / ".train.h5mu", folder / "train.h5mu")
    return {"cells": int(keep.sum()), "of": len(keep)}


def score_both(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Score by labels and by held-out molecules: a row per metric."""
    labels, train = (
        mudata.read_h5mu(given.data)["atac"].obs[given.labels],
        mudata.read_h5mu(given.folder / "train.h5mu"),
    )
    labels = labels.astype(str).to_numpy()
    held = {name: sp.load_npz(given.folder / f"held_{name}.npz") for name in MODALITIES}
    keep = ~np.isin(labels, given.drop)
    cells = np.ones(train.n_obs, dtype=bool)
    if given.held_out:
        keep &= held_out(len(labels), given.seed)
        cells = held_out(train.n_obs, given.seed)
    labels, halves = labels[keep], {name: (train[name].X[cells], held[name][cells]) for name in MODALITIES}
    rows = []
    for metric in given.metrics:
        if metric == "graph":
            by_labels = score_graph_file(given.whole, labels, given.seed)
        else:
            by_labels = score_embedding(np.load(given.whole)[keep], labels, metric, given.seed, given.tools)
        gains = {}
        if given.half is not None:
            half = np.load(given.half)
            near = half["near"] if metric == "graph" else nearest(half[cells], metric)
            gains = {f"gain_{name}": gain_of_neighbors(near, *halves[name]) for name in MODALITIES}
        rows.append(by_labels | gains | {"metric": metric, "cells": len(labels)})
    return rows


def score_graph_file(path: Path, labels: np.ndarray, seed: int) -> dict[str, Any]:
    found, n = np.load(path), len(labels)
    graph = sp.csr_matrix((found["weight"], (found["row"], found["col"])), shape=(n, n))
    return score_graph(graph, found["near"], labels, seed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    halves, both = commands.add_parser("split"), commands.add_parser("score")
    both.add_argument("whole", type=Path, help="embedding (.npy) or graph (.npz) of DATA.h5mu")
    for command in (halves, both):
        command.add_argument("data", type=Path, metavar="DATA.h5mu")
        command.add_argument("folder", type=Path)
    both.add_argument(
        "--half", type=Path, help="that of FOLDER/train.h5mu, for the score by unseen molecules"
    )
    both.add_argument("--metrics", nargs="+", default=["euclidean"], choices=["euclidean", "cosine", "graph"])
    both.add_argument("--seed", type=int, default=0)
    both.add_argument("--held-out", action="store_true", help="only on cells that `unseen` did not train on")
    both.add_argument("--labels", required=True, help="obs column of cell types")
    both.add_argument(
        "--drop", nargs="+", default=[], help="labels of cells left out of the scores by labels"
    )
    both.add_argument("--tools", type=Path, help="folder with score.py")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    mudata.set_options(pull_on_update=False)
    answer = score_both(given) if given.command == "score" else split_file(given.data, given.folder)
    print(json.dumps(answer, default=float))  # numpy's numbers too


if __name__ == "__main__":
    main()
