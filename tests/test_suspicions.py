"""Quality warnings: each appears with its cause planted in the data, and not without."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from mudata import MuData

import sailerx
from data import multiome, paired, with_atac
from sailerx.data import quality_warnings as suspect


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def depths(rng: np.random.Generator, n: int, around: float = 2000) -> np.ndarray:
    return np.round(np.exp(rng.normal(np.log(around), 0.3, n)))


def test_depth_that_follows_batch_warns_with_the_extreme_medians(rng) -> None:
    depth = np.concatenate([depths(rng, 100, 1000), depths(rng, 100, 4000)])
    batch = pd.Series(["north"] * 100 + ["south"] * 100, name="site")
    text = suspect.depth_follows_batch(depth, batch)
    assert text is not None
    assert "'site'" in text
    assert text.index("in 'north'") < text.index("in 'south'")
    assert suspect.depth_follows_batch(rng.permutation(depth), batch) is None


def test_share_between_batches_is_that_of_an_analysis_of_variance(rng) -> None:
    y, level = rng.normal(size=90), np.repeat(["a", "b", "c"], 30)
    y[level == "b"] += 1
    dummies = np.column_stack([level == name for name in "abc"]).astype(float)
    residual = y - dummies @ np.linalg.lstsq(dummies, y, rcond=None)[0]
    r2 = 1 - residual @ residual / ((y - y.mean()) @ (y - y.mean()))
    adjusted = 1 - (1 - r2) * 89 / 87  # adjusted R² of the regression on the levels
    assert suspect._variance_between(y, level) == pytest.approx(adjusted)


def test_many_small_batches_do_not_look_confounded_by_chance(rng) -> None:
    batch = pd.Series(np.repeat(np.arange(100), 2), name="plate")
    assert suspect.depth_follows_batch(depths(rng, 200), batch) is None
    assert suspect.depth_follows_batch(depths(rng, 5), pd.Series(list("abcde"), name="plate")) is None


def test_cells_deep_in_both_modalities_may_be_doublets(rng) -> None:
    atac, rna = depths(rng, 1000), depths(rng, 1000, 5000)
    assert suspect.doublets_by_depth(atac, rna) is None
    atac[:20] *= 6
    assert suspect.doublets_by_depth(atac, rna) is None  # in one modality alone
    rna[:20] *= 6
    text = suspect.doublets_by_depth(atac, rna)
    assert text is not None
    assert text.startswith("20 of 1,000 cells (2.0%) are far deeper")


def test_unknown_rna_depth_gives_no_warning() -> None:
    none = np.empty(0)
    assert suspect.doublets_by_depth(none, none) is None
    assert suspect.reference_follows_depth(np.empty((0, 3)), none) is None


def test_few_open_peaks_per_cell_warn_with_their_median() -> None:
    depth = np.array([50] * 30 + [500] * 70)
    text = suspect.few_peaks_per_cell(depth)
    assert text is not None
    assert text.startswith("30% of the cells have fewer than 100 open peaks (median 500)")
    assert suspect.few_peaks_per_cell(np.array([50] * 20 + [500] * 80)) is None


def test_peaks_that_are_hardly_ever_open_are_counted() -> None:
    text = suspect.rarely_open_peaks(np.array([0, 4, 4, 5, 100]))
    assert text is not None
    assert text.startswith("3 of 5 peaks (60%) are open in fewer than 5 cells, 1 of them in none")
    assert suspect.rarely_open_peaks(np.array([5, 5, 5, 5, 100])) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_reference_that_follows_depth_is_found_whatever_its_sign(rng, sign: int) -> None:
    depth, g = depths(rng, 200), rng.normal(size=(200, 4))
    assert suspect.reference_follows_depth(g, depth) is None
    g[:, 2] = sign * np.log(depth)
    text = suspect.reference_follows_depth(g, depth)
    assert text is not None
    assert text.startswith("1 of 4 dimensions of the RNA reference follow RNA depth")
    assert "1.00" in text
    assert suspect.reference_follows_depth(g, np.full(200, 9.0)) is None


def test_constant_reference_dimension_is_no_number_to_divide_by(rng) -> None:
    assert suspect.reference_follows_depth(np.ones((20, 2)), depths(rng, 20)) is None


def dense_enough() -> MuData:
    mdata = paired(n_cells=80, n_peaks=400)
    x = np.random.default_rng(0).random((80, 400)) < 0.5
    return with_atac(mdata, sp.csr_matrix(x.astype(np.float32)))


def test_data_without_planted_causes_give_no_warning() -> None:
    mdata = dense_enough()
    batch = mdata["atac"].obs[["batch"]]
    assert suspect.quality_warnings(multiome(mdata, batch_key=["batch"]), batch) == []
    assert "warning" not in sailerx.check(mdata, batch_key="batch")


def test_check_adds_its_warnings_as_lines_and_fit_is_silent() -> None:
    mdata = dense_enough()
    x = mdata["atac"].X.toarray()
    x[:40, 100:] = 0
    mdata = with_atac(mdata, x)
    mdata["atac"].obs["run"] = pd.Categorical(np.repeat(["one", "two"], 40))
    lines = sailerx.check(mdata, batch_key="run").splitlines()
    told = [line for line in lines if line.startswith("warning: ")]
    assert [line.split(":")[1].split()[0] for line in told] == ["ATAC", "50%"]
    assert lines[-2:] == told
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sailerx.fit(mdata, batch_key="run", max_epochs=1, progress="none")
