"""A small figure for each warning about the data, which shows what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sailerx.data import quality_warnings as checks
from sailerx.data.levels import level_text
from sailerx.data.multiome import Multiome
from sailerx.evaluate.figures import MARK, OTHERS, PLAIN, grid, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: width and height of a figure, or of one of its panels, in inches
_SIZE = (4.4, 2.6)
#: colour of lines that mark a limit or a median
_LINE = "#404040"
#: batches drawn, the shallowest and the deepest
_MOST_BATCHES = 12


def warning_figure(
    finding: checks.Finding, data: Multiome, batches: pd.DataFrame
) -> tuple[Figure, str] | None:
    """Draw what a check has found.

    Parameters
    ----------
    finding
        From `sailerx.data.quality_warnings.quality_findings`.
    data, batches
        What the findings are of.

    Returns
    -------
    The figure, and what it shows in a sentence; None for a finding of another kind.
    """
    rna = np.isfinite(data.rna_depth)
    drawn: dict[str, Callable[[], tuple[Figure, str]]] = {
        "depth_follows_batch": lambda: _depth_by_batch(data.depth, batches[str(finding.column)]),
        "doublets_by_depth": lambda: _doublets(data.depth[rna], data.rna_depth[rna]),
        "few_peaks_per_cell": lambda: _few_peaks(data.depth),
        "rarely_open_peaks": lambda: _rare_peaks(data.n_open),
        "reference_follows_depth": lambda: _reference(data.g[rna], data.rna_depth[rna]),
    }
    return drawn[finding.check]() if finding.check in drawn else None


def _depth_by_batch(depth: np.ndarray, batch: pd.Series) -> tuple[Figure, str]:
    level = level_text(batch).to_numpy()
    order = list(pd.Series(depth).groupby(level).median().sort_values().index)
    if len(order) > _MOST_BATCHES:
        order = order[: _MOST_BATCHES // 2] + order[-_MOST_BATCHES // 2 :]
    figure = new_figure(_SIZE[0], 0.9 + 0.3 * len(order))
    axes = figure.subplots()
    parts = axes.boxplot(
        [depth[level == name] for name in order], orientation="horizontal", widths=0.6, patch_artist=True,
        flierprops={"marker": ".", "markersize": 2, "markeredgecolor": OTHERS, "rasterized": True},
        medianprops={"color": MARK, "linewidth": 2},
    )  # fmt: skip
    for box in parts["boxes"]:
        box.set(facecolor=PLAIN, alpha=0.5, linewidth=0)
    axes.set_yticks(range(1, len(order) + 1), [_short(name) for name in order])
    axes.set_ylabel(_short(str(batch.name)), fontsize=8)
    _log_axis(axes, "x", "open peaks per cell", depth)
    tidy(axes)
    return (
        figure,
        f"Open peaks per cell by {batch.name}; a box holds half of the cells, a line is the median.",
    )


def _doublets(atac: np.ndarray, rna: np.ndarray) -> tuple[Figure, str]:
    limits = checks.doublet_limit(rna), checks.doublet_limit(atac)
    high = (rna > limits[0]) & (atac > limits[1])
    figure = new_figure(_SIZE[0], 3.2)
    axes = figure.subplots()
    for mask, colour, size in ((~high, PLAIN, 3), (high, MARK, 8)):
        axes.scatter(rna[mask], atac[mask], s=size, color=colour, linewidths=0, rasterized=True)
    axes.axvline(limits[0], color=OTHERS, linewidth=0.8, linestyle="--")
    axes.axhline(limits[1], color=OTHERS, linewidth=0.8, linestyle="--")
    _log_axis(axes, "x", "RNA counts per cell", rna)
    _log_axis(axes, "y", "open peaks per cell", atac)
    tidy(axes)
    return (
        figure,
        f"Depth of each cell in RNA and ATAC; {int(high.sum()):,} cells, orange, are above both dashed limits.",
    )


def _few_peaks(depth: np.ndarray) -> tuple[Figure, str]:
    edges = np.geomspace(max(depth.min(), 1), depth.max() * 1.001, 40).tolist()
    figure = new_figure(*_SIZE)
    axes = figure.subplots()
    few = depth < checks.FEW_PEAKS
    for mask, colour in ((few, MARK), (~few, PLAIN)):
        axes.hist(depth[mask], bins=edges, color=colour)
    axes.axvline(float(np.median(depth)), color=_LINE, linestyle="--", linewidth=1)
    _log_axis(axes, "x", "open peaks per cell", depth)
    axes.set_ylabel("cells", fontsize=8)
    tidy(axes)
    return (
        figure,
        f"Open peaks per cell; orange: fewer than {checks.FEW_PEAKS}. Dashed: median {np.median(depth):,.0f}.",
    )


def _rare_peaks(n_open: np.ndarray) -> tuple[Figure, str]:
    limit = checks.RARE_PEAK_CELLS
    starts = [*range(limit), *(s * 10**e for e in range(9) for s in (1, 2, 5) if s * 10**e >= limit)]
    ends = [*starts[1:], 10**9]
    counts = [int(((n_open >= a) & (n_open < b)).sum()) for a, b in zip(starts, ends, strict=True)]
    last = int(np.flatnonzero(counts)[-1]) + 1
    names = [f"{a:,}" if b == a + 1 else f"{a:,}–{b - 1:,}" for a, b in zip(starts, ends, strict=True)]
    figure = new_figure(*_SIZE)
    axes = figure.subplots()
    colours = [MARK if start < limit else PLAIN for start in starts[:last]]
    axes.bar(range(last), counts[:last], color=colours, width=0.9)
    axes.set_xticks(range(last), names[:last], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlabel("cells in which a peak is open", fontsize=8)
    axes.set_ylabel("peaks", fontsize=8)
    tidy(axes)
    return figure, f"Number of cells in which peaks are open; orange: fewer than {limit}."


def _reference(g: np.ndarray, rna_depth: np.ndarray) -> tuple[Figure, str]:
    r = checks.depth_correlations(g, rna_depth)
    most = int(np.argmax(np.abs(r)))
    figure, (left, right) = grid(2, 3.4, 2.7)
    strong = np.abs(r) > checks.REFERENCE_CORRELATION
    left.bar(np.arange(1, len(r) + 1), np.abs(r), color=np.where(strong, MARK, PLAIN).tolist())
    left.axhline(checks.REFERENCE_CORRELATION, color=_LINE, linestyle="--", linewidth=1)
    left.set_ylim(0, 1)
    left.set_xlabel("dimension of the RNA reference", fontsize=8)
    left.set_ylabel("|correlation| with log RNA depth", fontsize=8)
    right.scatter(rna_depth, g[:, most], s=3, color=MARK, linewidths=0, rasterized=True)
    _log_axis(right, "x", "RNA counts per cell", rna_depth)
    right.set_ylabel(f"dimension {most + 1}", fontsize=8)
    tidy(left)
    tidy(right)
    return (
        figure,
        f"Correlation of each dimension with log RNA depth, and the strongest, dimension {most + 1}, by cell.",
    )


def _log_axis(axes: Axes, which: str, name: str, values: np.ndarray) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks, a few more where it spans less than two powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    narrow = values.max() / max(values.min(), 1) < 100
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.0f}"))
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(name, fontsize=8)


def _short(name: str, most: int = 20) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
