"""Differential accessibility between two groups of cells: effect sizes from the decoder, probabilities from the counts.

Effect sizes are differences of imputed accessibility: the decoder at neutral confounders. The decoder does not give the
probabilities: its weights are point estimates fitted to these counts, and the posterior of z alone would call nearly
every peak between two distant groups. The probability that a peak differs comes from the observed x. Given the number
of cells with a peak open, the number of these in the first group is binomial, and its parameter follows from the log
ratio of accessibility at equal depth (the conditional test of Przyborowski & Wilenski 1940, Biometrika 31:313); the
likelihood has one such factor per batch. The prior of the log ratio is a mixture of normals around 0, fitted to all
peaks (Stephens 2017, Biostatistics 18:275). A peak differs if the absolute log ratio exceeds ``min_change`` (Boyeau et
al. 2019, doi:10.1101/794289). Cells are taken as independent: a difference between donors looks like one between groups,
unless donor is a batch column and each donor has cells of both groups.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from sailerx.data.levels import level_text, value_text
from sailerx.data.names import listed
from sailerx.errors import InputError
from sailerx.results.impute import impute, read_accessibility
from sailerx.results.selection import Batch
from sailerx.results.trained import TrainedModel

#: grid of log ratios of accessibility (natural) on which likelihood and prior are evaluated
_GRID = np.linspace(-8.0, 8.0, 321)
#: standard deviations of the prior's components; 0 is a point mass at no difference
_SCALES = np.array([0.0, *np.geomspace(0.1, 4.0, 11)])
#: pseudo-count of peaks without a difference, as in Stephens 2017
_NULL_PEAKS = 10.0
_PEAKS_AT_ONCE = 20_000


def differential_accessibility(
    model: TrainedModel,
    atac: AnnData,
    groups: pd.Series,
    strata: pd.DataFrame,
    pair: tuple[str, str | None],
    *,
    min_change: float = 0.25,
    fdr: float = 0.05,
    depth: float | None = None,
    batch: Batch = None,
) -> pd.DataFrame:
    """Compare two groups: `sailerx.Model.differential_accessibility`, given the obs columns.

    Parameters
    ----------
    model
        The trained model.
    atac
        The ATAC modality.
    groups
        Label of each cell; cells without a label belong to neither group.
    strata
        Batch columns of each cell; groups are compared within each combination of batches. Without columns, all
        cells are compared at once.
    pair
        ``group1`` and ``group2`` of `sailerx.Model.differential_accessibility`.
    min_change, fdr, depth, batch
        As for `sailerx.Model.differential_accessibility`.
    """
    _refuse_numbers(min_change, fdr)
    cells, first = _two_groups(groups, *pair)
    counts = _count(model, atac, cells, first, _strata(strata, cells, first))
    names = atac.obs_names
    sides = pd.Series(np.where(first, "1", "2"), index=names)
    imputed = impute(model, atac, cells=names[cells], groups=sides, depth=depth, batch=batch)
    assert imputed is not None
    change, probability = posterior_change(counts, min_change * np.log(2))
    table = model.peaks.copy()
    table["accessibility_1"], table["accessibility_2"] = np.asarray(imputed.X, dtype=float)
    table["difference"] = table["accessibility_1"] - table["accessibility_2"]
    table["log2_fold_change"] = np.log2(table["accessibility_1"] / table["accessibility_2"])
    table["open_1"], table["open_2"] = counts.open_1.astype(int), counts.open_2.astype(int)
    table["log2_observed"] = change / np.log(2)
    table["probability"] = probability
    order = np.lexsort([-table["log2_fold_change"].abs(), -table["probability"]])
    table = table.iloc[order]
    table["fdr"] = expected_fdr(table["probability"].to_numpy())
    return table.assign(differential=table["fdr"] <= fdr)


def _refuse_numbers(min_change: float, fdr: float) -> None:
    if not (np.isfinite(min_change) and min_change >= 0):
        raise InputError(
            f"`min_change` must be a log2 fold change of at least 0 (above or below), got {min_change!r}."
        )
    if not 0 < fdr < 1:
        raise InputError(f"`fdr` must be between 0 and 1, got {fdr!r}.")


def _two_groups(groups: pd.Series, group1: str, group2: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Find the positions of the cells of both groups, and a mask over all cells for the first group."""
    labels = level_text(groups)
    there = sorted(set(labels.dropna()))
    for name in (group1, group2):
        if name is not None and value_text(name) not in there:
            raise InputError(
                f"column {groups.name!r} has no cell of group {name!r}. It has: {listed(there)}."
            )
    first = (labels == value_text(group1)).to_numpy()
    second = (labels.notna() if group2 is None else labels == value_text(group2)).to_numpy() & ~first
    for name, members in ((group1, first), (group2 or f"all but {group1}", second)):
        if members.sum() < 2:
            raise InputError(
                f"each group needs at least 2 cells, but {name!r} has {members.sum()}. Choose two different groups with more cells."
            )
    return np.flatnonzero(first | second), first


def _strata(strata: pd.DataFrame, cells: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Number the combination of batches (stratum) of each chosen cell; -1 if the stratum lacks one of the groups."""
    if not len(strata.columns):
        return np.zeros(len(cells), int)
    number = strata.iloc[cells].groupby(list(strata.columns), observed=True, dropna=False).ngroup().to_numpy()
    n = number.max() + 1
    both = (
        np.bincount(number[first[cells]], minlength=n) * np.bincount(number[~first[cells]], minlength=n) > 0
    )
    if not both.any():
        raise InputError(
            f"the groups share no batch ({', '.join(strata.columns)}), so a difference between groups cannot be told from one "
            "between batches. Choose groups that have cells in one batch."
        )
    left_out = ~both[number]
    if left_out.any():
        warnings.warn(
            f"{left_out.sum()} of {len(cells)} cells are in batches with one of the two groups only; their counts do not enter "
            "the probabilities.",
            stacklevel=4,
        )
    return np.where(left_out, -1, (both.cumsum() - 1)[number])


@dataclass(frozen=True)
class Counts:
    """Numbers of cells with each peak open, by group and stratum (combination of batches)."""

    #: cells of the first group with the peak open, per peak
    open_1: np.ndarray
    #: cells of the second group with the peak open, per peak
    open_2: np.ndarray
    #: as ``open_1``, but only in strata with both groups
    first: np.ndarray
    #: cells of both groups with the peak open, peaks × strata with both groups
    both: np.ndarray
    #: expected share of the first group in ``both`` if accessibility is equal, given depths; peaks × strata, 0 to 1
    share: np.ndarray


def _count(
    model: TrainedModel, atac: AnnData, cells: np.ndarray, first: np.ndarray, stratum: np.ndarray
) -> Counts:
    """Count cells with each peak open, by group and stratum; stratum -1 enters only ``open_1`` and ``open_2``."""
    side = first[cells].astype(int)
    code, n_codes = 2 * (stratum + 1) + side, 2 * (stratum.max() + 2)
    n_open, depth = np.zeros((n_codes, len(model.peaks))), np.empty(0)
    for x in read_accessibility(model, atac, cells):
        here = code[len(depth) :][: x.shape[0]]
        member = sp.csr_matrix((np.ones(len(here)), (here, np.arange(len(here)))), (n_codes, len(here)))
        n_open += (member @ x.read()).toarray()
        depth = np.append(depth, x.depth)
    two, one = n_open[0::2], n_open[1::2]
    both = (one + two)[1:]
    share = [
        share_by_depth(depth[code == 2 * b + 1], depth[code == 2 * b], n) for b, n in enumerate(both, start=1)
    ]
    return Counts(one.sum(axis=0), two.sum(axis=0), one[1:].sum(axis=0), both.T, np.array(share).T)


def share_by_depth(depth_1: np.ndarray, depth_2: np.ndarray, n_open: np.ndarray) -> np.ndarray:
    """Compute which share of the cells with a peak open is expected in the first group if accessibility is equal.

    A cell of depth d has a peak open with probability 1 - exp(-rate · d). So for rare peaks the share is that of the first
    group's depths in the sum of depths; for peaks open in nearly every cell, that of its cells in all cells.

    Parameters
    ----------
    depth_1, depth_2
        Depth of each cell of the first and of the second group.
    n_open
        Number of cells of both groups with the peak open, per peak; determines its rate.
    """
    rates = np.geomspace(1e-6, 50.0, 200) / np.concatenate([depth_1, depth_2]).mean()
    expected = np.array([[-np.expm1(-rate * d).sum() for d in (depth_1, depth_2)] for rate in rates])
    total = expected.sum(axis=1)
    return np.interp(n_open, total, expected[:, 0] / total)


def posterior_change(counts: Counts, min_change: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the posterior of the log ratio of accessibility of two groups at equal depth, per peak.

    Parameters
    ----------
    counts
        Observed numbers of cells.
    min_change
        Smallest absolute log ratio (natural) that counts as a difference.

    Returns
    -------
    Posterior mean of the log ratio (natural), and posterior probability that its absolute value exceeds ``min_change``.
    """
    prior = np.array([_on_grid(scale) for scale in _SCALES])  # components × grid
    large = np.abs(_GRID) > min_change
    parts = [
        [likelihood @ (prior * weight).T for weight in (1.0, large, _GRID)]
        for likelihood in _likelihoods(counts)
    ]
    evidence, exceeds, change = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    weights = mixture_weights(evidence)
    total = evidence @ weights
    return change @ weights / total, exceeds @ weights / total


def _on_grid(scale: float) -> np.ndarray:
    """Evaluate a normal around 0 with this standard deviation on the grid; sums to 1."""
    density = np.exp(-0.5 * (_GRID / scale) ** 2) if scale else (np.abs(_GRID) < 1e-9).astype(float)
    return density / density.sum()


def _likelihoods(counts: Counts) -> Iterator[np.ndarray]:
    """Evaluate the likelihood, peaks × grid, `_PEAKS_AT_ONCE` peaks at a time; each row up to a constant factor."""
    # of n open, first ~ Binomial(n, share e^b / (1 - share + share e^b)) at log ratio b: log p = first b - n log(...)
    for start in range(0, len(counts.first), _PEAKS_AT_ONCE):
        chunk = slice(start, start + _PEAKS_AT_ONCE)
        log_p = counts.first[chunk, None] * _GRID
        for n, share in zip(counts.both[chunk].T, counts.share[chunk].T, strict=True):
            log_p -= n[:, None] * np.log1p(share[:, None] * np.expm1(_GRID))
        yield np.exp(log_p - log_p.max(axis=1, keepdims=True))


def mixture_weights(evidence: np.ndarray, most: int = 2000, tolerance: float = 1e-6) -> np.ndarray:
    """Fit the weights of the prior's components to all peaks, by expectation maximisation.

    Parameters
    ----------
    evidence
        Likelihood of each peak under each component, peaks × components; the first component, no difference, gets
        `_NULL_PEAKS` pseudo-peaks.
    most, tolerance
        Maximal number of steps; stop when no weight changes by more than ``tolerance``.

    Returns
    -------
    One weight per component; they sum to 1.
    """
    weights = np.full(evidence.shape[1], 1 / evidence.shape[1])
    for _ in range(most):
        joint = evidence * weights
        expected = (joint / joint.sum(axis=1, keepdims=True)).sum(axis=0)
        expected[0] += _NULL_PEAKS
        new = expected / expected.sum()
        done = np.abs(new - weights).max() < tolerance
        weights = new
        if done:
            break
    return weights


def expected_fdr(probability: np.ndarray) -> np.ndarray:
    """Compute the expected share of false calls among each peak and all peaks above it; probabilities in falling order.

    Source: Newton et al. 2004, Biostatistics 5:155; as in Boyeau et al. 2019.
    """
    return np.cumsum(1 - probability) / np.arange(1, len(probability) + 1)
