"""The report of several sets of cells: with and without RNA, trained on and new, and labels carried between them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest

import sailerx
from data import TINY, files_below, paired, together, with_part, write
from sailerx import InputError, metrics
from sailerx.cli import main
from sailerx.evaluate import cell_sets, figures, umap_plots
from sailerx.evaluate.label_calls import calibration, label_calls
from test_report import Html


@pytest.fixture(scope="module")
def cells() -> mudata.MuData:
    """Of 200 cells, the first 100 have RNA and ATAC, the next 60 ATAC alone; the last 40 are new."""
    return paired(n_cells=200, n_peaks=300, n_genes=200, seed=3)


@pytest.fixture(scope="module")
def hybrid(cells: mudata.MuData) -> mudata.MuData:
    return together(rna=cells["rna"][:100].copy(), atac=cells["atac"][:160].copy())


@pytest.fixture(scope="module")
def new(cells: mudata.MuData) -> ad.AnnData:
    return cells["atac"][160:].copy()


@pytest.fixture(scope="module")
def model(hybrid: mudata.MuData) -> sailerx.Model:
    with pytest.warns(UserWarning, match="60 of 160"):
        return sailerx.fit(hybrid, seed=0, progress="none", **TINY)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(umap_plots, "umap_layout", lambda z, **_: np.asarray(z)[:, :2])
    monkeypatch.setattr(figures, "to_svg", lambda figure: "<svg/>")


def page(model: sailerx.Model, data: object, folder: Path, **options: object) -> Html:
    model.report(data, folder / "page.html", **options)  # type: ignore[arg-type]
    return Html(folder / "page.html")


@pytest.mark.filterwarnings("ignore")  # those of jax
def test_page_of_a_hybrid_run_shows_both_sets_and_their_mixing(
    model: sailerx.Model, hybrid: mudata.MuData, tmp_path: Path, quick: None
) -> None:
    found = page(model, hybrid, tmp_path, labels="cell_type", transfer=True)
    assert "100 cells (RNA + ATAC)" in found.text
    assert "60 cells (ATAC alone)" in found.text
    z, has_rna = model.embed(hybrid), np.arange(160) < 100
    expected = metrics.ilisi(z, has_rna), metrics.clisi(z, hybrid["atac"].obs["cell_type"])
    shown = [float(value) for value in found.row("SAILERX", "mixing in")]
    assert (shown[0], shown[2]) == pytest.approx(expected, abs=6e-4)
    assert "carried to 60 cells" in found.text
    own = hybrid["atac"].obs["cell_type"][100:]
    assert sum(int(row[1]) for row in found.rows if " to " in row[0]) == len(own)


def test_new_cells_are_shown_beside_those_trained_on(
    model: sailerx.Model, hybrid: mudata.MuData, new: ad.AnnData, tmp_path: Path, quick: None
) -> None:
    found = page(model, hybrid, tmp_path, new=new)
    for text in (
        "100 cells (trained, RNA + ATAC)",
        "60 cells (trained, ATAC alone)",
        "40 cells (new, ATAC alone)",
    ):
        assert text in found.text
    assert sum("200 cells of all sets" in str(image["alt"]) for image in found.all("img")) == 1


def test_command_line_takes_new_cells_links_and_transfers_labels(
    model: sailerx.Model,
    hybrid: mudata.MuData,
    new: ad.AnnData,
    tmp_path: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.save(tmp_path / "run")
    write(hybrid, tmp_path / "in.h5mu")
    new.write_h5ad(tmp_path / "new.h5ad")
    table().to_csv(tmp_path / "links.csv", index=False)
    monkeypatch.chdir(tmp_path)
    named = ["--labels=cell_type", "--transfer", "--new=new.h5ad", "--links=links.csv"]
    assert main(["report", "run", "in.h5mu", "-o", "page.html", *named]) == 0
    found = Html(tmp_path / "page.html")
    assert "carried to 40 cells" in found.text
    assert "Of 4 pairs of a gene and a peak near its start, 2 are linked (50%): 1 of 2 genes" in found.text


def test_peaks_that_new_cells_lack_are_told_in_the_section(
    model: sailerx.Model, hybrid: mudata.MuData, new: ad.AnnData, tmp_path: Path, quick: None
) -> None:
    found = page(model, hybrid, tmp_path, new=new[:, :200].copy())
    assert "100 of the model's 300 peaks are not in the data" in found.text


def test_all_cells_without_rna_make_a_page_without_a_reference(
    model: sailerx.Model, hybrid: mudata.MuData, tmp_path: Path, quick: None
) -> None:
    atac = sailerx.fit(hybrid["atac"], seed=0, progress="none", **TINY)
    for of, text in ((atac, "embedded from ATAC alone"), (model, "but these data give none, ATAC alone")):
        found = page(of, hybrid["atac"], tmp_path, labels="cell_type")
        assert text in found.text
        assert [row[0] for row in found.rows if row[0] in ("SAILERX", "RNA reference", "ATAC LSI")] == [
            "SAILERX",
            "ATAC LSI",
        ]
        assert "Neighbours in RNA" not in found.text


def test_missing_scib_is_said_instead_of_the_scores(
    model: sailerx.Model, hybrid: mudata.MuData, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scib_metrics", None)
    found = page(model, hybrid, tmp_path)
    assert "pip install 'sailerx[scib]'" in found.text
    assert "mixing in" not in found.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transfer": True}, "Name it by `labels`"),
        ({"transfer": True, "labels": "cell_type"}, "all of these cells have RNA. Name new cells by `new`"),
    ],
)
def test_labels_without_a_source_or_a_target_are_refused(
    model: sailerx.Model,
    hybrid: mudata.MuData,
    tmp_path: Path,
    quick: None,
    options: dict[str, object],
    message: str,
) -> None:
    both = with_part(hybrid, atac=hybrid["atac"][:100].copy())
    with pytest.raises(InputError, match=re.escape(message)):
        model.report(both, tmp_path / "page.html", **options)  # type: ignore[arg-type]
    assert files_below(tmp_path) == set()


# What is computed


def test_calls_are_those_of_transfer_labels_with_the_cells_own(
    model: sailerx.Model, hybrid: mudata.MuData, new: ad.AnnData
) -> None:
    found = label_calls(model, hybrid, new, "cell_type")
    expected = model.transfer_labels(hybrid, new, "cell_type")
    pd.testing.assert_frame_equal(found[list(expected)], expected)
    assert list(found["own"]) == list(new.obs["cell_type"])
    bare = ad.AnnData(new.X, pd.DataFrame(index=new.obs_names), new.var)
    assert label_calls(model, hybrid, bare, "cell_type")["own"].isna().all()


def test_labels_that_are_numbers_are_compared_as_text(
    model: sailerx.Model, hybrid: mudata.MuData, new: ad.AnnData
) -> None:
    codes = {name: float(i) for i, name in enumerate(sorted(set(new.obs["cell_type"])))}
    known, unseen = hybrid["atac"].copy(), new.copy()
    for atac in (known, unseen):
        atac.obs["code"] = atac.obs["cell_type"].astype(str).map(codes)
    unseen.obs.loc[unseen.obs_names[0], "code"] = np.nan
    found = label_calls(model, with_part(hybrid, atac=known), unseen, "code")
    assert list(found["own"][:2]) == [None, str(int(codes[new.obs["cell_type"].iloc[1]]))]
    by_name = label_calls(model, hybrid, new, "cell_type")[1:]
    assert (found["best_label"].astype(str) == found["own"])[1:].mean() == (
        by_name["best_label"].astype(str) == by_name["own"]
    ).mean()


def test_labels_come_from_the_cells_with_rna_alone(model: sailerx.Model, hybrid: mudata.MuData) -> None:
    atac = hybrid["atac"]
    found = label_calls(model, hybrid, None, "cell_type")
    assert list(found["position"]) == list(range(100, 160))
    known = with_part(hybrid, atac=atac[:100].copy())
    expected = model.transfer_labels(known, atac[100:].copy(), "cell_type")
    pd.testing.assert_frame_equal(found[list(expected)], expected)


def test_calibration_counts_right_labels_by_confidence() -> None:
    calls = pd.DataFrame(
        {
            "best_label": ["a", "a", "b", "b", "b"],
            "confidence": [0.2, 0.9, 0.9, 1.0, 1.0],
            "own": ["a", "a", "a", "b", None],
        }
    )
    found = calibration(calls)
    assert list(found.index) == ["0 to 0.5", "0.8 to 0.95", "0.95 to 1"]
    assert list(found["cells"]) == [1, 2, 1]
    assert list(found["right labels"]) == [1, 0.5, 1]
    assert len(calibration(calls.assign(own=None))) == 0


def test_shuffling_keeps_the_sets_of_each_label() -> None:
    label = np.array(["a"] * 50 + ["b"] * 50 + [None] * 50, dtype=object)
    values = np.array(["x"] * 60 + ["y"] * 90, dtype=object)
    found = cell_sets.shuffled_within(values, label, seed=0)
    for start in (0, 50, 100):
        own = slice(start, start + 50)
        assert sorted(found[own]) == sorted(values[own])
    assert list(found[50:100]) != list(values[50:100])
    assert list(values[:60]) == ["x"] * 60


# Links


def table() -> pd.DataFrame:
    """Two genes with two peaks each; one gene has links, upwards and downwards."""
    rows = {
        "gene": ["g1", "g1", "g2", "g2"],
        "peak": list("pqrs"),
        "chrom": "chr1",
        "start": [100, 900, 400, 600],
    }
    found = pd.DataFrame(rows).assign(end=lambda t: t["start"] + 50, tss=500)
    return found.assign(
        distance=found["start"] - 475,
        correlation=[0.8, -0.6, 0.1, 0.2],
        z=[5.0, -4.0, 0.3, 0.5],
        fdr=[0.001, 0.01, 0.9, 0.8],
        linked=[True, True, False, False],
    )


def test_arcs_end_at_the_gene_and_the_peak_and_are_as_high_as_the_correlation() -> None:
    (axes,) = sailerx.plot.link_arcs(table(), ["g1"]).axes
    arcs = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) > 1]
    for arc, centre, r in zip(arcs, (125, 925), (0.8, -0.6), strict=True):
        x, y = np.asarray(arc).T
        assert sorted([x[0] * 1e6, x[-1] * 1e6]) == pytest.approx(sorted([500, centre]))
        assert y[np.argmax(np.abs(y))] == pytest.approx(r, rel=0.01)


def test_share_of_links_by_distance_is_a_percentage_of_the_pairs() -> None:
    left, right = sailerx.plot.link_panels(table()).axes
    heights = np.array([bar.get_height() for bar in left.patches])
    assert sorted(heights[np.isfinite(heights)]) == [0, 0, 100, 100]
    assert [bar.get_height() for bar in right.patches] == [1]  # one gene has links


def test_what_is_no_table_of_links_is_refused() -> None:
    for bad, message in (
        (table().drop(columns="tss"), "lacks the column 'tss'"),
        (table()[:0], "at least one pair"),
    ):
        with pytest.raises(InputError, match=message):
            sailerx.plot.link_panels(bad)
    with pytest.raises(InputError, match="missing \\['g3'\\]"):
        sailerx.plot.link_arcs(table(), ["g3"])
