"""Differential accessibility between two groups of cells: how large, by the decoder; how sure, by the counts.

The decoder at neutral confounders gives the effect sizes that imputed data show. It is not asked how sure it is: its
weights are point estimates that have seen these very counts, and the posterior of z alone would call nearly every peak
of two distant groups. The probability that a peak differs comes from the observed 0/1. Given how many cells have a peak
open, the number of them in the first group is binomial in the log ratio of accessibility at equal depth (the conditional
test of Przyborowski & Wilenski 1940, Biometrika 31:313), one factor per batch. The prior of the log ratio is a mixture of
normals around 0 that is learnt from all peaks (Stephens 2017, Biostatistics 18:275), and a peak differs if its ratio
exceeds a stated change (Boyeau et al. 2019, doi:10.1101/794289). Cells are taken as independent: what differs between
donors is not told from what differs between groups, unless donors are batches that hold both.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from sailerx.errors import InputError
from sailerx.results.impute import impute, read_accessibility
from sailerx.results.selection import Batch
from sailerx.results.trained import TrainedModel

#: log ratios of accessibility (natural) at which likelihood and prior are compared
_GRID = np.linspace(-8.0, 8.0, 321)
#: standard deviations of the prior's normals; 0 stands for no difference at all
_SCALES = np.array([0.0, *np.geomspace(0.1, 4.0, 11)])
#: peaks of which prior knowledge that nothing differs is worth, as in Stephens 2017
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
    """What `sailerx.Model.differential_accessibility` does, once the columns of metadata are known.

    Parameters
    ----------
    atac
        The ATAC modality.
    groups
        The label of each of its cells; cells without one belong to neither group.
    strata
        Batch columns of each cell, within whose combinations groups are compared; none for one comparison of all.
    pair
        ``group1`` and ``group2`` there.
    min_change, fdr, depth, batch
        As there.
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
    """Positions of the cells of both groups, and which cells are of the first."""
    labels = groups.astype(object).where(groups.notna(), None)
    labels = labels.map(lambda label: label if label is None else str(label))
    there = sorted(set(labels.dropna()))
    for name in (group1, group2):
        if name is not None and str(name) not in there:
            raise InputError(
                f"column {groups.name!r} has no cell of group {name!r}. It has: {', '.join(there)}."
            )
    first = (labels == str(group1)).to_numpy()
    second = (labels.notna() if group2 is None else labels == str(group2)).to_numpy() & ~first
    for name, members in ((group1, first), (group2 or f"all but {group1}", second)):
        if members.sum() < 2:
            raise InputError(
                f"each group needs at least 2 cells, but {name!r} has {members.sum()}. Give two groups that differ."
            )
    return np.flatnonzero(first | second), first


def _strata(strata: pd.DataFrame, cells: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Number of the combination of batches of each chosen cell; -1 where one group is absent."""
    if not len(strata.columns):
        return np.zeros(len(cells), int)
    number = strata.iloc[cells].groupby(list(strata.columns), observed=True, dropna=False).ngroup().to_numpy()
    n = number.max() + 1
    both = (
        np.bincount(number[first[cells]], minlength=n) * np.bincount(number[~first[cells]], minlength=n) > 0
    )
    if not both.any():
        raise InputError(
            f"the groups share no batch ({', '.join(strata.columns)}), so their difference cannot be told from the "
            "batches'. Choose groups that occur in the same batch."
        )
    left_out = ~both[number]
    if left_out.any():
        warnings.warn(
            f"{left_out.sum()} of {len(cells)} cells are in batches with one of the two groups only; their counts say "
            "nothing about the difference.",
            stacklevel=4,
        )
    return np.where(left_out, -1, (both.cumsum() - 1)[number])


@dataclass(frozen=True)
class Counts:
    """Open peaks of two groups of cells."""

    #: cells of each group with the peak open, per peak
    open_1: np.ndarray
    open_2: np.ndarray
    #: cells of the first group with the peak open, in strata with both groups, per peak
    first: np.ndarray
    #: cells of both groups with the peak open, peaks × strata with both groups
    both: np.ndarray
    #: the first group's share of ``both`` that depths alone lead to expect, peaks × strata, between 0 and 1
    share: np.ndarray


def _count(
    model: TrainedModel, atac: AnnData, cells: np.ndarray, first: np.ndarray, stratum: np.ndarray
) -> Counts:
    """Counts of each group in each stratum; those of stratum -1 only for the record."""
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
    """Share of a peak's open cells that are expected in the first group where accessibility is the same.

    A cell of depth d has a peak open with probability 1 - exp(-rate · d). Rare peaks are shared as the groups share all
    open peaks; peaks that nearly every cell has open, as they share the cells.

    Parameters
    ----------
    depth_1, depth_2
        Open peaks of each cell of the two groups.
    n_open
        How many of these cells have each peak open, from which its rate is found.
    """
    rates = np.geomspace(1e-6, 50.0, 200) / np.concatenate([depth_1, depth_2]).mean()
    expected = np.array([[-np.expm1(-rate * d).sum() for d in (depth_1, depth_2)] for rate in rates])
    total = expected.sum(axis=1)
    return np.interp(n_open, total, expected[:, 0] / total)


def posterior_change(counts: Counts, min_change: float) -> tuple[np.ndarray, np.ndarray]:
    """Posterior of the log ratio of accessibility of two groups at equal depth, per peak.

    Parameters
    ----------
    counts
        What was observed.
    min_change
        Log ratio (natural, above or below) from which on a peak counts as different.

    Returns
    -------
    Posterior mean of the log ratio (natural), and posterior probability that it exceeds ``min_change`` in size.
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
    """A normal around 0 on the grid; sums to 1."""
    density = np.exp(-0.5 * (_GRID / scale) ** 2) if scale else (np.abs(_GRID) < 1e-9).astype(float)
    return density / density.sum()


def _likelihoods(counts: Counts) -> Iterator[np.ndarray]:
    """Likelihood on the grid, peaks × grid, some peaks at a time, each row up to a factor of its own."""
    # of n open, first ~ Binomial(n, share e^b / (1 - share + share e^b)) at log ratio b: log p = first b - n log(...)
    for start in range(0, len(counts.first), _PEAKS_AT_ONCE):
        some = slice(start, start + _PEAKS_AT_ONCE)
        log_p = counts.first[some, None] * _GRID
        for n, share in zip(counts.both[some].T, counts.share[some].T, strict=True):
            log_p -= n[:, None] * np.log1p(share[:, None] * np.expm1(_GRID))
        yield np.exp(log_p - log_p.max(axis=1, keepdims=True))


def mixture_weights(evidence: np.ndarray, most: int = 2000, tolerance: float = 1e-6) -> np.ndarray:
    """Weights of the prior's components by expectation maximisation over all peaks.

    Parameters
    ----------
    evidence
        Likelihood of each peak under each component, peaks × components; the first component is no difference, which
        is favoured by as much as `_NULL_PEAKS` peaks of it would.
    most, tolerance
        Steps at most, and the largest change of a weight at which to stop.

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
    """Expected share of false calls among each peak and all before it, from probabilities in falling order.

    Source: Newton et al. 2004, Biostatistics 5:155; as in Boyeau et al. 2019.
    """
    return np.cumsum(1 - probability) / np.arange(1, len(probability) + 1)
