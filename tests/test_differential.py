"""Differential accessibility: counts against brute force, error rates against simulated truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from mudata import MuData
from scipy.stats import binom

import sailerx
from data import TINY, paired, write
from sailerx import InputError
from sailerx.cli import main
from sailerx.results import differential
from sailerx.simulation.in_memory import expected_share

SMALL: dict[str, Any] = {"n_latent": 10, "n_hidden": 16, "n_chrom": 8, "minibatch_size": 200}
PAIRS = [("A1", "B1"), ("A1", "A2"), ("A2", "B2"), ("B1", None)]


@pytest.fixture(scope="module")
def mdata() -> MuData:
    return sailerx.simulate(1500, 300, 3000, 6, seed=1, n_chroms=4, atac_depth=200.0)


@pytest.fixture(scope="module")
def model(mdata: MuData) -> sailerx.Model:
    return sailerx.fit(mdata, batch_key="batch", max_epochs=50, progress="none", **SMALL)


def true_change(mdata: MuData, group1: str, group2: str | None) -> pd.Series:
    """log2 ratio of the groups' mean shares, as they were simulated."""
    a, kind = mdata["atac"], mdata["atac"].obs["cell_type"].to_numpy()
    share, first = expected_share(a), kind == group1
    second = ~first if group2 is None else kind == group2
    return pd.Series(np.log2(share[first].mean(axis=0) / share[second].mean(axis=0)), a.var_names)


# Error rates on simulated truth


def test_false_calls_are_as_many_as_expected(mdata: MuData, model: sailerx.Model) -> None:
    n_called = n_false = 0
    for pair in PAIRS:
        table = model.differential_accessibility(mdata, "cell_type", *pair)
        called = table.index[table["differential"]]
        n_called += len(called)
        n_false += int((true_change(mdata, *pair)[called].abs() <= 0.25).sum())
    assert n_called > 200
    assert n_false / n_called < 0.08


def test_probabilities_are_calibrated(mdata: MuData, model: sailerx.Model) -> None:
    tables = [model.differential_accessibility(mdata, "cell_type", *pair) for pair in PAIRS]
    probability = np.concatenate([table["probability"] for table in tables])
    differs = np.concatenate(
        [
            true_change(mdata, *pair)[table.index].abs() > 0.25
            for pair, table in zip(PAIRS, tables, strict=True)
        ]
    )
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1.01)):
        here = (probability >= low) & (probability < high)
        assert here.sum() > 100
        assert abs(differs[here].mean() - probability[here].mean()) < 0.12


def test_a_higher_bar_for_change_is_kept_too(mdata: MuData, model: sailerx.Model) -> None:
    for pair in PAIRS[:2]:
        table = model.differential_accessibility(mdata, "cell_type", *pair, min_change=1.0)
        called = table.index[table["differential"]]
        assert len(called) > 10
        assert (true_change(mdata, *pair)[called].abs() <= 1.0).mean() < 0.15


def test_called_peaks_go_the_true_way(mdata: MuData, model: sailerx.Model) -> None:
    table = model.differential_accessibility(mdata, "cell_type", "A1", "A2")
    truth = true_change(mdata, "A1", "A2")[table.index]
    called = table["differential"]
    for estimate in ("log2_fold_change", "log2_observed"):
        assert (np.sign(table[estimate]) == np.sign(truth))[called].mean() > 0.9
        assert np.corrcoef(table[estimate], truth)[0, 1] > 0.3


@pytest.mark.parametrize("split", ["coin", "depth", "batch"])
def test_groups_that_differ_by_chance_depth_or_batch_alone_have_no_calls(
    mdata: MuData, model: sailerx.Model, split: str
) -> None:
    a = mdata["atac"].copy()
    one = (a.obs["cell_type"] == "A1").to_numpy()
    depth, rng = np.diff(a.X.indptr), np.random.default_rng(0)
    in_batch1 = (a.obs["batch"] == "batch1").to_numpy()
    first = {
        "coin": rng.random(a.n_obs) < 0.3,
        "depth": depth > np.median(depth[one]),
        "batch": rng.random(a.n_obs) < np.where(in_batch1, 0.9, 0.1),
    }[split]
    a.obs["half"] = pd.Series(np.where(first, "x", "y"), a.obs_names).where(one)
    table = model.differential_accessibility(a, "half", "x", "y")
    assert table["differential"].sum() <= 1


@pytest.mark.full  # why there are strata
def test_without_strata_a_batch_effect_would_be_called(mdata: MuData) -> None:
    strong = sailerx.simulate(1500, 300, 3000, 2, seed=1, n_chroms=4, atac_depth=400.0, atac_batch=0.8)
    a = strong["atac"]
    in_batch1 = (a.obs["batch"] == "batch1").to_numpy()
    first = np.random.default_rng(0).random(a.n_obs) < np.where(in_batch1, 0.9, 0.1)
    one = (a.obs["cell_type"] == "A1").to_numpy()
    a.obs["half"] = pd.Series(np.where(first, "x", "y"), a.obs_names).where(one)
    calls = {}
    for key in (None, "batch"):
        model = sailerx.fit(strong, batch_key=key, max_epochs=1, progress="none", **SMALL)
        calls[key] = model.differential_accessibility(a, "half", "x", "y")["differential"].sum()
    assert calls[None] > 50
    assert calls["batch"] <= 1


# The parts, by other routes


def test_counts_match_a_loop_over_groups_and_batches(mdata: MuData, model: sailerx.Model) -> None:
    a = mdata["atac"]
    table = model.differential_accessibility(mdata, "cell_type", "A1", "B1").loc[a.var_names]
    for column, group in (("open_1", "A1"), ("open_2", "B1")):
        of_group = (a.obs["cell_type"] == group).to_numpy()
        np.testing.assert_array_equal(table[column], (a.X[of_group] > 0).sum(axis=0).A1)


def test_effect_sizes_are_those_of_imputed_group_means(mdata: MuData, model: sailerx.Model) -> None:
    table = model.differential_accessibility(mdata, "cell_type", "A1", "B1", batch="batch2", depth=100.0).loc[
        model.peaks.index
    ]
    means = model.impute(mdata, group_by="cell_type", batch="batch2", depth=100.0).to_df()
    np.testing.assert_allclose(table["accessibility_1"], means.loc["A1"], rtol=1e-4)
    np.testing.assert_allclose(table["difference"], means.loc["A1"] - means.loc["B1"], rtol=1e-2, atol=1e-6)
    expected = np.log2(means.loc["A1"] / means.loc["B1"])
    np.testing.assert_allclose(table["log2_fold_change"], expected, rtol=1e-2, atol=1e-4)


def test_posterior_matches_a_sum_over_the_prior() -> None:
    first, both = np.array([0.0, 3, 9, 5]), np.array([[1.0, 0], [4, 1], [10, 2], [10, 0]])
    share = np.array([[0.3, 0.6]] * 4)
    counts = differential.Counts(first, both.sum(axis=1) - first, first, both, share)
    change, probability = differential.posterior_change(counts, 0.2)
    evidence = np.zeros((4, len(differential._SCALES)))
    large, weighted = evidence.copy(), evidence.copy()
    for b in differential._GRID:
        tilted = share * np.exp(b) / (1 - share + share * np.exp(b))
        for j in range(4):
            ways = [
                binom.pmf(k, both[j, 0], tilted[j, 0]) * binom.pmf(first[j] - k, both[j, 1], tilted[j, 1])
                for k in range(int(first[j]) + 1)
            ]
            for m, scale in enumerate(differential._SCALES):
                p = sum(ways) * differential._on_grid(scale)[np.isclose(differential._GRID, b)][0]
                evidence[j, m] += p
                large[j, m] += p * (abs(b) > 0.2)
                weighted[j, m] += p * b
    # the likelihood's factor that does not hang on the change cancels, peak by peak
    weights = differential.mixture_weights(evidence / evidence.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probability, large @ weights / (evidence @ weights), rtol=1e-3)
    np.testing.assert_allclose(change, weighted @ weights / (evidence @ weights), rtol=1e-3, atol=1e-6)


def test_share_by_depth_goes_from_depths_to_cells_as_peaks_saturate() -> None:
    depth_1, depth_2 = np.full(100, 300.0), np.full(300, 100.0)
    share = differential.share_by_depth(depth_1, depth_2, np.array([0.0, 1.0, 399.9]))
    np.testing.assert_allclose(share, [0.5, 0.5, 0.25], atol=2e-3)
    rng = np.random.default_rng(0)
    rate = 0.01
    opened = [(rng.random((2000, len(d))) < -np.expm1(-rate * d)).sum(axis=1) for d in (depth_1, depth_2)]
    n = np.array([float(sum(map(np.mean, opened)))])
    assert differential.share_by_depth(depth_1, depth_2, n)[0] == pytest.approx(
        opened[0].mean() / n[0], abs=2e-3
    )


def test_mixture_finds_the_share_of_peaks_that_differ() -> None:
    rng = np.random.default_rng(0)
    true = np.where(rng.random(20_000) < 0.3, rng.normal(0, 1.2, 20_000), 0.0)
    n = np.full(20_000, 60.0)
    first = rng.binomial(60, 1 / (1 + np.exp(-true))).astype(float)
    counts = differential.Counts(first, n - first, first, n[:, None], np.full((20_000, 1), 0.5))
    _, probability = differential.posterior_change(counts, 0.2)
    assert probability.mean() == pytest.approx((np.abs(true) > 0.2).mean(), abs=0.04)


def test_expected_fdr_is_the_mean_chance_of_a_false_call_so_far() -> None:
    found = differential.expected_fdr(np.array([1.0, 0.9, 0.5]))
    np.testing.assert_allclose(found, [0, 0.05, 0.2])


def test_table_is_sorted_and_says_what_is_called(mdata: MuData, model: sailerx.Model) -> None:
    table = model.differential_accessibility(mdata, "cell_type", "A1", "B1", fdr=0.2)
    assert sorted(table.index) == sorted(model.peaks.index)
    assert table["probability"].is_monotonic_decreasing
    assert (table["differential"] == (table["fdr"] <= 0.2)).all()
    pd.testing.assert_frame_equal(
        table[["chrom", "start", "end"]], model.peaks.loc[table.index], check_names=False
    )


# What is refused, and the command line


@pytest.fixture(scope="module")
def tiny() -> sailerx.Model:
    return sailerx.fit(paired(), batch_key="batch", progress="none", **TINY)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"group_by": "donor"}, "no obs column 'donor'"),
        ({"group1": "Z"}, "column 'cell_type' has no cell of group 'Z'. It has: A1, A2, B1"),
        ({"group2": "Z"}, "no cell of group 'Z'"),
        ({"group2": "A1"}, "each group needs at least 2 cells, but 'A1' has 0"),
        ({"min_change": -1.0}, "`min_change` must be a log2 fold change of at least 0"),
        ({"fdr": 0}, "`fdr` must be between 0 and 1, got 0"),
        ({"batch": "x"}, "'x' is none of them"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tiny: sailerx.Model, arguments: dict[str, Any], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        tiny.differential_accessibility(paired(), **({"group_by": "cell_type", "group1": "A1"} | arguments))


def test_groups_in_different_batches_are_refused_and_lone_cells_told_of(tiny: sailerx.Model) -> None:
    a = paired()["atac"].copy()
    with pytest.raises(InputError, match=r"share no batch \(batch\)"):
        tiny.differential_accessibility(a, "batch", "batch1", "batch2")
    side = np.where(a.obs["batch"] == "batch1", "x", np.where(np.arange(60) % 2, "x", "y"))
    a.obs["side"] = side
    lone = int((a.obs["batch"] == "batch1").sum())
    with pytest.warns(UserWarning, match=f"{lone} of 60 cells are in batches with one of the two groups"):
        tiny.differential_accessibility(a, "side", "x", "y")
    del a.obs["batch"]
    with pytest.raises(InputError, match="no obs column 'batch'"):
        tiny.differential_accessibility(a, "side", "x", "y")


def test_the_result_does_not_hang_on_order_or_labels_type(tiny: sailerx.Model) -> None:
    a = paired()["atac"]
    table = tiny.differential_accessibility(a, "cell_type", "A1", "A2")
    shuffled = a[np.random.default_rng(0).permutation(60)].copy()
    shuffled.obs["cell_type"] = (
        shuffled.obs["cell_type"].astype(object).where(shuffled.obs["cell_type"] != "B1")
    )
    again = tiny.differential_accessibility(shuffled, "cell_type", "A1", "A2").loc[table.index]
    np.testing.assert_allclose(again["probability"], table["probability"], rtol=1e-6)
    np.testing.assert_allclose(again["log2_fold_change"], table["log2_fold_change"], rtol=1e-2, atol=1e-4)
    assert isinstance(a, ad.AnnData)
    assert sp.issparse(a.X)


def test_command_writes_the_table(
    tiny: sailerx.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.save(tmp_path / "run")
    file, out = write(paired(), tmp_path / "in.h5mu"), tmp_path / "out.csv"
    command = ["differential", str(tmp_path / "run"), str(file), "-o", str(out), "--group-by", "cell_type"]
    assert main([*command, "--group1", "A1", "--group2", "A2"]) == 0
    expected = tiny.differential_accessibility(paired(), "cell_type", "A1", "A2")
    found = pd.read_csv(out, index_col="peak")
    pd.testing.assert_frame_equal(found, expected, check_names=False, rtol=1e-4)
    out.unlink()
    assert main([*command, "--group1", "Z"]) == 2
    assert "no cell of group 'Z'" in capsys.readouterr().err
    assert not out.exists()
