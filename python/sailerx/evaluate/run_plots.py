"""Figures of a training run: RNA neighbours kept, alignment weights, loss curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sailerx.errors import InputError
from sailerx.evaluate.figures import MARK, PLAIN, grid, tidy
from sailerx.evaluate.umap_plots import scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: columns of the history that are not loss terms
_NOT_TERMS = ("epoch", "learning_rate", "annealing", "seconds", "cells_per_second")


def agreement_panels(agreement: np.ndarray, layout: np.ndarray, *, chance: float | None = None) -> Figure:
    """Draw the share of each cell's RNA neighbours that are also its neighbours in the embedding.

    Parameters
    ----------
    agreement
        Share per cell, 0 to 1, from `sailerx.metrics.neighbor_agreement`; NaN for cells without RNA.
    layout
        Cells × 2, from `umap_layout`.
    chance
        Expectation by chance (`sailerx.metrics.chance_agreement`), marked in the histogram.

    Returns
    -------
    The figure: a histogram over cells, and the cells in the layout.

    Raises
    ------
    InputError
        If the lengths differ or no cell has a value.
    """
    marks = {"mean": float(np.nanmean(agreement))} if np.isfinite(agreement).any() else {}
    marks |= {} if chance is None else {"by chance": chance}
    return _histogram_and_map(agreement, layout, "RNA neighbours kept", marks)


def weight_panels(w: np.ndarray, layout: np.ndarray) -> Figure:
    """Draw the alignment weight w of each cell: how strongly it is aligned to RNA.

    Parameters
    ----------
    w
        Weight per cell, 0 to 1; NaN for cells without RNA.
    layout
        Cells × 2, from `umap_layout`.

    Returns
    -------
    The figure: a histogram over cells, and the cells in the layout.

    Raises
    ------
    InputError
        If the lengths differ or no cell has a value.
    """
    return _histogram_and_map(w, layout, "alignment weight w", {})


def atac_weight_panels(weight: np.ndarray, layout: np.ndarray) -> Figure:
    """Draw how much ATAC counts in each cell's row of the embedding.

    Parameters
    ----------
    weight
        Share of ATAC in the squared length of the row, 0 to 1: column ``sailerx_atac_weight`` of the results.
    layout
        Cells × 2, from `umap_layout`.

    Returns
    -------
    The figure: a histogram over cells, and the cells in the layout.

    Raises
    ------
    InputError
        If the lengths differ or no cell has a value.
    """
    return _histogram_and_map(weight, layout, "ATAC weight", {})


def confidence_panels(confidence: np.ndarray, layout: np.ndarray, *, threshold: float = 0.5) -> Figure:
    """Draw the confidence of each cell's transferred label.

    Parameters
    ----------
    confidence
        Confidence per cell, 0 to 1, from `sailerx.Model.transfer_labels`; NaN for cells that labels come from.
    layout
        Cells × 2, from `umap_layout`.
    threshold
        Confidence below which a cell is called unknown, marked in the histogram.

    Returns
    -------
    The figure: a histogram over cells, and the cells in the layout.

    Raises
    ------
    InputError
        If the lengths differ or no cell has a value.
    """
    return _histogram_and_map(confidence, layout, "confidence", {"unknown below": threshold})


def loss_curves(history: pd.DataFrame) -> Figure:
    """Draw every loss term over the epochs, one small panel per term.

    Parameters
    ----------
    history
        One row per epoch, with a column `epoch` and one column per term: `Model.history`.

    Returns
    -------
    The figure.

    Raises
    ------
    InputError
        If ``history`` has no column of a loss term.
    """
    terms = [name for name in history.select_dtypes("number").columns if name not in _NOT_TERMS]
    if not terms:
        raise InputError(f"`history` must have a column per loss term, found {list(history.columns)}.")
    figure, all_axes = grid(len(terms), 3.4, 2.5)
    epoch = history["epoch"] if "epoch" in history else np.arange(len(history))
    for axes, term in zip(all_axes, terms, strict=True):
        axes.plot(epoch, history[term], color=PLAIN, linewidth=1.6, marker="." if len(history) < 3 else "")
        axes.set_title(term.replace("_", " "), loc="left", fontsize=10)
        tidy(axes)
        axes.set_xlabel("epoch", fontsize=8)
    return figure


def _histogram_and_map(
    values: np.ndarray, layout: np.ndarray, name: str, marks: Mapping[str, float]
) -> Figure:
    """Draw one value per cell, 0 to 1, as a histogram with marked values, and as colours of the layout."""
    values = np.asarray(values, dtype=float)
    if len(values) != len(layout) or not np.isfinite(values).any():
        raise InputError(
            f"There must be one value per cell of the layout, and at least one that is finite: found {len(values)} values, "
            f"{np.isfinite(values).sum()} of them finite, for {len(layout)} cells in the layout."
        )
    figure, (left, right) = grid(2, 4.6, 3.8)
    left.hist(values[np.isfinite(values)], bins=_edges(values[np.isfinite(values)]), color=PLAIN)
    for (label, at), style in zip(marks.items(), ("-", "--"), strict=False):
        left.axvline(at, color=MARK, linestyle=style, label=f"{label}: {at:.2g}")
    left.set_xlabel(name, fontsize=9)
    left.set_ylabel("cells", fontsize=9)
    tidy(left)
    if marks:
        left.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    scatter(right, layout, pd.Series(values))
    right.set_title(name, loc="left", fontsize=10)
    return figure


def _edges(values: np.ndarray) -> list[float]:
    """Choose bin edges for values between 0 and 1; if these are multiples of 1/k, each bin is centred on one."""
    gaps = np.diff(np.unique(values))
    width = max(gaps.min(), 1 / 30) if gaps.size else 1 / 30
    return list(np.arange(-width / 2, 1 + width, width))
