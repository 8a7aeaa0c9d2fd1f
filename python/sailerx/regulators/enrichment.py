"""Motifs that are more frequent in a set of peaks than in other peaks of like GC content and accessibility.

Peaks are sorted into strata by deciles of both. Within a stratum, if the set were drawn at random, its number of peaks with a motif
would be hypergeometric; their sum over strata is that of Mantel & Haenszel 1959 (J Natl Cancer Inst 22:719). A sum of
hypergeometric numbers is one of independent unequal coins, so its tail is taken from the binomial distribution of the same mean and
variance, which also holds where few hits are expected and a normal distribution would not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from scipy.special import betainc, gammainc

from sailerx.errors import InputError
from sailerx.regulators.activity import MatchesLike, aligned_matches
from sailerx.regulators.statistics import false_discovery_rate

#: strata along each of GC content and accessibility
_STRATA = 10


def enrichment(
    atac: AnnData, matches: MatchesLike, peaks: Sequence[str] | np.ndarray, *, fdr: float = 0.05
) -> pd.DataFrame:
    """Test which motifs are enriched in a set of peaks, against other peaks of like GC content and accessibility.

    Parameters
    ----------
    atac
        Cells × peaks, counts: the peaks among which the set was found.
    matches
        As for `sailerx.motifs.activity`.
    peaks
        Names of the peaks of the set, such as those that differ between two groups, or one boolean per peak.
    fdr
        Expected share of false calls among the motifs marked ``enriched``.

    Returns
    -------
    One row per motif, the smallest p-value first: ``name``; ``n_peaks``: peaks of the set with the motif; ``expected``:
    their number in a set drawn from like peaks; ``fold``: the ratio of the two; ``p_value`` (one-sided), ``fdr`` (Benjamini-Hochberg)
    and ``enriched``.

    Raises
    ------
    InputError
        If a peak is unknown, the set is empty or holds all peaks, or the motifs do not fit the peaks.

    Examples
    --------
    >>> import numpy as np, pandas as pd, sailerx
    >>> atac = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)["atac"]
    >>> hits = np.random.default_rng(0).random((90, 2)) < 0.3
    >>> matches = pd.DataFrame(hits, atac.var_names, ["motif1", "motif2"]).assign(gc=0.5)
    >>> list(sailerx.motifs.enrichment(atac, matches, atac.var_names[:20]).columns)
    ['name', 'n_peaks', 'expected', 'fold', 'p_value', 'fdr', 'enriched']
    """
    if not 0 < fdr < 1:
        raise InputError(f"`fdr` must be between 0 and 1, got {fdr!r}.")
    chosen = _chosen(atac.var_names, peaks)
    motifs = aligned_matches(matches, atac.var)
    open_in = np.asarray(atac.X.sum(axis=0), float).ravel()
    gc = motifs.obs["gc"].to_numpy(float) if "gc" in motifs.obs else np.zeros(atac.n_vars)
    stratum = _deciles(open_in) * _STRATA + _deciles(np.where(np.isnan(gc), np.nanmean(gc), gc))
    observed, mean, variance = _null(sp.csr_matrix(motifs.X), chosen, stratum)
    p = upper_tail(observed, mean, variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        fold = observed / mean
    table = motifs.var[["name"]].assign(n_peaks=observed.astype(int), expected=mean, fold=fold, p_value=p)
    table["fdr"] = false_discovery_rate(p)
    table["enriched"] = table["fdr"] <= fdr
    return table.iloc[np.lexsort([-fold, p])]


def _chosen(names: pd.Index, peaks: Sequence[str] | np.ndarray) -> np.ndarray:
    """Mask of the peaks of the set."""
    asked = np.asarray(peaks)
    if asked.dtype == bool:
        if asked.shape != (len(names),):
            raise InputError(
                f"`peaks` as truth values must have one per peak: expected {len(names)}, got {asked.size}."
            )
        mask = asked
    else:
        place = names.get_indexer(pd.Index(asked.astype(str)))
        if (place < 0).any():
            raise InputError(
                f"`peaks` must name peaks of the data, but {(place < 0).sum()} of {len(place)} are unknown, first "
                f"{str(asked[(place < 0).argmax()])!r}; the data's are like {str(names[0])!r}."
            )
        mask = np.isin(np.arange(len(names)), place)
    if not mask.any() or mask.all():
        raise InputError(
            f"`peaks` must be some of the data's {len(names):,} peaks, but are {'all' if mask.any() else 'none'} of them. "
            "Others are needed to compare with."
        )
    return mask


def _deciles(values: np.ndarray) -> np.ndarray:
    """Which tenth of the sorted values each is in, 0 to 9; equal values are in the same."""
    edges = np.quantile(values, np.linspace(0, 1, _STRATA + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


def _null(
    hits: sp.csr_matrix, chosen: np.ndarray, stratum: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of peaks of the set with each motif, and its mean and variance for a set drawn at random within strata."""
    strata = sp.csr_matrix((np.ones(len(stratum)), (stratum, np.arange(len(stratum)))))
    size, drawn = np.asarray(strata.sum(axis=1)), strata @ chosen[:, None].astype(float)  # N, n
    marked = (strata @ hits).toarray().astype(float)  # m, strata × motifs
    with np.errstate(divide="ignore", invalid="ignore"):
        # hypergeometric: mean n m / N, variance n m (N - n) (N - m) / (N^2 (N - 1))
        mean = np.nan_to_num(drawn * marked / size)
        variance = np.nan_to_num(mean * (size - drawn) * (size - marked) / (size * (size - 1)), posinf=0.0)
    return np.asarray(chosen.astype(float) @ hits).ravel(), mean.sum(axis=0), variance.sum(axis=0)


def upper_tail(observed: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Probability of at least ``observed`` for the binomial distribution of this mean and variance, below or equal to the mean."""
    at_least = np.maximum(observed, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1 - variance / mean  # n coins with n share = mean
        binomial = betainc(at_least, np.maximum(mean / share - observed + 1, 1e-9), share)
        tail = np.where(share > 1e-6, binomial, gammainc(at_least, mean))
    return np.where((observed < 1) | (mean <= 0), 1.0, tail).clip(0, 1)
