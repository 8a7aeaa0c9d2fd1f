"""Motifs whose activity differs between two groups of cells.

The effect is the difference of the groups' mean z-scores. Its p-value is that of Welch's test (1947, Biometrika 34:28), which holds
when the groups differ in depth and thus in the spread of z-scores; with batches, differences within each batch are averaged with the
inverse of their variances as weights. Cells are taken as independent: a difference between donors looks like one between groups,
unless the donor is the batch and has cells of both groups.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.stats import rankdata
from scipy.stats import t as student

from sailerx.data.names import listed
from sailerx.errors import InputError
from sailerx.regulators.statistics import false_discovery_rate


def differential_activity(
    activity: AnnData,
    group_by: str,
    group1: str,
    group2: str | None = None,
    *,
    batch_key: str | None = None,
    fdr: float = 0.05,
) -> pd.DataFrame:
    """Find motifs whose activity differs between two groups of cells.

    p-values are those of counts: of imputed activity, which borrows from similar cells, they would be far too small, so they are
    missing there; compare ``difference`` and ``auroc``. `sailerx.regulators.differential_activity` explains the statistics.

    Parameters
    ----------
    activity
        Cells × motifs, from `sailerx.motifs.activity` or `sailerx.Model.motif_activity`.
    group_by
        obs column of the groups. Of groups found by clustering the same ATAC, p-values are too small.
    group1, group2
        Levels of the column; by default group 2 is all other cells that have a level.
    batch_key
        obs column of batches; groups are compared within each. Batches with fewer than 2 cells of a group are left out.
    fdr
        Expected share of false calls among the motifs marked ``differential``.

    Returns
    -------
    One row per motif, the smallest p-value first (imputed: the AUROC farthest from 0.5 first): ``name``; ``mean_1``, ``mean_2``:
    mean z-score of each group; ``difference``: of the two, within batches; ``auroc``: probability that a cell of group 1 has a
    higher z-score than one of group 2; ``p_value``, ``fdr`` (Benjamini-Hochberg) and ``differential``.

    Raises
    ------
    InputError
        For an unknown column or group, a group of fewer than 2 cells, or groups that share no batch.

    Examples
    --------
    >>> import numpy as np, pandas as pd, sailerx
    >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> hits = np.random.default_rng(0).random((90, 2)) < 0.3
    >>> matches = pd.DataFrame(hits, mdata["atac"].var_names, ["motif1", "motif2"]).assign(gc=0.5)
    >>> activity = sailerx.motifs.activity(mdata, matches, progress="none")
    >>> sailerx.motifs.differential(activity, "cell_type", "A1", "B1").shape
    (2, 8)
    """
    if not 0 < fdr < 1:
        raise InputError(f"`fdr` must be between 0 and 1, got {fdr!r}.")
    first, second = _groups(activity.obs, group_by, group1, group2)
    z = np.asarray(activity.X, float)
    parts = _by_batch(activity.obs, batch_key, first, second)
    difference, p = _welch(z, parts)
    table = pd.DataFrame(
        {
            "name": activity.var["name"].astype(str).to_numpy()
            if "name" in activity.var
            else activity.var_names,
            "mean_1": z[first].mean(axis=0),
            "mean_2": z[second].mean(axis=0),
            "difference": difference,
            "auroc": _auroc(z, first, second),
            "p_value": np.full(len(p), np.nan) if _is_imputed(activity) else p,
        },
        index=activity.var_names.copy(),
    )
    table["fdr"] = false_discovery_rate(table["p_value"].to_numpy())
    table["differential"] = table["fdr"] <= fdr
    return table.iloc[np.lexsort([-(table["auroc"] - 0.5).abs(), table["p_value"]])]


def _is_imputed(activity: AnnData) -> bool:
    about = activity.uns.get("sailerx", {}).get("motifs", "{}")
    return bool(json.loads(str(about)).get("imputed", False))


def _column(obs: pd.DataFrame, key: str, argument: str) -> pd.Series:
    if key not in obs:
        raise InputError(
            f"`{argument}` must be an obs column of the activity: {key!r} is none of {', '.join(map(str, obs)) or '(none)'}."
        )
    labels = obs[key].astype(object)
    return labels.where(labels.notna(), None).map(lambda label: label if label is None else str(label))


def _groups(
    obs: pd.DataFrame, group_by: str, group1: str, group2: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the cells of both groups."""
    labels = _column(obs, group_by, "group_by")
    there = sorted(set(labels.dropna()))
    for name in (group1, group2):
        if name is not None and str(name) not in there:
            raise InputError(f"column {group_by!r} has no cell of group {name!r}. It has: {listed(there)}.")
    first = (labels == str(group1)).to_numpy()
    second = (labels.notna() if group2 is None else labels == str(group2)).to_numpy() & ~first
    for name, members in ((group1, first), (group2 or f"all but {group1}", second)):
        if members.sum() < 2:
            raise InputError(
                f"each group needs at least 2 cells, but {name!r} has {members.sum()}. Choose two different groups with more cells."
            )
    return first, second


def _by_batch(
    obs: pd.DataFrame, batch_key: str | None, first: np.ndarray, second: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks of both groups within each batch that has at least 2 cells of each."""
    if batch_key is None:
        return [(first, second)]
    batch = _column(obs, batch_key, "batch_key")
    parts = [(first & (batch == level), second & (batch == level)) for level in sorted(set(batch.dropna()))]
    both = [(a.to_numpy(), b.to_numpy()) for a, b in parts if a.sum() > 1 and b.sum() > 1]
    if not both:
        raise InputError(
            f"the groups share no batch ({batch_key}) with 2 cells of each, so a difference between groups cannot be told from one "
            "between batches. Choose groups that have cells in one batch."
        )
    left_out = (first | second).sum() - sum(a.sum() + b.sum() for a, b in both)
    if left_out:
        warnings.warn(
            f"{left_out} cells are in batches without 2 cells of each group and do not count.", stacklevel=4
        )
    return both


def _welch(z: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Difference of means within batches, and its two-sided p-value, per motif."""
    sizes = np.array([(a.sum(), b.sum()) for a, b in parts])[:, :, None]
    means = np.array([[z[mask].mean(axis=0) for mask in part] for part in parts])  # batches × groups × motifs
    squares = np.array([[z[mask].var(axis=0, ddof=1) for mask in part] for part in parts]) / sizes
    variance = squares.sum(axis=1)  # of each batch's difference
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.nan_to_num(1 / variance, posinf=0.0)
        weight = np.where(weight.sum(axis=0) > 0, weight / weight.sum(axis=0), 1 / len(parts))
        difference = (weight * (means[:, 0] - means[:, 1])).sum(axis=0)
        total = (weight**2 * variance).sum(axis=0)
        # Welch-Satterthwaite: (sum v)^2 / sum v^2 / (n - 1) over all variances of means
        freedom = total**2 / (weight[:, None] ** 4 * squares**2 / (sizes - 1)).sum(axis=(0, 1))
        p = 2 * student.sf(np.abs(difference) / np.sqrt(total), freedom)
    return difference, np.where(total > 0, p, 1.0)


def _auroc(z: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each motif's z-score: group 1 against group 2; ties count half."""
    n_1, n_2 = int(first.sum()), int(second.sum())
    ranks = rankdata(np.concatenate([z[first], z[second]]), axis=0)
    return (ranks[:n_1].sum(axis=0) - n_1 * (n_1 + 1) / 2) / (n_1 * n_2)
