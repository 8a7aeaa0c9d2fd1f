"""Regularised correspondence analysis of ATAC: components, bulk of noise, blindness to confounders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sailerx
from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.atac_scores import AtacScores, sample_of
from sailerx.data.lsi import lsi, tfidf
from sailerx.data.spiked import edge_of_noise


def drawn(
    n: int, p: int, seed: int = 0, halves: float = 0.0, depth: float = 100.0
) -> tuple[sp.csr_matrix, np.ndarray]:
    """0/1 counts whose cells form two halves that differ by a log fold change at every tenth peak, and the halves."""
    rng = np.random.default_rng(seed)
    half = rng.integers(0, 2, n)
    level = rng.normal(0, 1, p)
    marker = np.where(np.arange(p) % 10 == 0, halves, 0.0)
    share = np.exp(level + (half[:, None] - 0.5) * marker)
    rate = share / share.sum(axis=1, keepdims=True) * depth * np.exp(rng.normal(0, 0.5, (n, 1)))
    x = sp.csr_matrix((rng.random((n, p)) < rate).astype(np.uint8))
    keep = np.asarray(x.sum(axis=1)).ravel() > 0
    return x[keep], half[keep]


def test_components_are_those_of_the_dense_matrix() -> None:
    x, _ = drawn(120, 200)
    scores = AtacScores.learn(PeaksInMemory.of(x), 5, prior=1.0)
    dense = x.toarray().astype(float)
    d, c = dense.sum(axis=1), dense.sum(axis=0)
    deviation = (dense - np.outer(d, c) / c.sum()) / np.sqrt(d)[:, None] / np.sqrt(c + c.mean())
    _, singular, vt = np.linalg.svd(deviation, full_matrices=False)
    edge = edge_of_noise(singular[:28] ** 2, 20)
    np.testing.assert_allclose(scores.strength, singular[:5] / np.sqrt(edge), rtol=2e-3)
    expected = (dense / d[:, None]) @ (vt[:5].T / np.sqrt(c + c.mean())[:, None])
    expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
    found = scores.of(PeaksInMemory.of(x))
    for i in range(2):
        assert abs(np.corrcoef(found[:, i], expected[:, i])[0, 1]) > 0.999
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-4)


def test_scores_do_not_follow_depth_as_lsi_does() -> None:
    x, _ = drawn(600, 4000)
    log_depth = np.log(np.asarray(x.sum(axis=1)).ravel())
    ours = AtacScores.learn(PeaksInMemory.of(x), 5).of(x)
    first_of_lsi = np.linalg.svd(tfidf(x).toarray(), full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(first_of_lsi, log_depth)[0, 1]) > 0.5
    assert max(abs(np.corrcoef(of, log_depth)[0, 1]) for of in ours.T) < 0.2


def test_signal_rises_above_the_bulk_and_noise_does_not() -> None:
    noise = AtacScores.learn(PeaksInMemory.of(drawn(500, 4000)[0]), 20)
    assert noise.strength[0] < 1.02
    assert noise.n_reliable <= 1
    x, half = drawn(500, 4000, halves=2.5)
    scores = AtacScores.learn(PeaksInMemory.of(x), 20)
    assert scores.strength[0] > scores.strength[1] + 0.2
    assert scores.reliability[0] > 0.5
    assert ((scores.reliability >= 0) & (scores.reliability < 1)).all()
    assert abs(np.corrcoef(scores.of(x)[:, 0], half)[0, 1]) > 0.8


def test_what_follows_a_confounder_is_removed_and_the_rest_stays() -> None:
    x, half = drawn(800, 400, halves=2.0)
    other, batch = drawn(800, 300, seed=1, halves=2.0)
    n = min(x.shape[0], other.shape[0])
    x, half, batch = sp.csr_matrix(sp.hstack([x[:n], other[:n]])), half[:n], batch[:n]
    scores = AtacScores.learn(PeaksInMemory.of(x), 10)
    z = scores.of(x)
    blind = scores.blind_to(z, np.column_stack([batch, 1 - batch]).astype(float), np.empty((n, 0)))

    def explained(values: np.ndarray, by: np.ndarray) -> float:
        design = np.column_stack([np.ones(n), by])
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        return float(1 - left.var(axis=0).sum() / values.var(axis=0).sum())

    after = blind.of(x)
    assert explained(z, batch) > 0.05
    assert explained(after, batch) < 0.005
    assert explained(after, half) > 0.9 * explained(z, half)


def test_scores_blind_to_a_confounder_are_fewer_and_those_that_knew_nothing_of_it_are_kept() -> None:
    rng = np.random.default_rng(0)
    z, batch = rng.normal(size=(5000, 4)), rng.integers(0, 2, 5000).astype(float)
    z[:, 1] += 2 * batch
    z[:, 1] /= z[:, 1].std()
    of_scores = {
        "strength": [2.0, 1.5, 1.2, 1.0],
        "reliability": [0.9, 0.8, 0.5, 0.0],
        "noise": [1.0, 2.0, 3.0, 4.0],
    }
    scores = AtacScores(
        np.eye(4, dtype=np.float32), np.zeros(4, np.float32), *(np.array(of) for of in of_scores.values())
    )
    blind = scores.blind_to(z, batch[:, None], np.empty((5000, 0)))
    np.testing.assert_allclose(np.abs(blind.loadings), np.eye(4)[:, [0, 2, 3]], atol=0.1)
    for name, before in of_scores.items():
        np.testing.assert_allclose(getattr(blind, name), np.array(before)[[0, 2, 3]], rtol=0.05, atol=0.02)
    np.testing.assert_allclose(blind.loadings.T @ blind.loadings, np.eye(3), atol=1e-6)


def test_a_difference_between_batches_that_comes_from_their_types_stays() -> None:
    x, half = drawn(1000, 400, halves=2.0)
    batch = (np.random.default_rng(0).random(len(half)) < np.where(half, 0.8, 0.2)).astype(float)
    scores = AtacScores.learn(PeaksInMemory.of(x), 10)
    z, c = scores.of(x), batch[:, None]
    knowing = scores.blind_to(z, c, half[:, None].astype(float)).of(x)
    np.testing.assert_allclose(knowing, z, atol=1e-5)
    unknowing = scores.blind_to(z, c, np.empty((len(half), 0))).of(x)
    assert np.abs(np.corrcoef(unknowing[:, 0], half)[0, 1]) < 0.3 < np.abs(np.corrcoef(z[:, 0], half)[0, 1])


def test_scores_for_neighbors_are_weighted_by_reliability_and_shortened() -> None:
    x, _ = drawn(300, 200, halves=1.5)
    scores = AtacScores.learn(PeaksInMemory.of(x), 6)
    z = scores.of(x)
    assert 0 < scores.n_reliable < 6
    found = scores.for_neighbors(z)
    weight = [max(r, 0.1) for r in scores.reliability]
    for row, given in zip(found, z, strict=True):
        weighted = [value * w**0.5 for value, w in zip(given, weight, strict=True)]
        length = sum(value**2 for value in weighted) ** 0.5
        usual = sum(weight) ** 0.5  # of scores of unit variance
        np.testing.assert_allclose(row, [value * (usual / length) ** 0.5 for value in weighted], rtol=1e-4)


def test_samples_are_bounded_by_cells_and_by_open_peaks() -> None:
    x = PeaksInMemory.of(drawn(500, 200)[0])
    rows, some = sample_of(x, 120, 0)
    assert len(rows) == some.shape[0] == 120
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(some.toarray(), x[rows].toarray())
    few = sample_of(x, 500, 0, n_ones=0.5 * len(x.indices))[1]
    assert 0.4 < few.nnz / len(x.indices) < 0.6
    assert sample_of(x, 1000, 0)[1].shape == x.shape


@pytest.mark.parametrize("size", [(5, 4), (3, 90), (40, 3)])
def test_small_data_have_fewer_scores(size: tuple[int, int]) -> None:
    x, _ = drawn(*size, depth=3)
    scores = AtacScores.learn(PeaksInMemory.of(x), 20)
    found = scores.of(x)
    assert found.shape[0] == x.shape[0]
    assert found.shape[1] <= max(min(x.shape) - 2, 0)
    assert np.isfinite(found).all()


def test_lsi_is_converged() -> None:
    x, _ = drawn(300, 500)
    u, s, _ = np.linalg.svd(tfidf(x).toarray(), full_matrices=False)
    found = lsi(x, 20)
    np.testing.assert_allclose(np.abs(found), np.abs((u * s)[:, 1:21]), atol=1e-2 * s[1])


def test_snareseq_scores_name_more_types_than_lsi(data_file: Callable[[str], Path]) -> None:
    mdata = sailerx.read(data_file("snareseq_cortex.h5mu"))
    x = sp.csr_matrix(mdata["atac"].X)
    kinds = mdata["atac"].obs["cell_type"].astype(str).to_numpy()
    keep = (np.asarray(x.sum(axis=1)).ravel() > 0) & (kinds != "Mis")
    x, kinds = x[keep], kinds[keep]
    x.data[:] = 1
    scores = AtacScores.learn(PeaksInMemory.of(x), 10)
    ours = scores.of(x) * np.sqrt(scores.reliability)
    from sailerx.metrics import knn_accuracy

    assert knn_accuracy(ours, kinds) > knn_accuracy(lsi(x, 20), kinds, metric="cosine") + 0.03
