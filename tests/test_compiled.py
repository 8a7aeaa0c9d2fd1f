"""Numba loops against NumPy in double precision, and where their compiled code is cached."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

import sailerx
from sailerx.kernels.numba_loops import (
    add_rows,
    add_to_rows,
    copy_rows,
    first_from,
    keep_columns,
    logits_nll,
    thin_rows,
)
from sailerx.kernels.random_bits import random_bits


def nll(logits: np.ndarray, open_peaks: np.ndarray, positive_weight: float = 1.0) -> tuple[float, np.ndarray]:
    """Loss and the sum of its gradient over cells; the logits become the gradient."""
    grad_bias = np.zeros(logits.shape[1], logits.dtype)
    # every cell has an open peak before these and one after
    rows = np.pad(open_peaks, ((0, 0), (1, 1)), constant_values=True)
    peak, begin = 4 + np.nonzero(rows)[1], np.r_[0, rows.sum(axis=1).cumsum()]
    at = first_from(peak, begin, 5)
    loss = logits_nll(logits, peak, at, begin[1:], 5, positive_weight, grad_bias)
    np.testing.assert_array_equal(at, begin[1:] - 1)
    return loss, grad_bias


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("scale", [1, 10, 200])
def test_loss_and_gradient_are_those_of_the_bernoulli_likelihood(
    kind: type[np.floating], width: int, scale: float
) -> None:
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=(20, width))).astype(kind)
    x = rng.random((20, width)) < 0.2
    exact = logits.astype(np.float64)
    expected = np.logaddexp(0, exact).sum() - exact[x].sum()
    p = scipy.special.expit(exact)
    loss, grad_bias = nll(logits, x)
    eps = np.finfo(kind).eps
    np.testing.assert_allclose(loss, expected, rtol=4 * eps)
    np.testing.assert_allclose(logits, p - x, rtol=0, atol=4 * eps)
    np.testing.assert_allclose(grad_bias, (p - x).sum(axis=0), rtol=0, atol=100 * eps)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_reach_the_loss(value: float) -> None:
    logits = np.array([[0, value, 0]], np.float32)
    loss, _ = nll(logits, np.array([[False, False, False]]))
    with np.errstate(invalid="ignore"):
        expected = np.logaddexp(0, [0, value, 0]).sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(logits[0], scipy.special.expit([0, value, 0]), rtol=0, atol=1e-7)


def test_sums_of_rows_and_their_gradient_are_products_with_the_0_1_matrix() -> None:
    rng = np.random.default_rng(1)
    x = rng.random((9, 30)) < 0.3
    x[4] = False
    peak, begin = np.nonzero(x)[1], np.r_[0, x.sum(axis=1).cumsum()]
    first = first_from(peak, begin, 10)
    np.testing.assert_array_equal(first, begin[:-1] + x[:, :10].sum(axis=1))
    after = first + x[:, 10:25].sum(axis=1)
    part = x.copy()
    part[:, :10] = part[:, 25:] = False
    rows, sums = rng.normal(size=(30, 7)), np.zeros((9, 2, 7))
    at = first.copy()
    add_rows(rows, peak, at, begin[1:], 25, sums, 1)
    np.testing.assert_array_equal(at, after)
    np.testing.assert_allclose(sums[:, 1], part @ rows, atol=1e-14)
    assert not sums[:, 0].any()
    grad = np.zeros((30, 7))
    at = first.copy()
    add_to_rows(grad, peak, at, begin[1:], 25, sums, 1)
    np.testing.assert_array_equal(at, after)
    np.testing.assert_allclose(grad, part.T @ sums[:, 1], atol=1e-13)


def csr_of(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero(x)[1].astype(np.int32), np.r_[0, x.sum(axis=1).cumsum()]


def dense_of(peak: np.ndarray, begin: np.ndarray, n_peaks: int) -> np.ndarray:
    x = np.zeros((len(begin) - 1, n_peaks), bool)
    x[np.repeat(np.arange(len(x)), np.diff(begin)), peak[: begin[-1]]] = True
    return x


def test_columns_that_are_kept_are_those_of_the_matrix() -> None:
    x = np.random.default_rng(2).random((20, 50)) < 0.3
    x[3], x[7] = False, True
    for chosen in ([0, 4, 49], [], list(range(50))):
        new = np.full(50, -1, np.int32)
        new[chosen] = np.arange(len(chosen))
        peak, begin = csr_of(x)
        kept, n_kept = np.full_like(peak, -1), np.empty(20, np.int64)
        for cells in (slice(0, 6), slice(6, 20)):
            keep_columns(peak, begin[cells.start : cells.stop + 1], new, kept, n_kept[cells])
            first, n = begin[cells.start], n_kept[cells]
            kept_begin = np.concatenate([[0], n.cumsum()])
            np.testing.assert_array_equal(
                dense_of(kept[first:], kept_begin, len(chosen)), x[cells][:, chosen]
            )


def test_rows_are_copied_in_the_order_asked_for() -> None:
    x = np.random.default_rng(5).random((20, 50)) < 0.3
    x[3], x[7] = False, True
    peak, begin = csr_of(x)
    rows = np.array([7, 3, 19, 7, 0])
    copied_begin = np.concatenate([[0], np.diff(begin)[rows].cumsum()])
    copied = np.full(copied_begin[-1], -1, np.int32)
    copy_rows(peak, begin[rows], copied_begin, copied)
    np.testing.assert_array_equal(dense_of(copied, copied_begin, 50), x[rows])


def test_thinned_rows_keep_the_ones_whose_bits_are_low() -> None:
    rng = np.random.default_rng(3)
    x, is_thinned = rng.random((40, 300)) < 0.5, rng.random(40) < 0.4
    key = rng.integers(2**32, size=40)
    bits = random_bits(torch.from_numpy(key)[:, None], torch.arange(300)[None]).numpy()
    peak, begin = csr_of(x)
    kept, kept_begin = np.empty_like(peak), np.empty_like(begin)
    thin_rows(peak, begin, is_thinned, key, 2**30, kept, kept_begin)
    expected = x & ~(is_thinned[:, None] & (bits >= 2**30))
    np.testing.assert_array_equal(dense_of(kept, kept_begin, 300), expected)


def test_random_bits_are_uniform_and_independent_of_each_other() -> None:
    keys = torch.from_numpy(np.random.default_rng(4).integers(2**32, size=200))
    bits = random_bits(keys[:, None], torch.arange(5000)[None]).numpy()
    assert bits.min() >= 0
    assert bits.max() < 2**32
    u = bits / 2**32
    counts = np.histogram(u, 100, (0, 1))[0]
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    for a, b in ((u[:, 1:], u[:, :-1]), (u[1:], u[:-1])):  # neighbouring peaks, and cells
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / 1000
    share = (u < 0.3).mean(axis=1)
    assert share.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 5000), rel=0.2)


def test_loops_are_compiled_without_a_writable_cache_folder(tmp_path: Path) -> None:
    package = tmp_path / "sailerx"
    (package / "kernels").mkdir(parents=True)
    for name in ("compiled.py", "kernels/numba_loops.py", "kernels/random_bits.py"):
        shutil.copy(Path(sailerx.__file__).parent / name, package / name)
    (package / "__init__.py").touch()
    script = (
        "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
        "import numpy as np; from sailerx.kernels.numba_loops import first_from\n"
        "print(first_from(np.array([1, 4]), np.array([0, 2]), 2))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.strip() == "[1]", answer.stderr
    assert not list(package.rglob("*.nbi"))
