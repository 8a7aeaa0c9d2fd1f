"""Figures hold what they should show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sailerx import InputError, plot
from sailerx.evaluate import figures, umap_plots


@pytest.fixture
def cells() -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"kind": pd.Categorical(rng.choice(["a", "b"], 70), ["b", "never", "a"])})
    obs["many"] = [f"type {i % 12}" for i in range(70)]
    obs["x"] = rng.random(70)
    return rng.normal(size=(70, 5)), obs


def test_layout_has_a_place_per_cell_and_is_seeded(cells):
    first, again = (plot.umap_layout(cells[0], seed=1) for _ in range(2))
    assert first.shape == (70, 2)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


def test_layout_of_a_handful_of_cells(cells):
    assert plot.umap_layout(cells[0][:5]).shape == (5, 2)
    with pytest.raises(InputError, match="at least 4 cells, found 3"):
        plot.umap_layout(cells[0][:3])


def test_panels_show_each_column_with_the_categories_that_occur(cells):
    z, obs = cells
    figure = plot.umap_panels(z, obs, ["kind", "many", "x"], layout=z[:, :2], title="all")
    axes = figure.axes
    assert [a.get_title(loc="left") for a in axes[:3]] == ["kind", "many", "x"]
    legends = [[text.get_text() for text in a.get_legend().texts] for a in axes[:2]]
    assert legends[0] == ["b", "a"]
    assert sorted(legends[1]) == sorted(obs["many"].unique())
    assert axes[2].get_legend() is None
    assert len(axes) == 4  # the fourth is the colour bar


def test_every_cell_is_drawn_in_the_colour_of_its_category(cells):
    from matplotlib.colors import to_hex

    z, obs = cells
    axes = plot.umap_panels(z, obs, ["kind"], layout=z[:, :2]).axes[0]
    points = axes.collections[0]
    drawn = {
        tuple(place): to_hex(c)
        for place, c in zip(points.get_offsets(), points.get_facecolors(), strict=True)
    }
    legend = {h.get_label(): to_hex(h.get_color()) for h in axes.get_legend().legend_handles}
    assert {
        drawn[tuple(place)] == legend[kind] for place, kind in zip(z[:, :2], obs["kind"], strict=True)
    } == {True}


def test_names_stand_on_groups_that_lie_together_and_cover_none():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(10), np.arange(30, 20, -1))
    angle = np.where(group == 9, 0, group) * 2 * np.pi / 9  # the last, smallest group lies on the first
    layout = 20 * np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(size=(len(group), 2))
    obs = pd.DataFrame({"group": group.astype(str), "batch": rng.choice(list("abcdefgh"), len(group))})
    axes = plot.umap_panels(layout, obs, ["group", "batch"], layout=layout).axes
    assert [text.get_text() for text in axes[0].texts] == [str(i) for i in range(9)]
    for text in axes[0].texts:
        here = layout[group == int(text.get_text())]
        assert (np.linalg.norm(here - text.get_position(), axis=1) < 1e-9).any()
    assert list(axes[1].texts) == []


def test_missing_categories_are_named(cells):
    z, obs = cells
    obs.loc[:3, "kind"] = None
    legend = plot.umap_panels(z, obs, ["kind"], layout=z[:, :2]).axes[0].get_legend()
    assert [text.get_text() for text in legend.texts] == ["b", "a", "missing"]


def test_up_to_26_categories_have_colours_of_their_own():
    assert all(len(set(umap_plots._palette(n))) == n for n in range(1, 27))


def test_of_too_many_categories_the_rarest_are_one():
    from matplotlib.colors import to_hex

    kind = np.repeat([f"k{i:02}" for i in range(30)], np.arange(30, 0, -1))
    z = np.random.default_rng(0).normal(size=(len(kind), 2))
    axes = plot.umap_panels(z, pd.DataFrame({"kind": kind}), ["kind"], layout=z).axes[0]
    legend = [text.get_text() for text in axes.get_legend().texts]
    assert legend == [*(f"k{i:02}" for i in range(25)), "5 others"]
    assert "5 others" not in [text.get_text() for text in axes.texts]
    colours = {to_hex(c, keep_alpha=False).upper() for c in axes.collections[0].get_facecolors()}
    assert len(colours) == 26
    assert figures.OTHERS in colours


def test_cells_without_a_number_are_drawn_in_grey(cells):
    from matplotlib.colors import to_hex

    z, obs = cells
    obs.loc[:9, "x"] = np.nan
    unknown, known = plot.umap_panels(z, obs, ["x"], layout=z[:, :2], log=["x"]).axes[0].collections
    np.testing.assert_array_equal(unknown.get_offsets(), z[:10, :2])
    assert to_hex(unknown.get_facecolors()[0]).upper() == figures.MISSING
    np.testing.assert_array_equal(known.get_array(), obs["x"][10:])
    assert type(known.norm).__name__ == "LogNorm"


def test_logarithm_of_zero_is_refused(cells):
    z, obs = cells
    obs.loc[3, "x"] = 0
    with pytest.raises(InputError, match="positive values"):
        plot.umap_panels(z, obs, ["x"], layout=z[:, :2], log=["x"])


def test_agreement_is_counted_and_drawn_where_it_is_known(cells):
    layout = cells[0][:, :2]
    kept = np.arange(70) % 4 / 3
    kept[:10] = np.nan
    histogram, cloud = plot.agreement_panels(kept, layout, chance=0.25).axes[:2]
    counts = [bar.get_height() for bar in histogram.patches]
    assert [n for n in counts if n] == [np.isclose(kept, j / 3).sum() for j in range(4)]
    centres = [bar.get_x() + bar.get_width() / 2 for bar in histogram.patches]
    np.testing.assert_allclose(centres[:4], [0, 1 / 3, 2 / 3, 1], atol=1e-9)
    marked = [text.get_text() for text in histogram.get_legend().texts]
    assert marked == [f"mean: {np.nanmean(kept):.2g}", "by chance: 0.25"]
    np.testing.assert_array_equal(cloud.collections[1].get_array(), kept[10:])


def test_weights_are_drawn_even_where_all_are_one(cells):
    axes = plot.weight_panels(np.ones(70), cells[0][:, :2]).axes
    assert max(bar.get_height() for bar in axes[0].patches) == 70
    assert axes[1].get_title(loc="left") == "alignment weight w"


def test_values_that_do_not_fit_the_layout_are_refused(cells):
    for wrong in (np.ones(69), np.full(70, np.nan)):
        with pytest.raises(InputError, match="for 70 cells in the layout"):
            plot.agreement_panels(wrong, cells[0][:, :2])


def test_panels_stand_three_in_a_row(cells):
    z, obs = cells
    figure = plot.umap_panels(z, obs, ["kind"] * 4, layout=z[:, :2])
    rows = [axes.get_subplotspec().rowspan.start for axes in figure.axes]
    assert rows == [0, 0, 0, 1]


def test_svg_is_whole_and_the_same_again(cells):
    import xml.etree.ElementTree as ET

    first, again = (plot.to_svg(plot.weight_panels(np.ones(70), cells[0][:, :2])) for _ in range(2))
    assert first == again
    root = ET.fromstring(first)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.findall(".//{http://www.w3.org/2000/svg}image")  # the cells, as pixels


def test_unknown_columns_and_other_lengths_are_refused(cells):
    z, obs = cells
    with pytest.raises(InputError, match=r"missing \['nope'\]. obs has: \['kind', 'many', 'x'\]"):
        plot.umap_panels(z, obs, ["nope"])
    with pytest.raises(InputError, match="expected 70, found 69"):
        plot.umap_panels(z, obs[1:], ["kind"])


def test_loss_curves_draw_each_term_over_the_epochs():
    history = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "loss": [3.0, 2, 1],
            "kl_prior": [0.0, 1, 2],
            "phase": list("aab"),
            "seconds": 1.0,
        }
    )
    axes = plot.loss_curves(history).axes
    assert [a.get_title(loc="left") for a in axes] == ["loss", "kl prior"]
    np.testing.assert_array_equal(axes[0].lines[0].get_xydata(), [[1, 3], [2, 2], [3, 1]])
    with pytest.raises(InputError, match="a column per loss term"):
        plot.loss_curves(history[["epoch"]])


def test_save_writes_a_png_or_nothing(tmp_path: Path, monkeypatch):
    figure = plot.loss_curves(pd.DataFrame({"epoch": [1], "loss": [1.0]}))
    plot.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

    def full(path, **_):
        Path(path).write_text("half")
        raise OSError("No space left on device")

    monkeypatch.setattr(figure, "savefig", full)
    with pytest.raises(OSError, match="No space"):
        plot.save(figure, tmp_path / "b.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
