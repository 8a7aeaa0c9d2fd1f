"""Experiment 4: imputed accessibility beside MAGIC's and scOpen's: do types stay apart, and do their motifs stand out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import anndata as ad
import imputation
import numpy as np
import pandas as pd
import paper_motifs
import scipy.sparse as sp
from paper_sets import Case
from paper_steps import Plan, Row, attempt, ended, kept, need, rows_of

import sailerx
from sailerx.regulators.activity import activity_of

TITLES = {"sailerx": "sailerx", "magic": "MAGIC", "scopen": "scOpen", "raw": "raw"}
#: package of each other tool
NEEDS = {"magic": "magic", "scopen": "scopen"}
#: cells of a block in which motif activity is computed
CELLS_AT_ONCE = 500


def experiment(case: Case, plan: Plan) -> list[Row]:
    """Score each way to impute."""
    rows = []
    for method in TITLES:
        rows += attempt("imputation", case.name, method, partial(_separation, case, plan, method))
        rows += attempt("imputed motifs", case.name, method, partial(_motifs, case, plan, method))
    return rows


def _separation(case: Case, plan: Plan, method: str) -> list[Row]:
    return kept(case.folder, f"imputation-{method}", lambda: _separated(case, plan, method))


def _separated(case: Case, plan: Plan, method: str) -> list[Row]:
    mdata, value = case.read(), imputed(case, plan, method)
    case.groups(mdata)  # stops where there are no labels
    found = imputation.separation(
        lambda peaks: value[:, peaks], mdata, case.labels, [*case.drop, "nan"], plan.seed
    )
    return rows_of("imputation", case.name, method, found)


def _motifs(case: Case, plan: Plan, method: str) -> list[Row]:
    paper_motifs.refuse_without_genome(case)
    return kept(
        case.folder,
        f"imputed-motifs-{method}",
        lambda: _motif_rows(case, plan, method),
        about=str(case.genome),
    )


def _motif_rows(case: Case, plan: Plan, method: str) -> list[Row]:
    mdata = case.read()
    labels = case.groups(mdata)
    of_cell = np.where(case.known(mdata), pd.factorize(labels)[0], -1)
    z = paper_motifs.activity(case, plan) if method == "raw" else _activity(case, plan, method)
    rows = []
    for expected in case.expected:
        found = paper_motifs.between(z, of_cell, labels, expected)
        rows += rows_of("imputed motifs", case.name, method, found, paper_motifs.title_of(expected, z))
    return rows


def _activity(case: Case, plan: Plan, method: str) -> ad.AnnData:
    """z-scores of imputed accessibility, cells × motifs; MAGIC's few negative values count as 0."""
    atac, value = case.read()["atac"], imputed(case, plan, method)

    def reader() -> Iterator[np.ndarray]:
        for start in range(0, len(value), CELLS_AT_ONCE):
            yield np.maximum(value[start : start + CELLS_AT_ONCE], 0.0)

    return activity_of(
        reader, atac.obs, atac.var, paper_motifs.matches(case, plan), n_background=50, seed=plan.seed,
        threads=plan.threads, progress="none",
    )  # fmt: skip


def imputed(case: Case, plan: Plan, method: str) -> np.ndarray:
    """Imputed accessibility, cells × peaks, in the order of the data.

    Raises
    ------
    NotRunError
        If it is left out, a package is missing, or another tool ends with an error.
    """
    plan.refuse(method, case.name)
    atac = case.read()["atac"]
    if method == "raw":
        return np.asarray((sp.csr_matrix(atac.X) > 0).toarray(), np.float32)
    if method == "sailerx":
        found = model(case, plan).impute(case.read(), peaks=list(atac.var_names))
        assert found is not None
        return np.asarray(found[:, atac.var_names].X, np.float32)
    work = case.folder
    need(plan.imputation, [NEEDS[method]])
    if not (work / "train.npz").exists():
        x = sp.csr_matrix(atac.X)
        x.data[:] = 1
        sp.save_npz(work / "train.npz", x)
    ended(TITLES[method], lambda: imputation.peer(method, work, plan.seed, plan.imputation))
    parts = imputation.peer(method, work, plan.seed, plan.imputation)
    return parts["whole"] if method == "magic" else parts["left"] @ parts["right"]


def model(case: Case, plan: Plan) -> sailerx.Model:
    """Train the default preset, unless that is done."""
    folder = case.folder / "model"
    if not folder.exists():
        keys = None if case.batch is None else [case.batch]
        found = sailerx.fit(
            case.read(),
            batch_key=keys,
            seed=plan.seed,
            max_epochs=plan.max_epochs,
            device="cpu",
            progress="lines",
        )
        found.save(folder)
    return sailerx.load(folder)
