"""Experiment 1: clusters of paired cells against labels, beside other tools, and with every RNA reference."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mudata
import numpy as np
import scipy.sparse as sp
import scoring
from paper_sets import Case
from paper_steps import NotRunError, Plan, Row, attempt, ended, kept, need, rows_of, save_array
from peers import PEERS
from quality import run

from sailerx import metrics
from sailerx.config import Settings
from sailerx.data.multiome import Multiome
from sailerx.joint.embedding import JointEmbedding

HERE = Path(__file__).resolve().parent
SCORES = ("ari", "nmi", "silhouette", "knn")
TITLES = {
    "sailerx": "sailerx",
    "paper": "paper preset of sailerx",
    "rna_pca": "RNA PCA",
    "lsi_49": "ATAC LSI",
    "wnn": "WNN",
    "mofa": "MOFA+",
    "schema": "Schema",
    "multivi": "MultiVI",
    "peakvi": "PeakVI",
}
#: slow methods, which QUICK=1 leaves out
SLOW = ("paper", "mofa", "multivi", "peakvi")
REFERENCES = {
    "own": "PCA of sailerx",
    "pca": "PCA, scanpy's recipe",
    "harmony": "Harmony",
    "scanorama": "Scanorama",
    "scvi": "scVI",
}
#: packages that compute a reference
NEEDS = {
    "own": [],
    "pca": ["scanpy"],
    "harmony": ["scanpy", "harmonypy"],
    "scanorama": ["scanpy", "scanorama"],
    "scvi": ["scvi"],
}


@dataclass(frozen=True)
class Clusters:
    """Clusters of the scored cells (−1: not in the graph), with scores."""

    of_cell: np.ndarray
    scores: dict[str, float]


def experiment(case: Case, plan: Plan) -> list[Row]:
    """Score all methods, and all references alone and as the teacher of sailerx."""
    rows = []
    for method in TITLES:
        rows += attempt("clustering", case.name, method, partial(_method_rows, case, plan, method))
    for name in REFERENCES:
        rows += attempt("reference", case.name, name, partial(_reference_rows, case, plan, name))
    return rows


def _method_rows(case: Case, plan: Plan, method: str) -> list[Row]:
    plan.refuse(method, case.name)
    return kept(
        case.folder,
        f"clustering-{method}",
        lambda: rows_of("clustering", case.name, method, clusters(case, plan, method).scores),
    )


def clusters(case: Case, plan: Plan, method: str) -> Clusters:
    """Cluster by a method's embedding, at the resolution with the best NMI, over the cells that are scored."""
    mdata = case.read()
    labels, known = case.groups(mdata), case.known(mdata)
    file = embedding(case, plan, method)
    if file.suffix == ".npz":
        return _of_graph(file, labels, known, plan.seed)
    z = np.load(file)[known]
    metric = "euclidean" if method in ("sailerx", "paper") else "cosine"
    if metric == "cosine":  # the better of both, as for every other tool
        metric = str(metrics.best_score(z, labels[known], seed=plan.seed)["metric"])
    found = metrics.score(z, labels[known], metric=metric, seed=plan.seed)
    of_cell = np.full(len(labels), -1)
    of_cell[known] = metrics.leiden_clusters(z, found["resolution"], metric=metric, seed=plan.seed).codes
    return Clusters(of_cell, {name: found[name] for name in (*SCORES, "clusters")})


def _of_graph(file: Path, labels: np.ndarray, known: np.ndarray, seed: int) -> Clusters:
    """Cluster a neighbour graph, which has only the cells that are scored."""
    found = scoring.score_graph_file(file, labels[known], seed)
    saved, n = np.load(file), int(known.sum())
    graph = sp.csr_matrix((saved["weight"], (saved["row"], saved["col"])), shape=(n, n))
    of_cell = np.full(len(labels), -1)
    of_cell[known] = metrics.leiden(graph, found["resolution"], seed=seed)
    return Clusters(of_cell, {name: found[name] for name in (*SCORES, "clusters") if name in found})


def embedding(case: Case, plan: Plan, method: str) -> Path:
    """Return the file of an embedding (or of WNN's graph), computed unless it is there.

    Raises
    ------
    NotRunError
        If it is left out, or a package is missing, or another tool ends with an error.
    """
    plan.refuse(method, case.name)
    if plan.quick and method in SLOW:
        raise NotRunError("left out by QUICK")
    out = case.folder / f"{method}-{plan.seed}.{'npz' if method == 'wnn' else 'npy'}"
    if out.exists():
        return out
    if method == "sailerx":
        save_array(taught(case, None, plan.seed), out)
        return out
    python = plan.peers if method in PEERS else sys.executable
    if method in PEERS:
        need(python, PEERS[method][1])
    options: list[object] = ["--threads", plan.threads]
    if method == "wnn" and case.drop:
        options += ["--graph-without", case.labels, *case.drop]
    arguments = (HERE / "methods.py", method, plan.seed, case.path, out, *options)
    ended(TITLES[method], lambda: run(python, *arguments, threads=plan.threads))
    return out


def taught(case: Case, reference: np.ndarray | None, seed: int) -> np.ndarray:
    """Compute the default embedding of sailerx, which is that of `fit` and `embed`: it does not depend on the network.

    Parameters
    ----------
    reference
        RNA embedding, cells × dimensions; None = the PCA of sailerx.
    """
    mdata = case.read()
    if reference is not None:
        mdata["rna"].obsm["X_reference"] = reference
    data = Multiome.from_mudata(
        mdata, Settings(), rna_embedding=None if reference is None else "X_reference",
        batch_key=[] if case.batch is None else [case.batch], seed=seed,
    )  # fmt: skip
    joint = JointEmbedding.learn(data, Settings().for_data(4, hybrid=False), seed)
    return joint.rows(data.x, data.g, data.has_rna)


def _reference_rows(case: Case, plan: Plan, name: str) -> list[Row]:
    plan.refuse(name, case.name)
    return kept(case.folder, f"reference-{name}", lambda: _scored_reference(case, plan, name))


def _scored_reference(case: Case, plan: Plan, name: str) -> list[Row]:
    mdata = case.read()
    g = reference_of(case, plan, name, mdata)
    known, labels = case.known(mdata), case.groups(mdata)
    both = {"alone": g, "teacher": taught(case, None if name == "own" else g, plan.seed)}
    rows = []
    for about, z in both.items():
        score = metrics.best_score if about == "alone" else metrics.score
        found = score(z[known], labels[known], seed=plan.seed)
        rows += rows_of("reference", case.name, name, {s: float(found[s]) for s in SCORES}, about)
    return rows


def reference_of(case: Case, plan: Plan, name: str, mdata: mudata.MuData) -> np.ndarray:
    """Compute an RNA reference, cells × dimensions."""
    if name == "own":
        from sailerx.data.rna_pca import rna_pca

        return np.asarray(rna_pca(mdata["rna"].X, plan.seed))
    need(plan.peers, NEEDS[name])
    if name in ("harmony", "scanorama") and case.library is None:
        raise NotRunError("no column of batches")
    if name == "scvi" and plan.quick:
        raise NotRunError("left out by QUICK")
    out = case.folder / f"reference-{name}-{plan.seed}.npy"
    if not out.exists():
        arguments = map(
            str, (HERE / "references.py", "make", name, case.path, case.library or "", out, plan.seed)
        )
        ended(REFERENCES[name], lambda: subprocess.run([plan.peers, *arguments], check=True))
    return np.asarray(np.load(out))
