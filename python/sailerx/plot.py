"""Figures: layouts of an embedding coloured by what is known of the cells, and the curves of the loss.

Needs matplotlib (and umap-learn for `umap_layout`): pip install 'sailerx[plot]'. Figures are made without a
display and returned; `save` writes them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sailerx.errors import InputError
from sailerx.store import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's eight colours without black, which colour-blind readers tell apart, for few categories
FEW = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
#: 26 for more of them, after Green-Armytage 2010 without the palest; names stand on the clusters too
MANY = (
    "#0075DC", "#F0A0FF", "#993F00", "#4C005C", "#005C31", "#2BCE48", "#FFA405", "#808080", "#94FFB5", "#8F7C00",
    "#9DCC00", "#C20088", "#003380", "#FFA8BB", "#426600", "#FF0010", "#5EF1F2", "#00998F", "#E0D000", "#740AFF",
    "#990000", "#FF5005", "#191919", "#B8860B", "#7B68EE", "#A0522D",
)  # fmt: skip
MISSING = "#D0D0D0"
#: columns of a history that are not terms of the loss
NOT_TERMS = ("epoch", "learning_rate", "annealing", "seconds", "cells_per_second")


def umap_layout(embedding: np.ndarray, *, metric: str = "euclidean", seed: int = 0) -> np.ndarray:
    """Place cells in the plane by UMAP.

    Parameters
    ----------
    embedding
        Cells × dimensions.
    metric
        Of the neighbours: `"euclidean"` or `"cosine"`.
    seed
        The same seed gives the same layout.

    Returns
    -------
    Cells × 2, float32.

    Raises
    ------
    InputError
        If umap-learn is missing or there are fewer than four cells.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # umap tells at import that optional TensorFlow is missing
            from umap import UMAP
    except ImportError as error:
        raise InputError("A UMAP layout needs umap-learn: pip install 'sailerx[plot]'.") from error
    if len(embedding) < 4:
        raise InputError(f"A UMAP layout needs at least 4 cells, found {len(embedding)}.")
    n_neighbors = min(15, len(embedding) - 1)
    init = "spectral" if len(embedding) > 50 else "random"  # the spectral start fails for a handful of cells
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one job where there is a seed; graphs of several parts
        layout = UMAP(n_neighbors, min_dist=0.3, metric=metric, init=init, random_state=seed, n_jobs=1)
        return layout.fit_transform(np.asarray(embedding, dtype=np.float32)).astype(np.float32)


def umap_panels(
    embedding: np.ndarray,
    obs: pd.DataFrame,
    columns: Sequence[str],
    *,
    metric: str = "euclidean",
    seed: int = 0,
    layout: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draw one UMAP layout several times, coloured by one column each.

    Parameters
    ----------
    embedding
        Cells × dimensions.
    obs
        One row per cell.
    columns
        Columns of `obs`: categories, text or truth values get a colour each, numbers a scale.
    metric, seed
        As in `umap_layout`.
    layout
        A layout made before, cells × 2, instead of a new one.
    title
        Stands above the panels.

    Returns
    -------
    The figure, one panel per column.

    Raises
    ------
    InputError
        If a column is missing or the number of rows differs.
    """
    missing = [column for column in columns if column not in obs]
    if missing or not columns:
        raise InputError(f"`columns` must be in obs: missing {missing}, there are {list(obs.columns)}.")
    if len(obs) != len(embedding):
        raise InputError(f"`obs` must have one row per cell: expected {len(embedding)}, found {len(obs)}.")
    layout = umap_layout(embedding, metric=metric, seed=seed) if layout is None else layout
    figure = _figure(5.6 * len(columns), 4.6)
    for axes, column in zip(_axes(figure, 1, len(columns)), columns, strict=True):
        _scatter(axes, layout, obs[column])
        axes.set_title(column.replace("_", " "), loc="left", fontsize=11)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def loss_curves(history: pd.DataFrame) -> Figure:
    """Draw every loss term over the epochs, one small panel per term.

    Parameters
    ----------
    history
        One row per epoch, with a column `epoch` and one column per term, as `Model.history`.

    Returns
    -------
    The figure.

    Raises
    ------
    InputError
        If there is no term to draw.
    """
    terms = [name for name in history.select_dtypes("number").columns if name not in NOT_TERMS]
    if not terms:
        raise InputError(f"`history` must have a column per loss term, found {list(history.columns)}.")
    n_columns = min(len(terms), 3)
    n_rows = -(-len(terms) // n_columns)
    figure = _figure(3.4 * n_columns, 2.5 * n_rows)
    all_axes = _axes(figure, n_rows, n_columns)
    epoch = history["epoch"] if "epoch" in history else np.arange(len(history))
    for axes, term in zip(all_axes, terms, strict=False):
        axes.plot(epoch, history[term], color=FEW[0], linewidth=1.6, marker="." if len(history) < 3 else "")
        axes.set_title(term.replace("_", " "), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.set_xlabel("epoch", fontsize=8)
    for axes in all_axes[len(terms) :]:
        axes.remove()
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG at 150 dots per inch; the file appears once it is complete."""
    with new_file(path) as part:
        figure.savefig(part, format="png", dpi=150)


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("Figures need matplotlib: pip install 'sailerx[plot]'.") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, n_rows: int, n_columns: int) -> list[Axes]:
    return list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())


def _scatter(axes: Axes, layout: np.ndarray, values: pd.Series) -> None:
    """Draw cells in an order that hides no category, with a legend or a colour bar beside them."""
    size = float(np.clip(12_000 / len(layout), 0.5, 14))
    x, y = layout.T
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(False)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        shade = values.to_numpy(float)
        points = axes.scatter(x, y, c=shade, s=size, cmap="viridis", linewidths=0, rasterized=True)
        axes.figure.colorbar(points, ax=axes, shrink=0.6, pad=0.01).outline.set_visible(False)
        return
    codes, names = _categories(values)
    colours = np.array([*_palette(len(names)), MISSING])[codes]
    order = np.random.default_rng(0).permutation(len(layout))
    axes.scatter(x[order], y[order], c=colours[order], s=size, linewidths=0, rasterized=True)
    _legend(axes, names, bool((codes < 0).any()))
    if len(names) > len(FEW):
        _write_names(axes, layout, codes, names)


def _categories(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Codes (−1 where missing) and the names of the categories that occur."""
    kept = values.astype("category").cat.remove_unused_categories()
    return kept.cat.codes.to_numpy(), [str(name) for name in kept.cat.categories]


def _palette(n: int) -> list[str]:
    """Colours for `n` categories; beyond 26 they repeat, and the names on the clusters tell them apart."""
    base = FEW if n <= len(FEW) else MANY
    return [base[i % len(base)] for i in range(n)]


def _legend(axes: Axes, names: list[str], missing: bool) -> None:
    from matplotlib.lines import Line2D

    entries = list(zip(names, _palette(len(names)), strict=True)) + [("missing", MISSING)] * missing
    handles = [
        Line2D([], [], marker="o", linestyle="", color=c, label=name, markersize=6) for name, c in entries
    ]
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8,
        ncols=-(-len(handles) // 20), handletextpad=0.1, borderaxespad=0.0,
    )  # fmt: skip


def _write_names(axes: Axes, layout: np.ndarray, codes: np.ndarray, names: list[str]) -> None:
    """Write each category's name at the cell nearest to its median."""
    from matplotlib.patheffects import withStroke

    for code, name in enumerate(names):
        cells = layout[codes == code]
        x, y = cells[np.argmin(((cells - np.median(cells, axis=0)) ** 2).sum(axis=1))]
        halo = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(x, y, name, fontsize=8, ha="center", va="center", path_effects=halo)
