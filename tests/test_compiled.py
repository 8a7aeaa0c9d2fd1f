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

import sailerx
from sailerx.kernels.numba_loops import add_rows, add_to_rows, first_open, logits_nll


def nll(logits: np.ndarray, open_peaks: np.ndarray, positive_weight: float = 1.0) -> tuple[float, np.ndarray]:
    """Loss and the sum of its gradient over cells; the logits become the gradient."""
    begin = np.r_[0, open_peaks.sum(axis=1).cumsum()]
    grad_bias = np.zeros(logits.shape[1], logits.dtype)
    peak = 5 + np.nonzero(open_peaks)[1]
    return logits_nll(logits, peak, begin[:-1], begin[1:], 5, positive_weight, grad_bias), grad_bias


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
    first, end = first_open(peak, begin, np.array([10, 25]))
    part = x.copy()
    part[:, :10] = part[:, 25:] = False
    rows, sums = rng.normal(size=(30, 7)), np.zeros((9, 2, 7))
    add_rows(rows, peak, first, end, sums, 1)
    np.testing.assert_allclose(sums[:, 1], part @ rows, atol=1e-14)
    assert not sums[:, 0].any()
    grad = np.zeros((30, 7))
    add_to_rows(grad, peak, first, end, sums, 1)
    np.testing.assert_allclose(grad, part.T @ sums[:, 1], atol=1e-13)


def test_loops_are_compiled_without_a_writable_cache_folder(tmp_path: Path) -> None:
    package = tmp_path / "sailerx"
    (package / "kernels").mkdir(parents=True)
    for name in ("compiled.py", "kernels/numba_loops.py"):
        shutil.copy(Path(sailerx.__file__).parent / name, package / name)
    (package / "__init__.py").touch()
    script = (
        "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
        "import numpy as np; from sailerx.kernels.numba_loops import first_open\n"
        "print(first_open(np.array([1, 4]), np.array([0, 2]), np.array([2])))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.strip() == "[[1]]", answer.stderr
    assert not list(package.rglob("*.nbi"))
