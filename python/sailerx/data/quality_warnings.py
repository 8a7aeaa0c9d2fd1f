"""Warn about valid but suspicious data: depth that follows batch, doublets, shallow cells, rare peaks, a reference that follows depth.

Each function checks one thing and returns a message (what was found, why it matters, what to do), or None. Data are neither
changed nor refused.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sailerx.data.levels import level_text
from sailerx.data.multiome import Multiome

#: warn above this share of the variance of log ATAC depth between batches
DEPTH_BY_BATCH = 0.3
#: a possible doublet has log depth more than this number of robust standard deviations above the median, in RNA and in ATAC …
DOUBLET_SPREADS = 2.5
#: … and depth more than this multiple of the median
DOUBLET_FOLD = 2.0
#: warn from this share of possible doublets on
DOUBLET_SHARE = 0.005
#: a shallow cell has fewer open peaks than this
FEW_PEAKS = 100
#: warn from this share of shallow cells on
FEW_PEAKS_SHARE = 0.25
#: a rare peak is open in fewer cells than this
RARE_PEAK_CELLS = 5
#: warn from this share of rare peaks on
RARE_PEAKS_SHARE = 0.2
#: warn above this absolute correlation of a dimension of the RNA reference with log RNA depth
REFERENCE_CORRELATION = 0.8


class Finding(NamedTuple):
    """One finding about the data."""

    #: name of the function of this module that found it
    check: str
    text: str
    #: obs column that it is about
    column: str | None = None


def quality_findings(data: Multiome, batches: pd.DataFrame) -> list[Finding]:
    """Run all checks of this module on validated data.

    Parameters
    ----------
    data
        The validated training data.
    batches
        Categorical confounders, cells × columns.

    Returns
    -------
    The findings, each with the name of its check.
    """
    depth, n_open = data.depth, data.n_open
    with_depth = np.isfinite(data.rna_depth)
    rna_depth = data.rna_depth[with_depth]
    found = [
        *(
            (depth_follows_batch, depth_follows_batch(depth, column), str(name))
            for name, column in batches.items()
        ),
        (doublets_by_depth, doublets_by_depth(depth[with_depth], rna_depth), None),
        (few_peaks_per_cell, few_peaks_per_cell(depth), None),
        (rarely_open_peaks, rarely_open_peaks(n_open), None),
        (reference_follows_depth, reference_follows_depth(data.g[with_depth], rna_depth), None),
    ]
    return [Finding(check.__name__, text, column) for check, text, column in found if text is not None]


def quality_warnings(data: Multiome, batches: pd.DataFrame) -> list[str]:
    """Run all checks, as `quality_findings` does, and return the messages alone, one per finding."""
    return [finding.text for finding in quality_findings(data, batches)]


def depth_follows_batch(depth: np.ndarray, batch: pd.Series) -> str | None:
    """Check whether ATAC depth differs between batches.

    Parameters
    ----------
    depth
        ATAC depth: open peaks per cell.
    batch
        Batch of each cell; the series is named after its obs column.
    """
    level = level_text(batch).to_numpy()
    share = _variance_between(np.log(depth), level)
    if share < DEPTH_BY_BATCH:
        return None
    medians = pd.Series(depth).groupby(level).median().sort_values()
    return (
        f"ATAC depth goes with {str(batch.name)!r}: {share:.0%} of the variance of log depth lies between its levels "
        f"(median open peaks {medians.iloc[0]:,.0f} in {medians.index[0]!r}, {medians.iloc[-1]:,.0f} in "
        f"{medians.index[-1]!r}). Effects of depth and batch cannot be told apart then. Look for cell types that occur in "
        "shallow or in deep batches alone; if there are, thin the deep batches to the depth of the shallow ones and "
        "compare."
    )


def _variance_between(y: np.ndarray, level: np.ndarray) -> float:
    """Share of the variance of y between levels, adjusted for their number: 0 or below for none, 1 for all."""
    table = pd.DataFrame({"y": y, "level": level})
    n_cells, n_levels = len(table), table["level"].nunique()
    total = ((table["y"] - table["y"].mean()) ** 2).sum()
    if n_levels < 2 or n_cells <= n_levels or total == 0:
        return 0.0
    within = ((table["y"] - table.groupby("level")["y"].transform("mean")) ** 2).sum()
    # epsilon² = 1 - (SS_within / (n - levels)) / (SS_total / (n - 1)): eta², less what levels explain by chance
    return float(1 - (within / (n_cells - n_levels)) / (total / (n_cells - 1)))


def doublets_by_depth(atac_depth: np.ndarray, rna_depth: np.ndarray) -> str | None:
    """Check for possible doublets: cells far deeper than the median in both modalities.

    Parameters
    ----------
    atac_depth, rna_depth
        Number of open peaks and total RNA counts per cell, positive.
    """
    if len(atac_depth) == 0:
        return None
    n_high = int((_far_above(atac_depth) & _far_above(rna_depth)).sum())
    if n_high < max(2, DOUBLET_SHARE * len(atac_depth)):
        return None
    return (
        f"{n_high:,} of {len(atac_depth):,} cells ({n_high / len(atac_depth):.1%}) are far deeper than the rest in RNA "
        "and in ATAC. Two cells under one barcode look like this, and lie between cell types. Some cells are just large; "
        "a doublet finder (such as scDblFinder, AMULET or Scrublet) tells which to drop."
    )


def _far_above(depth: np.ndarray) -> np.ndarray:
    return np.log(depth) > np.log(doublet_limit(depth))


def doublet_limit(depth: np.ndarray) -> float:
    """Compute the depth above which a cell is far deeper than the others.

    Parameters
    ----------
    depth
        Depth per cell, positive, in one modality.
    """
    log_depth = np.log(depth)
    median = np.median(log_depth)
    spread = 1.4826 * np.median(np.abs(log_depth - median))  # a normal's standard deviation
    return float(np.exp(median + max(DOUBLET_SPREADS * spread, np.log(DOUBLET_FOLD))))


def few_peaks_per_cell(depth: np.ndarray) -> str | None:
    """Check for many cells with few open peaks.

    Parameters
    ----------
    depth
        ATAC depth: open peaks per cell.
    """
    share = float((depth < FEW_PEAKS).mean())
    if share < FEW_PEAKS_SHARE:
        return None
    return (
        f"{share:.0%} of the cells have fewer than {FEW_PEAKS} open peaks (median {np.median(depth):,.0f}). Some "
        "protocols are that shallow; the embedding of such cells then rests on the RNA reference more than on their own "
        "ATAC. If you expected more, check that the peaks are those of these cells (same genome, no subset of peaks) and "
        "that empty droplets are gone."
    )


def rarely_open_peaks(n_open: np.ndarray) -> str | None:
    """Check for many peaks that are open in hardly any cell.

    Parameters
    ----------
    n_open
        Number of cells in which each peak is open.
    """
    rare = n_open < RARE_PEAK_CELLS
    if rare.mean() < RARE_PEAKS_SHARE:
        return None
    return (
        f"{rare.sum():,} of {len(rare):,} peaks ({rare.mean():.0%}) are open in fewer than {RARE_PEAK_CELLS} cells, "
        f"{(n_open == 0).sum():,} of them in none. Next to nothing can be learned about them, and they cost time and "
        "memory. Drop them, and check that the peaks were called on these cells or on cells like them."
    )


def reference_follows_depth(g: np.ndarray, rna_depth: np.ndarray) -> str | None:
    """Check for dimensions of the RNA reference that correlate with RNA depth.

    Parameters
    ----------
    g
        RNA reference of the cells with known RNA depth, cells × dimensions.
    rna_depth
        Total RNA counts per cell, positive.
    """
    log_depth = np.log(rna_depth)
    if len(g) < 3 or np.ptp(log_depth) == 0:
        return None
    r = np.abs(depth_correlations(g, rna_depth))
    n_strong = int((r > REFERENCE_CORRELATION).sum())
    if n_strong == 0:
        return None
    return (
        f"{n_strong} of {len(r)} dimensions of the RNA reference follow RNA depth (strongest correlation with log depth "
        f"{r.max():.2f}). The model learns from this reference, so RNA depth would shape the embedding. Drop such "
        "dimensions from the reference, or name one made from normalised counts with `rna_embedding`; where cell types "
        "differ in depth, some correlation is real."
    )


def depth_correlations(g: np.ndarray, rna_depth: np.ndarray) -> np.ndarray:
    """Correlate each dimension of the RNA reference with log RNA depth; 0 for a constant dimension.

    Parameters
    ----------
    g, rna_depth
        As for `reference_follows_depth`.
    """
    log_depth = np.log(rna_depth)
    g, y = g - g.mean(axis=0), log_depth - log_depth.mean()
    norms = np.linalg.norm(g, axis=0) * np.linalg.norm(y)
    r: np.ndarray = (y @ g) / np.where(norms > 0, norms, np.inf)
    return r
