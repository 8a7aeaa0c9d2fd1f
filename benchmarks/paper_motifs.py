"""Experiment 3: z-scores of known motifs between clusters, found by sailerx and by other embeddings."""

from __future__ import annotations

from functools import partial

import anndata as ad
import numpy as np
import pandas as pd
import paper_clustering
from paper_sets import Case, Expected
from paper_steps import NotRunError, Plan, Row, attempt, kept, rows_of

from sailerx import motifs

TITLES = {
    "sailerx": "sailerx",
    "rna_pca": "RNA PCA",
    "lsi_49": "ATAC LSI",
    "wnn": "WNN",
    "labels": "the labels themselves",
}
#: of JASPAR's motifs, every so many are looked for with QUICK=1, and the expected ones
EVERY = 40


def experiment(case: Case, plan: Plan) -> list[Row]:
    """Compare groups of cells that each clustering takes for the groups of interest."""
    rows = []
    for method in TITLES:
        rows += attempt("motifs", case.name, method, partial(_rows, case, plan, method))
    return rows


def _rows(case: Case, plan: Plan, method: str) -> list[Row]:
    plan.refuse(method, case.name)
    refuse_without_genome(case)
    return kept(
        case.folder, f"motifs-{method}", lambda: _compared(case, plan, method), about=str(case.genome)
    )


def refuse_without_genome(case: Case) -> None:
    if not case.expected:
        raise NotRunError("no motifs are known in advance")
    if case.genome is None:
        raise NotRunError(f"file missing: the genome (GENOME={case.build}.fa)")


def _compared(case: Case, plan: Plan, method: str) -> list[Row]:
    mdata = case.read()
    labels, known = case.groups(mdata), case.known(mdata)
    found = (
        pd.factorize(labels)[0]
        if method == "labels"
        else paper_clustering.clusters(case, plan, method).of_cell
    )
    of_cell = np.where(known, found, -1)
    z = activity(case, plan)
    rows = []
    for expected in case.expected:
        rows += rows_of(
            "motifs", case.name, method, between(z, of_cell, labels, expected), title_of(expected, z)
        )
    return rows


def title_of(expected: Expected, z: ad.AnnData) -> str:
    """Name the groups and the factor, for tables: "A1: MEF2C"."""
    own = matching(z, expected)
    name = str(z.var["name"].iloc[own[0]]) if len(own) == 1 else f"{expected.motifs[0]} family"
    groups = expected.group if expected.other is None else f"{expected.group} over {expected.other}"
    return f"{groups}: {name}"


def matching(z: ad.AnnData, expected: Expected) -> np.ndarray:
    """Positions of the expected motifs."""
    ids, names = z.var_names.astype(str), z.var["name"].astype(str).str.upper()
    hit = np.isin(ids, expected.motifs)
    for start in expected.motifs:
        hit |= names.str.startswith(start.upper()).to_numpy()
    if not hit.any():
        raise NotRunError(f"no motif of {', '.join(expected.motifs)} is in a peak")
    return np.flatnonzero(hit)


def between(z: ad.AnnData, of_cell: np.ndarray, labels: np.ndarray, expected: Expected) -> dict[str, float]:
    """Difference of mean z-scores of the expected motifs, and AUROC, between the clusters that stand for two groups.

    A cluster stands for a group if it shares most with it (cells of both, over cells of either). Where one cluster stands for
    both, they are not told apart: the difference is 0 and the AUROC one half.
    """
    first = cluster_of(of_cell, labels == expected.group)
    rest = of_cell >= 0
    second = cluster_of(of_cell, labels == expected.other) if expected.other else None
    if second == first:
        return {"difference": 0.0, "auroc": 0.5}
    obs = np.where(of_cell == first, "1", np.where(rest if second is None else of_cell == second, "2", ""))
    own = matching(z, expected)
    pair = obs != ""
    two = ad.AnnData(z.X[pair][:, own], pd.DataFrame({"side": obs[pair]}, z.obs_names[pair]), z.var.iloc[own])
    table = motifs.differential(two, "side", "1", "2")
    return {"difference": float(table["difference"].mean()), "auroc": float(table["auroc"].mean())}


def cluster_of(of_cell: np.ndarray, group: np.ndarray) -> int:
    """The cluster with the largest Jaccard index with a group, among those of at least 2 cells."""
    n = np.bincount(of_cell[of_cell >= 0])
    both = np.bincount(of_cell[group & (of_cell >= 0)], minlength=len(n))
    share = np.where(n >= 2, both / (n + group.sum() - both), -1.0)
    return int(share.argmax())


def matches(case: Case, plan: Plan) -> ad.AnnData:
    """Look for JASPAR's motifs in the peaks; the result is kept beside the genome."""
    wanted = [name.upper() for one in case.expected for name in one.motifs]
    every = EVERY if plan.quick else 1
    chosen = [
        motif
        for i, motif in enumerate(motifs.jaspar())
        if i % every == 0 or motif.id in wanted or motif.name.upper().startswith(tuple(wanted))
    ]
    assert case.genome is not None
    return motifs.scan(case.read(), case.genome, chosen, threads=plan.threads, progress="none")


def activity(case: Case, plan: Plan) -> ad.AnnData:
    """z-scores of the counts, cells × motifs, computed unless they are there."""
    assert case.genome is not None
    file = case.folder / f"activity-{case.genome.name}-{plan.seed}.h5ad"
    if not file.exists():
        found = motifs.activity(
            case.read(), matches(case, plan), seed=plan.seed, threads=plan.threads, progress="none"
        )
        temporary = file.with_name(f".{file.name}")
        found.write_h5ad(temporary)
        temporary.replace(file)
    return ad.read_h5ad(file)
