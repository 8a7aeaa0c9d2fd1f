"""UMAP layouts of cells, coloured by columns of obs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sailerx.errors import InputError
from sailerx.evaluate import figures
from sailerx.threads import torch_threads_kept

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: width and height of a written name, as shares of the layout's
NAME_SIZE = np.array([0.08, 0.03])


def umap_layout(embedding: np.ndarray, *, metric: str = "euclidean", seed: int = 0) -> np.ndarray:
    """Compute a two-dimensional UMAP layout of cells.

    Parameters
    ----------
    embedding
        Cells × dimensions.
    metric
        Distance between neighbours, `"euclidean"` or `"cosine"`.
    seed
        Seed of UMAP; fixes the layout.

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
            warnings.simplefilter("ignore")  # umap warns at import that optional TensorFlow is missing
            from umap import UMAP
    except ImportError as error:
        raise InputError("A UMAP layout needs umap-learn: pip install 'sailerx[plot]'.") from error
    if len(embedding) < 4:
        raise InputError(f"A UMAP layout needs at least 4 cells, found {len(embedding)}.")
    n_neighbors = min(15, len(embedding) - 1)
    init = "spectral" if len(embedding) > 50 else "random"  # spectral initialisation fails for very few cells
    with warnings.catch_warnings(), torch_threads_kept():
        warnings.simplefilter("ignore")  # about n_jobs=1 with a seed, and disconnected graphs
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
    missing: str = "missing",
) -> Figure:
    """Draw one UMAP layout in several panels, each coloured by one column of obs.

    Parameters
    ----------
    embedding
        Cells × dimensions.
    obs
        One row per cell.
    columns
        Columns of `obs`: categories, text and booleans get one colour per value, numbers a colour scale. Of more
        than 26 categories the 25 with most cells get a colour, all others are grey.
    metric, seed
        As for `umap_layout`.
    layout
        Layout to draw, cells × 2; computed by default.
    log
        Columns that are drawn on a logarithmic scale, for example depths.
    title
        Title above the panels.
    missing
        What the legend calls cells without a category.

    Returns
    -------
    The figure, one panel per column, three in a row.

    Raises
    ------
    InputError
        If a column is missing, the number of rows differs, or a column in ``log`` is not positive.
    """
    unknown = [column for column in columns if column not in obs]
    if unknown or not columns:
        raise InputError(f"`columns` must be in obs: missing {unknown}. obs has: {list(obs.columns)}.")
    if len(obs) != len(embedding):
        raise InputError(f"`obs` must have one row per cell: expected {len(embedding)}, found {len(obs)}.")
    layout = umap_layout(embedding, metric=metric, seed=seed) if layout is None else layout
    figure, all_axes = figures.grid(len(columns), 5.6, 4.6)
    for axes, column in zip(all_axes, columns, strict=True):
        scatter(axes, layout, obs[column], log=column in log, missing=missing)
        axes.set_title(column.replace("_", " "), loc="left", fontsize=11)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def scatter(
    axes: Axes, layout: np.ndarray, values: pd.Series, *, log: bool = False, missing: str = "missing"
) -> None:
    """Draw cells in random order, so that no category hides another, with a legend or a colour bar."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set_visible(False)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        _draw_numbers(axes, layout, values.to_numpy(float), log)
    else:
        _draw_categories(axes, layout, values, missing)


def _dots(layout: np.ndarray) -> dict[str, Any]:
    return {"s": float(np.clip(12_000 / len(layout), 0.5, 14)), "linewidths": 0, "rasterized": True}


def _draw_numbers(axes: Axes, layout: np.ndarray, values: np.ndarray, log: bool) -> None:
    """Draw cells by a numeric column; cells without a value are grey, below the others."""
    known = np.isfinite(values)
    if log and not (values[known] > 0).all():
        raise InputError(
            "A logarithmic scale needs positive values, found 0 or less. Draw the column without `log`."
        )
    (x, y), dots = layout.T, _dots(layout)
    axes.scatter(x[~known], y[~known], color=figures.MISSING, **dots)
    points = axes.scatter(
        x[known], y[known], c=values[known], cmap="viridis", norm="log" if log else None, **dots
    )
    bar = axes.figure.colorbar(points, ax=axes, shrink=0.6, pad=0.01)
    bar.outline.set_visible(False)
    if log:
        ticks = _round_numbers(values[known])  # matplotlib would label its own ticks as powers of ten
        bar.set_ticks(
            ticks.tolist(), labels=[f"{tick:,.0f}" if tick >= 10 else f"{tick:.2g}" for tick in ticks]
        )
        bar.minorticks_off()
    bar.ax.tick_params(labelsize=8, which="both")


def _round_numbers(values: np.ndarray, most: int = 7) -> np.ndarray:
    """Choose ticks 1, 2, 5, 10, ... in the range of positive values; only powers of ten, or both ends, if that suits."""
    low, high = values.min(), values.max()
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
    ticks = np.outer(powers, [1, 2, 5]).ravel()
    ticks = ticks[(low <= ticks) & (ticks <= high)]
    if len(ticks) < 2:
        return np.unique([low, high])
    return ticks if len(ticks) <= most else powers[(low <= powers) & (powers <= high)]


def _draw_categories(axes: Axes, layout: np.ndarray, values: pd.Series, missing: str) -> None:
    codes, names, colours = _categories(values)
    order = np.random.default_rng(0).permutation(len(layout))
    x, y = layout[order].T
    axes.scatter(x, y, c=np.array([*colours, figures.MISSING])[codes[order]], **_dots(layout))
    _legend(axes, [*names, missing] if (codes < 0).any() else names, [*colours, figures.MISSING])
    if len(names) > len(figures.FEW):
        _write_names(axes, layout, codes, names[:-1] if figures.OTHERS in colours else names)


def _categories(values: pd.Series) -> tuple[np.ndarray, list[str], list[str]]:
    """Get codes (−1 if missing), names and colours of categories; beyond 26, pool the rarest into one."""
    kept = values.astype("category").cat.remove_unused_categories().cat
    codes, names = kept.codes.to_numpy().astype(int), [str(name) for name in kept.categories]
    if len(names) <= len(figures.MANY):
        return codes, names, _palette(len(names))
    n_cells = np.bincount(codes[codes >= 0], minlength=len(names))
    common = np.sort(np.argsort(-n_cells, kind="stable")[: len(figures.MANY) - 1])
    new_code = np.full(len(names) + 1, len(common))
    new_code[common], new_code[-1] = np.arange(len(common)), -1
    others = f"{len(names) - len(common)} others"
    return new_code[codes], [*(names[i] for i in common), others], [*_palette(len(common)), figures.OTHERS]


def _palette(n: int) -> list[str]:
    """Choose colours for up to 26 categories."""
    return list((figures.FEW if n <= len(figures.FEW) else figures.MANY)[:n])


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
    """Write the name of each compact category onto its most central cell, large categories first.

    Categories spread all over the layout (batches, for example) get no name; neither does one that would cover another.
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
    """Compute the median distance of cells from their median position."""
    return float(np.median(np.linalg.norm(places - np.median(places, axis=0), axis=1)))
