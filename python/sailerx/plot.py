"""Figures of an embedding and of the run that made it.

Layouts coloured by what is known of the cells, RNA neighbours kept, alignment weights, and the curves of the loss.
Needs matplotlib (and umap-learn for `umap_layout`): pip install 'sailerx[plot]'. Figures are made without a
display and returned; `save` writes them.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
OTHERS = "#A0A0A0"
#: colour of single curves and histograms, and of the lines that mark a value in them
PLAIN, MARK = FEW[0], FEW[5]
#: share of the layout's width and height that a name takes
NAME_SIZE = np.array([0.08, 0.03])
#: panels beside each other
PER_ROW = 3
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
    log: Sequence[str] = (),
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
        Columns of `obs`: categories, text or truth values get a colour each, numbers a scale. Of more than 26
        categories the 25 with most cells get a colour, the others are grey.
    metric, seed
        As in `umap_layout`.
    layout
        A layout made before, cells × 2, instead of a new one.
    log
        Those of `columns` that are drawn on a logarithmic scale, such as depths.
    title
        Stands above the panels.

    Returns
    -------
    The figure, one panel per column, three in a row.

    Raises
    ------
    InputError
        If a column is missing, the number of rows differs, or a column for a logarithmic scale is not positive.
    """
    missing = [column for column in columns if column not in obs]
    if missing or not columns:
        raise InputError(f"`columns` must be in obs: missing {missing}, there are {list(obs.columns)}.")
    if len(obs) != len(embedding):
        raise InputError(f"`obs` must have one row per cell: expected {len(embedding)}, found {len(obs)}.")
    layout = umap_layout(embedding, metric=metric, seed=seed) if layout is None else layout
    figure, all_axes = _grid(len(columns), 5.6, 4.6)
    for axes, column in zip(all_axes, columns, strict=True):
        _scatter(axes, layout, obs[column], log=column in log)
        axes.set_title(column.replace("_", " "), loc="left", fontsize=11)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def agreement_panels(agreement: np.ndarray, layout: np.ndarray, *, chance: float | None = None) -> Figure:
    """Draw how many of each cell's RNA neighbours are its neighbours in the embedding.

    Parameters
    ----------
    agreement
        Per cell, 0 to 1, as from `sailerx.metrics.neighbor_agreement`; NaN for cells without RNA.
    layout
        Cells × 2, as from `umap_layout`.
    chance
        What is expected by chance (`sailerx.metrics.chance_agreement`); marked in the histogram.

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
    """Draw the alignment weight w of each cell: how much it borrows from RNA.

    Parameters
    ----------
    w
        Per cell, 0 to 1; NaN for cells without RNA.
    layout
        Cells × 2, as from `umap_layout`.

    Returns
    -------
    The figure: a histogram over cells, and the cells in the layout.

    Raises
    ------
    InputError
        If the lengths differ or no cell has a value.
    """
    return _histogram_and_map(w, layout, "alignment weight w", {})


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
    figure, all_axes = _grid(len(terms), 3.4, 2.5)
    epoch = history["epoch"] if "epoch" in history else np.arange(len(history))
    for axes, term in zip(all_axes, terms, strict=True):
        axes.plot(epoch, history[term], color=PLAIN, linewidth=1.6, marker="." if len(history) < 3 else "")
        axes.set_title(term.replace("_", " "), loc="left", fontsize=10)
        _tidy(axes)
        axes.set_xlabel("epoch", fontsize=8)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG at 150 dots per inch; the file appears once it is complete."""
    with new_file(path) as part:
        figure.savefig(part, format="png", dpi=150)


def to_svg(figure: Figure) -> str:
    """A figure as SVG text, cells as pixels at 200 dots per inch; the same figure gives the same text."""
    from matplotlib import rc_context

    with io.StringIO() as text, rc_context({"svg.hashsalt": "sailerx"}):
        figure.savefig(text, format="svg", dpi=200, metadata={"Date": None})
        return text.getvalue()


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("Figures need matplotlib: pip install 'sailerx[plot]'.") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _grid(n_panels: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels of this size, in rows of three."""
    n_columns = min(n_panels, PER_ROW)
    n_rows = -(-n_panels // n_columns)
    figure = _figure(width * n_columns, height * n_rows)
    all_axes = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for axes in all_axes[n_panels:]:
        axes.remove()
    return figure, all_axes[:n_panels]


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _histogram_and_map(
    values: np.ndarray, layout: np.ndarray, name: str, marks: Mapping[str, float]
) -> Figure:
    """How values between 0 and 1 are spread, with some marked, and where in the layout they are."""
    values = np.asarray(values, dtype=float)
    if len(values) != len(layout) or not np.isfinite(values).any():
        raise InputError(
            f"Values must be known for some cell and fit the layout: found {np.isfinite(values).sum()} finite of "
            f"{len(values)}, for {len(layout)} cells in the layout."
        )
    figure, (left, right) = _grid(2, 4.6, 3.8)
    left.hist(values[np.isfinite(values)], bins=_edges(values[np.isfinite(values)]), color=PLAIN)
    for (label, at), style in zip(marks.items(), ("-", "--"), strict=False):
        left.axvline(at, color=MARK, linestyle=style, label=f"{label}: {at:.2g}")
    left.set_xlabel(name, fontsize=9)
    left.set_ylabel("cells", fontsize=9)
    _tidy(left)
    if marks:
        left.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    _scatter(right, layout, pd.Series(values))
    right.set_title(name, loc="left", fontsize=10)
    return figure


def _edges(values: np.ndarray) -> list[float]:
    """Edges of bins for values between 0 and 1, each bin around one value where these are multiples of a share."""
    gaps = np.diff(np.unique(values))
    width = max(gaps.min(), 1 / 30) if gaps.size else 1 / 30
    return list(np.arange(-width / 2, 1 + width, width))


def _scatter(axes: Axes, layout: np.ndarray, values: pd.Series, *, log: bool = False) -> None:
    """Draw cells in an order that hides no category, with a legend or a colour bar beside them."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(False)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        _draw_numbers(axes, layout, values.to_numpy(float), log)
    else:
        _draw_categories(axes, layout, values)


def _dots(layout: np.ndarray) -> dict[str, Any]:
    return {"s": float(np.clip(12_000 / len(layout), 0.5, 14)), "linewidths": 0, "rasterized": True}


def _draw_numbers(axes: Axes, layout: np.ndarray, values: np.ndarray, log: bool) -> None:
    """Cells without a value are grey, below the others."""
    known = np.isfinite(values)
    if log and not (values[known] > 0).all():
        raise InputError(
            "A logarithmic scale needs positive values, found 0 or less. Draw the column without `log`."
        )
    (x, y), dots = layout.T, _dots(layout)
    axes.scatter(x[~known], y[~known], color=MISSING, **dots)
    points = axes.scatter(
        x[known], y[known], c=values[known], cmap="viridis", norm="log" if log else None, **dots
    )
    bar = axes.figure.colorbar(points, ax=axes, shrink=0.6, pad=0.01)
    bar.outline.set_visible(False)
    if log:
        ticks = _round_numbers(values[known])  # matplotlib's own would be written as powers
        bar.set_ticks(
            ticks.tolist(), labels=[f"{tick:,.0f}" if tick >= 10 else f"{tick:.2g}" for tick in ticks]
        )
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=8, which="both")


def _round_numbers(values: np.ndarray, most: int = 7) -> np.ndarray:
    """1, 2, 5, 10, ... within the range of positive values; powers of ten where those are many, the ends where few."""
    low, high = values.min(), values.max()
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
    ticks = np.outer(powers, [1, 2, 5]).ravel()
    ticks = ticks[(low <= ticks) & (ticks <= high)]
    if len(ticks) < 2:
        return np.unique([low, high])
    return ticks if len(ticks) <= most else powers[(low <= powers) & (powers <= high)]


def _draw_categories(axes: Axes, layout: np.ndarray, values: pd.Series) -> None:
    codes, names, colours = _categories(values)
    order = np.random.default_rng(0).permutation(len(layout))
    x, y = layout[order].T
    axes.scatter(x, y, c=np.array([*colours, MISSING])[codes[order]], **_dots(layout))
    _legend(axes, [*names, "missing"] if (codes < 0).any() else names, [*colours, MISSING])
    if len(names) > len(FEW):
        _write_names(axes, layout, codes, names[:-1] if OTHERS in colours else names)


def _categories(values: pd.Series) -> tuple[np.ndarray, list[str], list[str]]:
    """Codes (−1 where missing), names and colours of the categories that occur; the rarest of too many as one."""
    kept = values.astype("category").cat.remove_unused_categories().cat
    codes, names = kept.codes.to_numpy().astype(int), [str(name) for name in kept.categories]
    if len(names) <= len(MANY):
        return codes, names, _palette(len(names))
    n_cells = np.bincount(codes[codes >= 0], minlength=len(names))
    common = np.sort(np.argsort(-n_cells, kind="stable")[: len(MANY) - 1])
    new_code = np.full(len(names) + 1, len(common))
    new_code[common], new_code[-1] = np.arange(len(common)), -1
    others = f"{len(names) - len(common)} others"
    return new_code[codes], [*(names[i] for i in common), others], [*_palette(len(common)), OTHERS]


def _palette(n: int) -> list[str]:
    """Colours for up to 26 categories."""
    return list((FEW if n <= len(FEW) else MANY)[:n])


def _legend(axes: Axes, names: Sequence[str], colours: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=_short(name), markersize=6)
        for name, colour in zip(names, colours, strict=False)
    ]
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8,
        ncols=-(-len(handles) // 20), handletextpad=0.1, borderaxespad=0.0,
    )  # fmt: skip


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _write_names(axes: Axes, layout: np.ndarray, codes: np.ndarray, names: list[str]) -> None:
    """Write the name of each category that lies together at the cell nearest to its median; the larger come first.

    A category that lies all over the layout, such as a batch, and a name that would cover another are left out.
    """
    from matplotlib.patheffects import withStroke

    halo, width = [withStroke(linewidth=2.5, foreground="white")], np.ptp(layout, axis=0)
    everywhere, written = _radius(layout), np.empty((0, 2))
    for code in np.argsort(-np.bincount(codes[codes >= 0], minlength=len(names)), kind="stable")[
        : len(names)
    ]:
        cells = layout[codes == code]
        place = cells[np.argmin(((cells - np.median(cells, axis=0)) ** 2).sum(axis=1))]
        covers = (np.abs(written - place) < NAME_SIZE * width).all(axis=1).any()
        if covers or _radius(cells) > 0.8 * everywhere:
            continue
        written = np.vstack([written, place])
        x, y = place
        axes.text(x, y, _short(names[code]), fontsize=8, ha="center", va="center", path_effects=halo)


def _radius(places: np.ndarray) -> float:
    """Median distance from the median place."""
    return float(np.median(np.linalg.norm(places - np.median(places, axis=0), axis=1)))
