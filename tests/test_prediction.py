"""The score without labels, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sailerx
from sailerx.evaluate.prediction import gain_of_neighbors
from sailerx.joint.prediction import SHRINKAGE
from sailerx.metrics import predictive_gain, split_counts

RNG = np.random.default_rng(0)
COUNTS = sp.csr_matrix(RNG.poisson(0.6, (40, 25)).astype(np.float32))
Z = RNG.normal(size=(40, 3))


def plain(z: np.ndarray, train: np.ndarray, held: np.ndarray, k: int) -> float:
    p = train.sum(axis=0) / train.sum()
    sums, molecules = dict.fromkeys(SHRINKAGE, 0.0), 0.0
    for i in range(len(z)):
        distance = np.linalg.norm(z - z[i], axis=1)
        distance[i] = np.inf
        around = train[np.argsort(distance)[:k]].sum(axis=0)
        for j in np.flatnonzero(held[i]):
            if p[j] == 0:
                continue
            molecules += held[i, j]
            for s in SHRINKAGE:
                p_ij = (around[j] / max(around.sum(), 1) + s * p[j]) / (1 + s)
                sums[s] += held[i, j] * np.log(p_ij / p[j])
    return max(sums.values()) / molecules


def test_halves_add_up_and_are_fair() -> None:
    many = sp.csr_matrix(np.full((50, 40), 7.0))
    train, held = split_counts(many, seed=1)
    np.testing.assert_array_equal((train + held).toarray(), many.toarray())
    assert train.sum() / many.sum() == pytest.approx(0.5, abs=0.02)
    assert (split_counts(many, seed=1)[0] != train).nnz == 0
    assert (split_counts(many, seed=2)[0] != train).nnz > 0


@pytest.mark.parametrize("k", [1, 5, 39])
def test_gain_is_that_of_a_plain_loop(k: int) -> None:
    train, held = split_counts(COUNTS)
    found = predictive_gain(Z, train, held, n_neighbors=k)
    assert found == pytest.approx(
        plain(Z, train.toarray().astype(float), held.toarray().astype(float), k), rel=1e-6
    )


def test_listed_neighbours_may_be_fewer_for_some_cells() -> None:
    train, held = split_counts(COUNTS)
    near = np.array([[(i + 1) % 40, (i + 2) % 40] for i in range(40)])
    near[::2, 1] = -1
    first = np.where(near < 0, near[:, :1], near)  # the same neighbour twice gives the same shares
    assert gain_of_neighbors(near, train, held) == pytest.approx(gain_of_neighbors(first, train, held))


def test_an_embedding_that_knows_the_types_gains_and_a_random_one_does_not() -> None:
    kind = np.repeat([0, 1], 150)
    rate = np.where(kind[:, None] == (np.arange(30) % 2)[None], 1.0, 0.1)
    train, held = split_counts(sp.csr_matrix(RNG.poisson(rate)))
    knows = kind[:, None] + 0.01 * RNG.normal(size=(300, 2))
    assert predictive_gain(knows, train, held, n_neighbors=50) > 0.3
    assert predictive_gain(RNG.normal(size=(300, 2)), train, held, n_neighbors=50) < 0.02


def test_bad_input_is_refused() -> None:
    train, held = split_counts(COUNTS)
    with pytest.raises(sailerx.InputError, match="must have the same cells, found 39, 40 and 40"):
        predictive_gain(Z[:39], train, held, n_neighbors=5)
    with pytest.raises(
        sailerx.InputError, match="`n_neighbors` must be below the number of cells, 40, got 100"
    ):
        predictive_gain(Z, train, held)
