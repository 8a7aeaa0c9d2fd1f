"""The paper's figures, redrawn from a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sailerx.evaluate.figures import FEW, OTHERS, new_figure, tidy
from sailerx.evaluate.umap_plots import scatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, THEIRS = FEW[0], "#B3B3B3"
#: largest number of cells that are drawn; more would make the page heavy, and hide each other
MOST_CELLS = 1500


def drawn_cells(n_cells: int, seed: int) -> np.ndarray:
    """Positions of the cells that are drawn, at most `MOST_CELLS`."""
    return np.sort(np.random.default_rng(seed).permutation(n_cells)[:MOST_CELLS])


def layouts(places: Mapping[str, np.ndarray], labels: np.ndarray) -> Figure:
    """Draw two-dimensional layouts of the same cells side by side, by label, with one legend."""
    figure = new_figure(3.1 * len(places) + 1.4, 3.3)
    panels = figure.subplots(1, len(places), squeeze=False)[0]
    kinds = pd.Series(pd.Categorical(labels))
    for axes, (name, place) in zip(panels, places.items(), strict=True):
        scatter(axes, place, kinds)
        if axes is not panels[-1]:
            axes.get_legend().remove()
        axes.set_title(name, loc="left", fontsize=10)
    return figure


def bars(scores: pd.DataFrame, ours: Sequence[str]) -> Figure:
    """Draw scores (methods × measures), a panel per measure, sailerx's in blue."""
    figure = new_figure(2.2 + 2.0 * scores.shape[1], 0.8 + 0.3 * len(scores))
    panels = figure.subplots(1, scores.shape[1], sharey=True, squeeze=False)[0]
    turned = scores.iloc[::-1]
    for axes, name in zip(panels, scores, strict=True):
        colours = [OURS if method in ours else THEIRS for method in turned.index]
        axes.barh(turned.index, turned[name].fillna(0), color=colours, height=0.7)
        for place, value in enumerate(turned[name]):
            text = "–" if np.isnan(value) else f"{value:.2f}"
            axes.annotate(
                text, (max(value, 0) if value == value else 0, place), xytext=(3, 0), fontsize=7,
                textcoords="offset points", va="center",
            )  # fmt: skip
        axes.set_title(name, fontsize=9)
        axes.margins(x=0.18)
        axes.axvline(0, color="black", linewidth=0.6)
        tidy(axes)
    return figure


def dumbbells(before: pd.DataFrame, after: pd.DataFrame, names: tuple[str, str]) -> Figure:
    """Draw two values of each row (rows × measures), joined by a line, a panel per measure."""
    figure = new_figure(2.2 + 2.3 * before.shape[1], 1.2 + 0.32 * len(before))
    panels = figure.subplots(1, before.shape[1], sharey=True, squeeze=False)[0]
    place = np.arange(len(before))[::-1]
    for axes, name in zip(panels, before, strict=True):
        axes.hlines(place, before[name], after[name], color=THEIRS, linewidth=2, zorder=1)
        for frame, colour, label in ((before, OTHERS, names[0]), (after, OURS, names[1])):
            axes.scatter(frame[name], place, s=34, color=colour, label=label, zorder=2)
        axes.set_yticks(place, before.index)
        axes.set_title(name, fontsize=9)
        axes.margins(x=0.12, y=0.15)
        tidy(axes)
    _legend_below(figure, panels[0])
    return figure


def dots(values: pd.DataFrame, ours: str, label: str) -> Figure:
    """Draw a value of each row by several methods (rows × methods) as dots in one panel."""
    figure = new_figure(6.4, 1.3 + 0.26 * len(values))
    axes = figure.subplots()
    place = np.arange(len(values))[::-1]
    others = iter((FEW[1], FEW[2], FEW[3], FEW[5]))
    for shift, name in zip(np.linspace(0.22, -0.22, values.shape[1]), values, strict=True):
        colour = OURS if name == ours else next(others)
        axes.scatter(values[name], place + shift, s=26, color=colour, label=name, linewidths=0)
    axes.hlines(place + 0.5, *axes.get_xlim(), color="#EEEEEE", linewidth=0.8, zorder=0)
    axes.set_yticks(place, values.index)
    axes.set_xlabel(label, fontsize=9)
    axes.set_ylim(-0.5, len(values) - 0.5)
    tidy(axes)
    _legend_below(figure, axes)
    return figure


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
