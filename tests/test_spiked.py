"""How far components rise above noise: against matrices whose signal is known."""

from __future__ import annotations

import numpy as np
import pytest

from sailerx.data.spiked import edge_of_noise, spiked


def spectrum(n: int, p: int, sizes: list[float], seed: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Largest eigenvalues of A A', their total, and squared correlations of scores with the true ones.

    A is noise of variance 1/p plus components sqrt(size) u v', with u and v of unit length.
    """
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, p)) / np.sqrt(p)
    true = np.linalg.qr(rng.normal(size=(n, len(sizes))))[0]
    for u, size in zip(true.T, sizes, strict=True):
        v = rng.normal(size=p)
        a += np.sqrt(size) * np.outer(u, v / np.linalg.norm(v))
    value, vector = np.linalg.eigh(a @ a.T)
    leading = vector[:, ::-1][:, : len(sizes)]
    return value[::-1][:28], float(value.sum()), (leading * true).sum(axis=0) ** 2


@pytest.mark.parametrize(("n", "p"), [(400, 4000), (400, 800)])
def test_reliability_is_the_squared_correlation_with_the_true_scores(n: int, p: int) -> None:
    threshold = np.sqrt(n / p)
    sizes = [12 * threshold, 5 * threshold, 2.2 * threshold]
    value, total, squared = spectrum(n, p, sizes, 0)
    strength, reliability = spiked(value, total, n, 20)
    np.testing.assert_allclose(reliability[:3], squared, atol=0.08)
    assert (np.diff(strength) <= 0).all()
    assert strength[2] > 1.02


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_rise_above_its_edge(seed: int) -> None:
    n, p = 500, 5000
    value, total, _ = spectrum(n, p, [], seed)
    strength, _ = spiked(value, total, n, 20)
    assert strength[0] < 1.02
    expected = (1 + np.sqrt(n / p)) ** 2
    assert abs(edge_of_noise(value, 20) / expected - 1) < 0.02


def test_what_lies_below_the_threshold_has_no_reliability() -> None:
    n, p = 400, 4000
    value, total, squared = spectrum(n, p, [0.6 * np.sqrt(n / p)], 0)
    assert spiked(value, total, n, 20)[1][0] < 0.35
    assert squared[0] < 0.35


def test_few_components_are_taken_for_noise() -> None:
    strength, reliability = spiked(np.array([3.0, 2.0]), 6.0, 4, 1)
    np.testing.assert_array_equal(reliability, 0)
    assert strength[0] == 1
