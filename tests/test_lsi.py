"""TF-IDF, LSI and the weights that start the encoder."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from sailerx import InputError
from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.lsi import lsi, lsi_weights, tfidf


@pytest.fixture
def counts() -> sp.csr_matrix:
    return sp.csr_matrix(np.random.default_rng(0).poisson(0.5, (80, 50)).astype(np.float32))


def test_tfidf_is_the_formula_entry_by_entry(counts):
    x = counts.toarray()
    per_cell, per_peak = x.sum(axis=1), x.sum(axis=0)
    found = tfidf(counts).toarray()
    for i, j in np.ndindex(x.shape):
        assert found[i, j] == pytest.approx(
            np.log1p(x[i, j] / per_cell[i] * 1e4) * np.log1p(80 / per_peak[j]), rel=1e-5
        )


def test_tfidf_leaves_its_input_alone_and_takes_empty_rows_and_columns(counts):
    x = counts.toarray()
    x[3], x[:, 4] = 0, 0
    holey = sp.csr_matrix(x)
    assert np.isfinite(tfidf(holey).data).all()
    np.testing.assert_array_equal(holey.toarray(), x)


def test_lsi_is_the_svd_without_its_first_component(counts):
    u, s, _ = np.linalg.svd(tfidf(counts).toarray(), full_matrices=False)
    exact = u[:, 1:4] * s[1:4]
    found = lsi(counts, 3)
    alike = (
        np.abs((found * exact).sum(axis=0)) / np.linalg.norm(found, axis=0) / np.linalg.norm(exact, axis=0)
    )
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), s[1:4], rtol=0.05)
    assert (alike > 0.95).all()


def test_lsi_gives_fewer_components_where_there_are_few_cells(counts):
    assert lsi(counts[:6]).shape == (6, 4)
    with pytest.raises(InputError, match="at least 3 cells and 3 peaks, found 2 and 50"):
        lsi(counts[:2])


def test_weights_of_a_peak_are_the_lsi_of_a_cell_with_only_that_peak_open(counts):
    """Such a cell has TF-IDF log(1 + 10⁴) × IDF at its peak; its component is that times the right singular vector."""
    x = sp.csr_matrix((counts > 0).astype(np.float32))
    _, _, directions = np.linalg.svd(tfidf(x).toarray(), full_matrices=False)
    idf = np.log1p(80 / np.asarray(x.sum(axis=0)).ravel())
    exact, found = idf[:, None] * directions[1:4].T, lsi_weights(PeaksInMemory.of(x), 3)
    alike = (
        np.abs((found * exact).sum(axis=0)) / np.linalg.norm(found, axis=0) / np.linalg.norm(exact, axis=0)
    )
    assert found.shape == (50, 3)
    assert (alike > 0.95).all()


def test_weights_are_computed_from_a_random_subset_of_many_cells(counts, monkeypatch):
    x = sp.csr_matrix((counts > 0).astype(np.float32))
    monkeypatch.setattr("sailerx.data.lsi._MAX_CELLS", 40)
    first, second, other = (lsi_weights(PeaksInMemory.of(x), 3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(np.abs(first), np.abs(other), rtol=0.1)


def test_weights_are_fewer_where_there_are_few_cells(counts):
    x = sp.csr_matrix((counts > 0).astype(np.float32))
    assert lsi_weights(PeaksInMemory.of(x[:6]), 20).shape == (50, 4)
    assert lsi_weights(PeaksInMemory.of(x[:2]), 20).shape == (50, 0)
