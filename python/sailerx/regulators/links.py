"""Links between peaks and genes: correlation over metacells, against like peaks on other chromosomes.

As in Ma et al. 2020 (Cell 183:1103) and Signac: the correlation of a gene with a peak near its start is compared with the gene's
correlations with background peaks of like GC content and accessibility on other chromosomes, which cannot act on it in cis. What all
peaks of a cell type share is so no evidence for a link. Unlike there, correlations r are compared after Fisher's transform,
z = (atanh r - mean) / standard deviation of the background's atanh r: r cannot exceed 1, and with few cell types even chance
correlations are large, so that a perfect link would not stand out.

p-values take no distribution for granted. With few cell types, peaks fall into few patterns, and the tails of z are heavier than
normal ones: of half a million pairs, the smallest normal p-values would all be false. Instead z is compared with those of other
pairs, whose gene and peak are drawn at random from different chromosomes (`null_pairs`), all genes together. They are computed as
those of near pairs are, and cannot be links in cis. On simulated data single pairs so have the stated error rate down to 1 in
10,000, and calls by ``fdr`` about the stated share of false ones (benchmarks/README.md).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sailerx.errors import InputError
from sailerx.regulators.background import MatchedPeaks
from sailerx.regulators.statistics import false_discovery_rate

#: genes whose correlations with all peaks are in memory at a time
_GENES_AT_ONCE = 128
#: fewest different background peaks on other chromosomes for a z-score
_FEWEST = 10
#: fewest background peaks drawn for each peak: some are on its own chromosome, and do not count
FEWEST_BACKGROUND = 20
#: pairs on different chromosomes per near pair, and at least so many in all, if there are
_NULL_PER_PAIR, _FEWEST_NULL = 4, 200_000
#: pairs whose backgrounds are in memory at a time
_PAIRS_AT_ONCE = 50_000
#: correlations are taken as at most this far from 0, so that their transform is finite
_LARGEST = 0.9999


def near_pairs(peaks: pd.DataFrame, genes: pd.DataFrame, distance: int) -> pd.DataFrame:
    """Find the peaks near each gene's start.

    Parameters
    ----------
    peaks
        Columns ``chrom``, ``start``, ``end``.
    genes
        Columns ``chrom``, ``tss``, ``strand``, as of `sailerx.regulators.annotation.gene_starts`.
    distance
        Largest distance of a peak's centre from the TSS, in bases.

    Returns
    -------
    One row per pair: ``gene`` and ``peak`` (positions), and ``distance``, from the TSS to the peak's centre, in bases: positive
    downstream of it, on the gene's strand.
    """
    centre = ((peaks["start"] + peaks["end"]) // 2).to_numpy(np.int64)
    parts = []
    for chrom, own in genes.reset_index(drop=True).groupby("chrom"):
        there = np.flatnonzero((peaks["chrom"] == chrom).to_numpy())
        there = there[np.argsort(centre[there], kind="stable")]
        tss = own["tss"].to_numpy()
        first = np.searchsorted(centre[there], tss - distance)
        last = np.searchsorted(centre[there], tss + distance, side="right")
        gene = np.repeat(own.index.to_numpy(), last - first)
        peak = np.concatenate([there[a:b] for a, b in zip(first, last, strict=True)])
        parts.append(pd.DataFrame({"gene": gene, "peak": peak.astype(np.int64)}))
    pairs = (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame({"gene": [], "peak": []}, dtype=np.int64)
    )
    tss, strand = genes["tss"].to_numpy()[pairs["gene"]], genes["strand"].to_numpy()[pairs["gene"]]
    pairs["distance"] = (centre[pairs["peak"]] - tss) * np.where(strand == "-", -1, 1)
    return pairs


def link_statistics(
    pairs: pd.DataFrame,
    expression: np.ndarray,
    accessibility: np.ndarray,
    chrom: np.ndarray,
    gc: np.ndarray | None,
    *,
    n_background: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute correlation, z-score and p-value of each pair.

    Parameters
    ----------
    pairs
        ``gene`` and ``peak``, positions, as of `near_pairs`.
    expression
        Metacells × genes.
    accessibility
        Metacells × peaks.
    chrom
        Chromosome of each peak.
    gc
        GC content of each peak; None = background peaks are matched on accessibility alone.
    n_background
        Background peaks drawn for each peak; those on its own chromosome do not count.
    seed
        Seed of the draw.

    Returns
    -------
    One row per pair: ``correlation`` (Pearson), ``z``, ``p_value`` (two-sided, by comparison with pairs on different chromosomes, so
    that it is at least 2 / (their number + 1)), ``fdr`` (Benjamini-Hochberg); missing where gene or peak do not vary, or fewer than
    10 different background peaks are on other chromosomes.

    Raises
    ------
    InputError
        If all peaks are on one chromosome.
    """
    if len(np.unique(chrom)) < 2:
        raise InputError(
            "links need peaks on at least 2 chromosomes, because background peaks are on others than the gene."
        )
    background = MatchedPeaks.of(accessibility.sum(axis=0, dtype=float), gc).draw(n_background, seed)
    x, y = _standardised(accessibility), _standardised(expression)
    gene, peak = pairs["gene"].to_numpy(), pairs["peak"].to_numpy()
    null = null_pairs(gene, peak, chrom, seed)
    r, z = _statistics(x, y, np.append(gene, null[0]), np.append(peak, null[1]), background, chrom)
    p = empirical_p(z[: len(gene)], z[len(gene) :])
    table = {"correlation": r[: len(gene)], "z": z[: len(gene)], "p_value": p, "fdr": false_discovery_rate(p)}
    return pd.DataFrame(table, index=pairs.index)


def null_pairs(
    gene: np.ndarray, peak: np.ndarray, chrom: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of a gene and a peak on another chromosome, which cannot be links in cis.

    Parameters
    ----------
    gene, peak
        Positions, of pairs on the same chromosome.
    chrom
        Chromosome of each peak.
    seed
        Seed of the draw.

    Returns
    -------
    ``gene`` and ``peak``, positions: about as many for each gene, with each peak at most once; all together about four times as
    many as pairs, and at least 200,000 if there are.
    """
    genes, first = np.unique(gene, return_index=True)
    own, n_peaks = chrom[peak[first]], len(chrom)
    wanted = max(_NULL_PER_PAIR * len(gene), _FEWEST_NULL)
    each = min(-(-wanted // max(len(genes), 1)), n_peaks)
    rng = np.random.default_rng([seed, 12])
    drawn = np.array([rng.choice(n_peaks, each, replace=False) for _ in genes]).reshape(len(genes), each)
    apart = chrom[drawn] != own[:, None]
    return np.repeat(genes, apart.sum(axis=1)), drawn[apart]


def empirical_p(z: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Two-sided p-value of each z among those without a link: twice the share of these beyond it, on its side; NaN stays NaN."""
    known = np.sort(null[np.isfinite(null)])
    above = len(known) - np.searchsorted(known, z, side="left")
    below = np.searchsorted(known, z, side="right")
    p = np.minimum(2 * (np.minimum(above, below) + 1) / (len(known) + 1), 1.0)
    return np.where(np.isfinite(z), p, np.nan)


def _statistics(
    x: np.ndarray,
    y: np.ndarray,
    gene: np.ndarray,
    peak: np.ndarray,
    background: np.ndarray,
    chrom: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation and z-score of each pair, from standardised accessibility (x) and expression (y); NaN as in `link_statistics`."""
    counts = chrom[background] != chrom
    enough = _n_different(background, counts) >= _FEWEST
    found = np.full((2, len(gene)), np.nan)
    for start in range(0, y.shape[1], _GENES_AT_ONCE):
        r = y[:, start : start + _GENES_AT_ONCE].T @ x  # genes × peaks
        fisher = np.arctanh(np.clip(r, -_LARGEST, _LARGEST))
        of_these = np.flatnonzero((gene >= start) & (gene < start + _GENES_AT_ONCE))
        for own in np.array_split(of_these, max(-(-len(of_these) // _PAIRS_AT_ONCE), 1)):
            row, column = gene[own] - start, peak[own]
            mean, std = _moments(fisher[row, background[:, column]], counts[:, column])
            z = np.where(enough[column], (fisher[row, column] - mean) / std, np.nan)
            found[:, own] = r[row, column], z
    return found[0], found[1]


def _n_different(background: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Number of different background peaks of each peak, of those that count."""
    ordered = np.sort(np.where(counts, background, -1), axis=0)
    return (ordered[0] >= 0) + (np.diff(ordered, axis=0) > 0).sum(axis=0)


def _standardised(values: np.ndarray) -> np.ndarray:
    """Centre each column and scale it to unit length, float32; NaN for a column that is constant but for rounding."""
    centred = values - values.mean(axis=0, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=0, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 1e-6 * np.abs(values).max(axis=0), centred / length, np.nan).astype(
            np.float32
        )


def _moments(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column over the rows that count; the latter is NaN if it is 0."""
    n = np.maximum(counts.sum(axis=0), 2)
    mean = np.where(counts, values, 0.0).sum(axis=0) / n
    square = (np.where(counts, values - mean, 0.0) ** 2).sum(axis=0) / (n - 1)
    return mean, np.sqrt(np.where(square > 0, square, np.nan))
