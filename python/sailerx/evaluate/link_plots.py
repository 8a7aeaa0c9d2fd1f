"""Figures of peak-to-gene links: how they lie about the starts of genes, and the links of single genes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sailerx.errors import InputError
from sailerx.evaluate.figures import MARK, OTHERS, PLAIN, grid, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: columns that the figures need, of those that `sailerx.Model.links` returns
_COLUMNS = ("gene", "peak", "chrom", "start", "end", "tss", "distance", "correlation", "linked")
_BINS = 20


def link_panels(links: pd.DataFrame) -> Figure:
    """Draw the share of pairs that are linked by distance from the start of the gene, and the number of linked peaks per gene.

    Parameters
    ----------
    links
        From `sailerx.Model.links`.

    Returns
    -------
    The figure, two panels.

    Raises
    ------
    InputError
        If a column is missing, or there is no pair.

    Examples
    --------
    >>> import pandas as pd, sailerx
    >>> table = pd.DataFrame({"gene": ["a", "a"], "peak": ["p", "q"], "chrom": "chr1", "start": [10, 90], "end": [20, 99]})
    >>> table = table.assign(tss=50, distance=[-35, 44], correlation=[0.7, 0.1], linked=[True, False])
    >>> len(sailerx.plot.link_panels(table).axes)
    2
    """
    from matplotlib.ticker import MaxNLocator

    links = checked_links(links)
    figure, (left, right) = grid(2, 4.6, 2.9)
    kilobases, linked = links["distance"].to_numpy(float) / 1000, links["linked"].to_numpy(bool)
    reach = max(np.abs(kilobases).max(), 1e-3)
    pairs, edges = np.histogram(kilobases, bins=_BINS, range=(-reach, reach))
    found, _ = np.histogram(kilobases[linked], bins=edges)
    share = np.where(pairs > 0, found / np.maximum(pairs, 1), np.nan)
    left.bar(edges[:-1], 100 * share, np.diff(edges), align="edge", color=PLAIN, edgecolor="white")
    left.axhline(100 * linked.mean(), color=MARK, linestyle="--", linewidth=1)
    left.annotate(
        f"all: {share_in_words(links)}", (1, 100 * linked.mean()), xycoords=("axes fraction", "data"),
        xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8, color=MARK,
    )  # fmt: skip
    left.set_xlabel("distance of the peak from the gene's start, kb", fontsize=8)
    left.set_ylabel("pairs that are linked, %", fontsize=8)
    per_gene = links[linked]["gene"].value_counts().value_counts().sort_index()
    right.bar(per_gene.index, per_gene.to_numpy(), color=PLAIN)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel("linked peaks of a gene", fontsize=8)
    right.set_ylabel("genes", fontsize=8)
    tidy(left)
    tidy(right)
    return figure


def link_arcs(links: pd.DataFrame, genes: Sequence[str]) -> Figure:
    """Draw the links of some genes as arcs from the start of the gene to its peaks.

    Parameters
    ----------
    links
        From `sailerx.Model.links`.
    genes
        Genes to draw, one panel each.

    Returns
    -------
    The figure. The height of an arc is the correlation: upwards if positive, downwards if negative. Grey bars are peaks
    that were compared with the gene, those not linked too.

    Raises
    ------
    InputError
        If a column or a gene is missing.

    Examples
    --------
    >>> import pandas as pd, sailerx
    >>> table = pd.DataFrame({"gene": ["a", "a"], "peak": ["p", "q"], "chrom": "chr1", "start": [10, 90], "end": [20, 99]})
    >>> table = table.assign(tss=50, distance=[-35, 44], correlation=[0.7, 0.1], linked=[True, False])
    >>> len(sailerx.plot.link_arcs(table, ["a"]).axes)
    1
    """
    links = checked_links(links)
    missing = [gene for gene in genes if gene not in set(links["gene"])]
    if missing or not genes:
        raise InputError(f"`genes` must be genes of the links, at least one: missing {missing}.")
    figure = new_figure(9.2, 1.5 * len(genes) + 0.2)
    for axes, gene in zip(figure.subplots(len(genes), 1, squeeze=False).ravel(), genes, strict=True):
        _draw_arcs(axes, links[links["gene"] == gene])
    return figure


def _draw_arcs(axes: Axes, own: pd.DataFrame) -> None:
    centre = (own["start"] + own["end"]).to_numpy(float) / 2e6
    tss, linked = float(own["tss"].iloc[0]) / 1e6, own["linked"].to_numpy(bool)
    axes.vlines(centre, -0.05, 0.05, color=OTHERS, linewidth=1)
    turn = np.linspace(0, np.pi, 50)
    for at, r in zip(centre[linked], own["correlation"].to_numpy(float)[linked], strict=True):
        x, y = (tss + at) / 2 + (at - tss) / 2 * np.cos(turn), r * np.sin(turn)
        axes.plot(x, y, color=PLAIN if r > 0 else MARK, linewidth=1.2)
    axes.plot([tss], [0], marker="^", color="black", markersize=6, clip_on=False, zorder=3)
    down = bool((own["correlation"][own["linked"]] < 0).any())
    axes.set_ylim(-1.05 if down else -0.12, 1.05)
    axes.set_yticks([-1, 0, 1] if down else [0, 1])
    span = max(np.ptp(np.append(centre, tss)), 1e-4)
    axes.set_xlim(min(centre.min(), tss) - 0.03 * span, max(centre.max(), tss) + 0.03 * span)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_title(
        f"{own['gene'].iloc[0]}: {int(linked.sum())} of {len(own)} peaks linked", loc="left", fontsize=9
    )
    axes.set_xlabel(f"{own['chrom'].iloc[0]}, Mb", fontsize=8)
    axes.set_ylabel("correlation", fontsize=8)
    tidy(axes)


def share_in_words(links: pd.DataFrame) -> str:
    """Write the share of pairs that are linked as a percentage of two digits."""
    return f"{100 * links['linked'].mean():.2g}%"


def checked_links(links: pd.DataFrame) -> pd.DataFrame:
    """Refuse what is no table of links; its column ``linked`` becomes true or false.

    Raises
    ------
    InputError
        If a column is missing, or there is no pair.
    """
    missing = [name for name in _COLUMNS if name not in links]
    if missing:
        raise InputError(
            f"`links` must be a table as of `Model.links` or `sailerx links`, but lacks the column {missing[0]!r}."
        )
    if not len(links):
        raise InputError("`links` must have at least one pair of a peak and a gene, found none.")
    return links.assign(linked=links["linked"].astype(bool))
