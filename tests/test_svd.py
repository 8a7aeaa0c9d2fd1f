"""Leading singular vectors by block Krylov iteration, beside LAPACK's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sailerx.data import svd
from sailerx.data.svd import leading_singular


def matrix(n: int, p: int, seed: int = 0) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return sp.random(n, p, 0.1, "csr", random_state=rng), rng.normal(size=n), rng.normal(size=p)


@pytest.mark.parametrize("small", [0, 10**6])
@pytest.mark.parametrize(("n", "p", "k"), [(300, 500, 10), (500, 300, 28), (30, 90, 28), (8, 5, 3)])
def test_values_and_vectors_are_those_of_the_dense_matrix(
    n: int, p: int, k: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svd, "_SMALL", small)
    a, left, right = matrix(n, p)
    dense = a.toarray() - np.outer(left, right)
    _, expected, vt = np.linalg.svd(dense, full_matrices=False)
    singular, v = leading_singular(a, left, right, k, tolerance=1e-6)
    np.testing.assert_allclose(singular, expected[:k], rtol=1e-3)  # float32
    np.testing.assert_allclose(v.T @ v, np.eye(k), atol=5e-3)
    np.testing.assert_allclose(np.abs(v[:, 0] @ vt[0]), 1, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(dense @ v, axis=0), expected[:k], rtol=1e-3)


def test_a_flat_band_of_noise_is_resolved_to_the_tolerance() -> None:
    rng = np.random.default_rng(1)
    a = sp.csr_matrix(rng.normal(size=(400, 600)))
    expected = np.linalg.svd(a.toarray(), compute_uv=False)[:20]
    for tolerance in (1e-2, 1e-3):
        found = leading_singular(a, np.zeros(400), np.zeros(600), 20, tolerance=tolerance)[0]
        assert np.abs(found / expected - 1).max() < tolerance


def test_equal_seeds_give_equal_vectors() -> None:
    a, left, right = matrix(80, 120)
    first, second = (leading_singular(a, left, right, 5, seed=3)[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("two_threads")
def test_two_threads_find_the_values_of_the_dense_matrix() -> None:
    a, left, right = matrix(300, 500)
    expected = np.linalg.svd(a.toarray() - np.outer(left, right), compute_uv=False)
    np.testing.assert_allclose(leading_singular(a, left, right, 10)[0], expected[:10], rtol=1e-3)
