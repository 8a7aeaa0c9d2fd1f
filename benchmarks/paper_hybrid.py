"""Experiment 2: cells without RNA, embedded together with paired cells and alone."""

from __future__ import annotations

from functools import partial

import hybrid
import numpy as np
from joint import learned
from paper_sets import Case
from paper_steps import NotRunError, Plan, Row, attempt, kept, rows_of, save_array

from sailerx.data.lsi import lsi

TITLES = {"hybrid": "together with paired cells", "alone": "alone", "lsi": "LSI of all cells"}
SCORES = ("ari", "nmi", "transfer", "ilisi", "clisi")


def experiment(case: Case, plan: Plan) -> list[Row]:
    """Score the cells whose RNA is taken away, by each way to embed them."""
    rows = []
    for method in TITLES:
        rows += attempt("hybrid", case.name, method, partial(_rows, case, plan, method))
    return rows


def _rows(case: Case, plan: Plan, method: str) -> list[Row]:
    plan.refuse(method, case.name)
    if case.library is None or not case.atac_only:
        raise NotRunError("no libraries to take the RNA from")
    return kept(case.folder, f"hybrid-{method}", lambda: _scored(case, plan, method))


def _scored(case: Case, plan: Plan, method: str) -> list[Row]:
    mdata = case.read()
    z, alone = embedded(case, plan, method), without_rna(case)
    found = hybrid.score(z, case.groups(mdata), alone, [*case.drop, "nan"], plan.seed)
    # alone, no cell with RNA has an embedding that could be compared
    scores = ("ari", "nmi") if method == "alone" else SCORES
    return rows_of("hybrid", case.name, method, {name: found[name] for name in scores})


def without_rna(case: Case) -> np.ndarray:
    """Which cells lose their RNA."""
    obs = case.read()["atac"].obs
    return np.asarray(obs[case.library].astype(str).isin(case.atac_only))


def embedded(case: Case, plan: Plan, method: str) -> np.ndarray:
    """Embed all cells, unless that is done; for ``alone``, cells with RNA have no embedding (0)."""
    file = case.folder / f"without-rna-{method}-{plan.seed}.npy"
    if not file.exists():
        save_array(_embedded(case, plan, method), file)
    return np.asarray(np.load(file))


def _embedded(case: Case, plan: Plan, method: str) -> np.ndarray:
    mdata, alone = case.read(), without_rna(case)
    atac = mdata["atac"]
    if method == "lsi":
        return np.asarray(lsi(atac.X, seed=plan.seed))
    if method == "alone":
        part = hybrid.together(mdata["rna"][alone].copy(), atac[alone].copy())
        own, joint, _ = learned(part, plan.seed, gamma=0.0)
        z = np.zeros((atac.n_obs, joint.rows(own.x).shape[1]), np.float32)
        z[alone] = joint.rows(own.x)
        return z
    data, joint, _ = learned(hybrid.together(mdata["rna"][~alone].copy(), atac.copy()), plan.seed)
    return np.asarray(joint.rows(data.x, data.g[data.has_rna], data.has_rna))
