"""Figures of motif activity, and its section of the report."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import sailerx
from sailerx import InputError, motifs, plot
from sailerx.evaluate.figures import new_figure
from sailerx.evaluate.motif_plots import group_means
from sailerx.motifs import Motif


@pytest.fixture
def activity() -> ad.AnnData:
    z = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    group = np.repeat(["a", "b", "c"], 20)
    for i, name in enumerate("abc"):
        z[group == name, i] += 4
    var = pd.DataFrame({"name": [f"F{i}" for i in range(6)]}, [f"M{i}" for i in range(6)])
    return ad.AnnData(z, pd.DataFrame({"type": group}, [f"c{i}" for i in range(60)]), var)


def some_motifs() -> list[Motif]:
    rng = np.random.default_rng(1)
    return [
        Motif(f"M{i}", f"F{i}", rng.multinomial(30, [0.7, 0.1, 0.1, 0.1], 7).T.astype(float))
        for i in range(6)
    ]


def test_ranks_are_in_the_order_of_the_difference_with_the_logos_of_the_highest(activity: ad.AnnData) -> None:
    table = motifs.differential(activity, "type", "b")
    figure = plot.motif_ranks(table, some_motifs(), n_logos=2, title="b")
    ranked, *logos = figure.axes
    heights = np.concatenate([points.get_offsets()[:, 1] for points in ranked.collections])
    np.testing.assert_allclose(np.sort(heights), np.sort(table["difference"]))
    assert [axes.get_title(loc="left") for axes in logos] == [
        "1  F1",
        f"2  {table.sort_values('difference')['name'].iloc[-2]}",
    ]
    with pytest.raises(InputError, match="'M5' is not among them"):
        plot.motif_ranks(table.loc[["M5"]], some_motifs()[:5])


def test_letters_of_a_logo_are_as_high_as_their_information() -> None:
    counts = np.array([[8.0, 4], [0, 4], [0, 0], [0, 0]])
    axes = new_figure(3, 1).subplots()
    plot.draw_logo(axes, Motif("m", "m", counts))
    heights = [patch.get_extents().transformed(axes.transData.inverted()).height for patch in axes.patches]
    np.testing.assert_allclose(heights, [2.0, 0.5, 0.5], rtol=1e-3)


def test_heat_map_shows_the_motifs_that_stand_out_in_each_group(activity: ad.AnnData) -> None:
    figure = plot.motif_heatmap(activity, "type", n_motifs=1)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["F0", "F1", "F2"]
    expected = group_means(activity, "type")[["M0", "M1", "M2"]].T
    np.testing.assert_allclose(axes.images[0].get_array(), expected)
    np.testing.assert_allclose(expected.loc["M1", "b"], np.asarray(activity[20:40, "M1"].X).mean(), rtol=1e-5)
    with pytest.raises(InputError, match="'nothing' is none of type"):
        plot.motif_heatmap(activity, "nothing")
    with pytest.raises(InputError, match="at least 2 groups"):
        plot.motif_heatmap(activity[:20], "type")


def test_report_has_a_section_on_motifs(tmp_path: Path) -> None:
    mdata = sailerx.simulate(80, 100, 90, 3, seed=0)
    model = sailerx.fit(mdata, max_epochs=1, progress="none")
    hits = np.random.default_rng(0).random((90, 4)) < 0.3
    matches = pd.DataFrame(hits, mdata["atac"].var_names, list("abcd")).assign(gc=0.5)
    found = motifs.activity(mdata, matches, n_background=5, progress="none")
    model.report(mdata, tmp_path / "with.html", labels="cell_type", motifs=found)
    assert "Heat map of mean z-scores of motifs in 3 groups" in (tmp_path / "with.html").read_text(
        encoding="utf-8"
    )
    with pytest.raises(InputError, match="`labels`"):
        model.report(mdata, tmp_path / "none.html", motifs=found)
    assert not (tmp_path / "none.html").exists()
