"""Figures of motif activity: ranked motifs with their logos, and a heat map of groups of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from sailerx.errors import InputError
from sailerx.evaluate.figures import MARK, OTHERS, PLAIN, new_figure, tidy
from sailerx.regulators.motif_sets import BASES, Motif

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: colours of A, C, G, T as in most logos, from the colour-blind safe palette
_COLOURS = {"A": "#009E73", "C": "#0072B2", "G": "#E69F00", "T": "#D55E00"}


def motif_ranks(table: pd.DataFrame, motifs: Sequence[Motif], *, n_logos: int = 5, title: str = "") -> Figure:
    """Draw motifs ranked by their difference between two groups, with the logos of the highest.

    Parameters
    ----------
    table
        From `sailerx.motifs.differential`.
    motifs
        The motifs, for their logos.
    n_logos
        Number of logos.
    title
        Title of the figure.

    Returns
    -------
    The figure.

    Raises
    ------
    InputError
        If a motif of the table is not among ``motifs``.

    Examples
    --------
    >>> import pandas as pd, sailerx
    >>> motifs = sailerx.motifs.jaspar("insects")[:9]
    >>> table = pd.DataFrame({"difference": range(9), "differential": False}, [motif.id for motif in motifs])
    >>> table["name"] = [motif.name for motif in motifs]
    >>> len(sailerx.plot.motif_ranks(table, motifs, n_logos=3).axes)
    4
    """
    known = {motif.id: motif for motif in motifs}
    missing = [name for name in table.index if name not in known]
    if missing:
        raise InputError(f"`motifs` must hold the motifs of the table: {missing[0]!r} is not among them.")
    ranked = table.sort_values("difference", ascending=False)
    n_logos = min(n_logos, len(ranked))
    figure = new_figure(8.0, max(3.2, 0.75 * n_logos))
    places = figure.add_gridspec(n_logos, 2, width_ratios=[1.6, 1.0])
    _ranked(figure.add_subplot(places[:, 0]), ranked, n_logos)
    for i, name in enumerate(ranked.index[:n_logos]):
        axes = figure.add_subplot(places[i, 1])
        draw_logo(axes, known[str(name)])
        axes.set_title(f"{i + 1}  {ranked['name'].iloc[i]}", loc="left", fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _ranked(axes: Axes, ranked: pd.DataFrame, n_named: int) -> None:
    rank, difference = np.arange(1, len(ranked) + 1), ranked["difference"].to_numpy(float)
    called = ranked["differential"].to_numpy(bool)
    for mask, colour, label in ((~called, OTHERS, "not called"), (called, PLAIN, "differential")):
        axes.scatter(rank[mask], difference[mask], s=9, color=colour, label=label, linewidths=0)
    axes.axhline(0, color=MARK, linewidth=0.8)
    axes.autoscale_view()  # fixes the scale that follows
    points = axes.transData.transform([(0, value) for value in difference[:n_named]])
    height = points[:, 1] * 72 / axes.figure.dpi
    for i in range(n_named):
        beside = int((np.abs(height[:i] - height[i]) < 9).sum())  # numbers of like height stand side by side
        offset = (5 + 8 * beside, -2)
        axes.annotate(
            str(i + 1), (rank[i], difference[i]), xytext=offset, textcoords="offset points", fontsize=8
        )
    axes.set_xlabel("rank of the motif", fontsize=9)
    axes.set_ylabel("difference of mean z-scores", fontsize=9)
    if called.any() and not called.all():
        axes.legend(fontsize=8, frameon=False)
    tidy(axes)


def draw_logo(axes: Axes, motif: Motif) -> None:
    """Draw a motif's logo: heights in bits, the information of each position (Schneider & Stephens 1990)."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    share = motif.counts / motif.counts.sum(axis=0)
    bits = 2 + (share * np.log2(np.where(share > 0, share, 1))).sum(axis=0)
    letters = {base: TextPath((0, 0), base, prop=FontProperties(weight="bold")) for base in BASES}
    for position in range(len(motif)):
        bottom = 0.0
        for row in np.argsort(share[:, position]):
            height = float(share[row, position] * bits[position])
            box = letters[BASES[row]].get_extents()
            if height > 0.01:
                moved = Affine2D().translate(-box.x0, -box.y0).scale(0.92 / box.width, height / box.height)
                moved = moved.translate(position + 0.54, bottom)
                path = moved.transform_path(letters[BASES[row]])
                axes.add_patch(PathPatch(path, facecolor=_COLOURS[BASES[row]], linewidth=0))
            bottom += height
    axes.set_xlim(0.5, max(len(motif), 8) + 0.5)
    axes.set_ylim(0, 2)
    axes.set_xticks([])
    axes.set_yticks([0, 2], ["0", "2 bits"])
    tidy(axes)


def motif_heatmap(activity: AnnData, group_by: str, *, n_motifs: int = 3) -> Figure:
    """Draw mean z-scores of groups of cells, of the motifs that stand out most in each group.

    Parameters
    ----------
    activity
        Cells × motifs, from `sailerx.motifs.activity` or `sailerx.Model.motif_activity`.
    group_by
        obs column of the groups.
    n_motifs
        Number of motifs of each group: those with the largest mean z-score above that of all other groups. A motif is shown once.

    Returns
    -------
    The figure: motifs × groups.

    Raises
    ------
    InputError
        If there is no such column, or only one group.

    Examples
    --------
    >>> import numpy as np, anndata, sailerx
    >>> z = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    >>> activity = anndata.AnnData(z)
    >>> activity.obs["type"] = ["a", "b"] * 10
    >>> len(sailerx.plot.motif_heatmap(activity, "type").axes)
    2
    """
    means = group_means(activity, group_by)
    chosen: list[str] = []
    for group in means.index:
        above = means.loc[group] - means.drop(index=group).max()
        fresh = above.drop(index=chosen).sort_values(ascending=False)
        chosen += list(fresh.index[:n_motifs])
    names = (
        activity.var["name"].astype(str)
        if "name" in activity.var
        else pd.Series(activity.var_names, activity.var_names)
    )
    figure = new_figure(2.2 + 0.34 * len(means), 1.2 + 0.19 * len(chosen))
    axes = figure.subplots()
    shown = means[chosen].T
    most = float(np.abs(shown.to_numpy()).max()) or 1.0
    image = axes.imshow(shown, aspect="auto", cmap="RdBu_r", vmin=-most, vmax=most)
    axes.set_xticks(range(len(means)), [str(group) for group in means.index], rotation=90, fontsize=8)
    axes.set_yticks(range(len(chosen)), list(names[chosen]), fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 8 / len(chosen) + 0.2))
    bar.set_label("mean z-score", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def group_means(activity: AnnData, group_by: str) -> pd.DataFrame:
    """Average the z-scores of each group of cells; groups × motifs.

    Raises
    ------
    InputError
        If there is no such column, or only one group.
    """
    if group_by not in activity.obs:
        there = ", ".join(map(str, activity.obs)) or "(none)"
        raise InputError(
            f"`group_by` must be an obs column of the activity: {group_by!r} is none of {there}."
        )
    z = pd.DataFrame(np.asarray(activity.X, float), activity.obs_names, activity.var_names)
    means = z.groupby(activity.obs[group_by].to_numpy(), observed=True).mean()
    if len(means) < 2:
        raise InputError(f"a heat map needs at least 2 groups, but column {group_by!r} has {len(means)}.")
    return means
