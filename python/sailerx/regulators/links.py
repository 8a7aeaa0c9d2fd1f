"""Links between peaks and genes: correlation over metacells, against like peaks on other chromosomes.

As in Ma et al. 2020 (Cell 183:1103) and Signac: the correlation of a gene with a peak near its start is compared with the gene's
correlations with background peaks of like GC content and accessibility on other chromosomes, which cannot act on it in cis. What all
peaks of a cell type share is so no evidence for a link. Unlike there, correlations r are compared after Fisher's transform,
z = (atanh r - mean) / standard deviation of the background's atanh r: r cannot exceed 1, and with few cell types even chance
correlations are large, so that a perfect link would not stand out. p-values take the background's transformed correlations as
normal. On simulated data that gives single pairs the stated error rate at 5 %; the few smallest of half a million p-values were
too small, so that calls by ``fdr`` were false (benchmarks/README.md).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t as student

from sailerx.errors import InputError
from sailerx.regulators.background import MatchedPeaks
from sailerx.regulators.statistics import false_discovery_rate

#: genes whose correlations with all peaks are in memory at a time
_GENES_AT_ONCE = 128
#: fewest different background peaks on other chromosomes for a z-score
_FEWEST = 10
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
    One row per pair: ``correlation`` (Pearson), ``z``, ``p_value`` (two-sided, of Student's distribution, because the
    background's moments are estimated from as many peaks as are different), ``fdr`` (Benjamini-Hochberg); missing where gene or
    peak do not vary, or fewer than 10 different background peaks are on other chromosomes.

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
    counts = chrom[background] != chrom
    n_different = _n_different(background, counts)[peak]
    table = pd.DataFrame(np.nan, pairs.index, ["correlation", "z"])
    for start in range(0, expression.shape[1], _GENES_AT_ONCE):
        r = y[:, start : start + _GENES_AT_ONCE].T @ x  # genes × peaks
        own = np.flatnonzero((gene >= start) & (gene < start + _GENES_AT_ONCE))
        row, column = gene[own] - start, peak[own]
        fisher = np.arctanh(np.clip(r, -_LARGEST, _LARGEST))
        mean, std = _moments(fisher[row, background[:, column]], counts[:, column])
        table.iloc[own, 0] = r[row, column]
        table.iloc[own, 1] = (fisher[row, column] - mean) / std
    varies = np.isfinite(x[0, peak]) & np.isfinite(y[0, gene])
    table[~varies] = np.nan
    table.loc[n_different < _FEWEST, "z"] = np.nan
    spread = np.sqrt(1 + 1 / np.maximum(n_different, 1))  # of one more peak around an estimated mean
    table["p_value"] = 2 * student.sf(table["z"].abs() / spread, np.maximum(n_different - 1, 1))
    return table.assign(fdr=false_discovery_rate(table["p_value"].to_numpy()))


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
