"""A figure for each warning: it shows the cells or peaks that the warning is about."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data import multiome, paired, with_atac
from sailerx.data import quality_warnings as checks
from sailerx.data.multiome import Multiome
from sailerx.evaluate import warning_plots
from sailerx.evaluate.figures import MARK
from sailerx.evaluate.warning_plots import warning_figure


@pytest.fixture(scope="module")
def troubled() -> tuple[Multiome, pd.DataFrame, dict[str, checks.Finding]]:
    """Data with every problem: batches of unequal depth, doublets, shallow cells, rare peaks, a reference that is depth."""
    rng, n = np.random.default_rng(0), 200
    mdata = paired(n_cells=n, n_peaks=600, n_genes=200)
    share = np.where(np.arange(n) < 100, 0.05, 0.4)
    x = rng.random((n, 600)) < (share * np.exp(rng.normal(0, 0.1, n)))[:, None]
    x[:, :200] = False
    x[:5, :3] = True
    mdata["rna"].X = rng.poisson(np.exp(rng.normal(0, 0.3, n))[:, None] * 2, (n, 200)).astype(np.float32)
    mdata["rna"].X[-4:] *= 20
    x[-4:, 200:] = True
    x[-4:, :200] = rng.random((4, 200)) < 0.9
    x[-4:, 3:200] = False
    mdata = with_atac(mdata, x.astype(np.float32))
    g = rng.normal(size=(n, 3))
    g[:, 1] = np.log(np.asarray(mdata["rna"].X).sum(axis=1)) - 6
    mdata["rna"].obsm["X_ref"] = g
    batch = pd.DataFrame({"site": np.where(np.arange(n) < 100, "north", "south")}, mdata["atac"].obs_names)
    mdata["atac"].obs["site"] = batch["site"]
    data = multiome(mdata, batch_key=["site"], rna_embedding="X_ref")
    findings = {finding.check: finding for finding in checks.quality_findings(data, batch)}
    return data, batch, findings


def test_every_check_has_a_figure_with_words(troubled) -> None:
    data, batch, findings = troubled
    assert set(findings) >= {
        "depth_follows_batch",
        "few_peaks_per_cell",
        "rarely_open_peaks",
        "reference_follows_depth",
    }
    for finding in findings.values():
        drawn = warning_figure(finding, data, batch)
        assert drawn is not None
        assert len(drawn[1]) > 30
        assert drawn[0].axes
    assert warning_figure(checks.Finding("other", "text"), data, batch) is None


def test_boxes_are_in_the_order_of_the_medians(troubled) -> None:
    data, batch, findings = troubled
    figure, _ = warning_figure(findings["depth_follows_batch"], data, batch)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["north", "south"]
    many = pd.Series(np.resize([f"b{i:02}" for i in range(20)], data.n_cells), name="plate")
    figure, _ = warning_plots._depth_by_batch(data.depth, many)
    assert len(figure.axes[0].get_yticklabels()) == 12


def test_marked_bars_hold_the_cells_that_the_warning_counts(troubled) -> None:
    data, batch, findings = troubled
    figure, _ = warning_figure(findings["few_peaks_per_cell"], data, batch)
    bars = figure.axes[0].patches
    marked = sum(bar.get_height() for bar in bars if colour_of(bar) == MARK)
    assert marked == (data.depth < checks.FEW_PEAKS).sum()
    assert sum(bar.get_height() for bar in bars) == data.n_cells


def test_marked_bars_hold_the_peaks_that_the_warning_counts(troubled) -> None:
    data, batch, findings = troubled
    figure, _ = warning_figure(findings["rarely_open_peaks"], data, batch)
    bars = figure.axes[0].patches
    marked = sum(bar.get_height() for bar in bars if colour_of(bar) == MARK)
    assert marked == (data.n_open < checks.RARE_PEAK_CELLS).sum()
    assert sum(bar.get_height() for bar in bars) == data.n_peaks


def test_marked_dots_are_the_possible_doublets() -> None:
    rng = np.random.default_rng(0)
    atac, rna = np.exp(rng.normal(7, 0.2, 300)), np.exp(rng.normal(8, 0.2, 300))
    atac[:6] *= 6
    rna[:6] *= 6
    text = checks.doublets_by_depth(atac, rna)
    assert text is not None
    assert text.startswith("6 of 300")
    figure, words = warning_plots._doublets(atac, rna)
    others, marked = figure.axes[0].collections[:2]
    np.testing.assert_allclose(np.asarray(marked.get_offsets()), np.column_stack([rna[:6], atac[:6]]))
    assert len(others.get_offsets()) == 294
    assert "6 cells" in words


def test_bars_are_the_correlations_with_log_depth(troubled) -> None:
    data, batch, findings = troubled
    figure, words = warning_figure(findings["reference_follows_depth"], data, batch)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    expected = [abs(np.corrcoef(column, np.log(data.rna_depth))[0, 1]) for column in data.g.T]
    np.testing.assert_allclose(heights, expected, rtol=1e-5)
    assert "dimension 2" in words


def colour_of(bar: object) -> str:
    from matplotlib.colors import to_hex

    return to_hex(bar.get_facecolor()).upper()  # type: ignore[attr-defined]
