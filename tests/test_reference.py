"""PCA of RNA counts against dense computation, and shrinkage of its components."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from data import paired
from sailerx import InputError
from sailerx.data.rna_pca import highly_variable, rna_pca, shrunk
from sailerx.data.rna_reference import leading_directions


def counts(n_genes: int = 120) -> sp.csr_matrix:
    return sp.csr_matrix(paired(n_cells=80, n_genes=n_genes)["rna"].X)


def up_to_sign(x: np.ndarray) -> np.ndarray:
    return x * np.sign(x[np.abs(x).argmax(axis=0), np.arange(x.shape[1])])


def denoised(x: np.ndarray, n_components: int) -> np.ndarray:
    """Components of a centred dense matrix by a full decomposition, each shrunk by the square root of its noise."""
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    signal = shrunk(s[:n_components], x.shape, (s**2).sum())
    return u[:, :n_components] * s[:n_components] * np.sqrt(signal / s[:n_components])


def test_pca_leaves_the_counts_as_they_are() -> None:
    x = counts()
    before = x.copy()
    rna_pca(x)
    for name in ("data", "indices", "indptr"):  # which steps of it share
        np.testing.assert_array_equal(getattr(x, name), getattr(before, name))


@pytest.mark.parametrize(
    "n_at_once", [7, 80, 1000]
)  # 80 cells: parts of unequal size, one part, less than one
def test_pca_matches_a_dense_route(n_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sailerx.data.rna_pca._CELLS_AT_ONCE", n_at_once)
    x = counts().toarray().astype(float)
    depth = x.sum(axis=1, keepdims=True)
    x = np.log1p(x / depth * np.median(depth))
    x = x[:, x.std(axis=0) > 0]
    x = np.minimum(x / x.std(axis=0), 10)
    expected, ours = denoised(x, 50), rna_pca(counts())
    kept = np.abs(expected).max(axis=0) > 0
    assert 3 < kept.sum() < 50
    assert not ours[:, ~kept].any()
    np.testing.assert_allclose(up_to_sign(ours[:, kept]), up_to_sign(expected[:, kept]), rtol=1e-3, atol=1e-3)


def test_pca_equals_pca_of_the_centred_and_scaled_matrix() -> None:
    x = counts().toarray().astype(float)
    x = np.log1p(x / x.sum(axis=1, keepdims=True) * np.median(x.sum(axis=1)))
    scaled = StandardScaler().fit_transform(x)
    assert scaled.max() < 10  # nothing is clipped here
    expected = PCA(20, svd_solver="full").fit_transform(scaled)
    ours = rna_pca(counts(), denoise=False)[:, :20]
    np.testing.assert_allclose(up_to_sign(ours), up_to_sign(expected), rtol=1e-3, atol=1e-3)


def test_shrinkage_finds_the_signal_behind_noise() -> None:
    rng = np.random.default_rng(0)
    n, p, signal = 400, 300, np.array([100.0, 60.0, 45.0, 15.0])
    u, v = (np.linalg.qr(rng.normal(size=(size, 4)))[0] for size in (n, p))
    noisy = (u * signal) @ v.T + rng.normal(size=(n, p))
    us, found, vs = np.linalg.svd(noisy, full_matrices=False)
    ours = shrunk(found[:5], (n, p), float((found**2).sum()))
    assert (ours <= found[:5]).all()
    assert (
        ours[3:] < 0.25 * found[3:5]
    ).all()  # 15 is below what noise alone brings (37): next to nothing is left
    # the factor with the least squared error, known here because the signal is
    best = np.array([us[:, k] @ ((u * signal) @ v.T) @ vs[k] for k in range(3)])
    np.testing.assert_allclose(ours[:3], best, rtol=0.05)


def test_shrinkage_keeps_singular_values_without_residual_noise() -> None:
    found = np.array([3.0, 2.0, 1.0])
    np.testing.assert_array_equal(shrunk(found, (40, 3), 14.0), found)
    np.testing.assert_array_equal(shrunk(found, (40, 30), 14.0), found)
    flat = np.full(10, 1.0)  # noise alone
    np.testing.assert_array_equal(shrunk(flat, (40, 30), 30.0), flat)


def test_pca_is_invariant_to_a_cells_depth() -> None:
    x = counts()
    doubled = sp.csr_matrix(sp.diags(np.where(np.arange(80) % 2, 4.0, 1.0)) @ x)
    expected, ours = rna_pca(x), rna_pca(doubled)
    similar = [abs(np.corrcoef(expected[:, k], ours[:, k])[0, 1]) for k in range(3)]
    assert min(similar) > 0.9


def test_pca_has_fewer_components_for_few_cells_or_genes() -> None:
    assert rna_pca(counts(30)).shape == (80, 29)
    assert rna_pca(counts()[:20]).shape == (20, 19)


def test_pca_is_the_same_for_the_same_seed() -> None:
    np.testing.assert_array_equal(rna_pca(counts(), seed=3), rna_pca(counts(), seed=3))


def test_pca_of_genes_that_do_not_vary_is_refused() -> None:
    with pytest.raises(
        InputError, match="at least two cells and two genes that vary; found 5 cells and 0 such genes"
    ):
        rna_pca(sp.csr_matrix(np.ones((5, 4))))


def test_highly_variable_genes_have_high_dispersion_for_their_mean() -> None:
    rng = np.random.default_rng(0)
    x = rng.poisson(rng.uniform(0.5, 5, 400), (300, 400)).astype(np.float32)
    varying = rng.choice(400, 20, replace=False)
    x[:150, varying] *= 1.8  # the same kind of mean, far more variance
    x[150:, varying] *= 0.2
    found = highly_variable(sp.csr_matrix(np.log1p(x)), 40)
    assert set(varying) <= set(found)
    assert (np.diff(found) > 0).all()
    assert len(found) == 40


def test_all_genes_are_kept_where_there_are_few() -> None:
    assert highly_variable(counts(), 2000).tolist() == list(range(120))


def test_leading_dimensions_have_the_similarities_of_the_closest_matrix_of_that_rank() -> None:
    g = np.random.default_rng(0).normal(size=(30, 8)) @ np.random.default_rng(1).normal(size=(8, 8))
    u, s, v = np.linalg.svd(g, full_matrices=False)
    closest = (u[:, :3] * s[:3]) @ v[:3]
    directions = leading_directions(g, 3)
    assert directions is not None
    ours = g @ directions
    assert ours.shape == (30, 3)
    np.testing.assert_allclose(ours @ ours.T, closest @ closest.T, atol=1e-8)


@pytest.mark.parametrize("rank", [0, 8, 20])
def test_all_dimensions_are_kept_where_no_fewer_are_asked_for(rank: int) -> None:
    g = np.random.default_rng(0).normal(size=(30, 8))
    assert leading_directions(g, rank) is None
