"""ATAC coordinates: groups of cells alike in RNA, what ATAC says within them, and units of noise."""

from __future__ import annotations

from dataclasses import replace

import igraph
import numpy as np
import pytest
import scipy.sparse as sp

from sailerx.data.atac_scores import AtacScores, sampling_noise
from sailerx.data.rows import damped, unit_rows
from sailerx.joint.choice import _ALPHAS, Cells, _best, _Nats, choose
from sailerx.joint.coordinates import Coordinates, Sample
from sailerx.joint.groups import groups_of


def split_inside(n: int = 1200, p: int = 6000, seed: int = 0) -> tuple[Sample, np.ndarray, np.ndarray]:
    """Cells of six types, known to RNA and to ATAC, of which ATAC splits the first; types and halves."""
    rng = np.random.default_rng(seed)
    kind, half = rng.integers(0, 6, n), rng.integers(0, 2, n)
    level = rng.normal(0, 1, p)
    of_kind = rng.normal(0, 1, (6, p)) * (rng.random((6, p)) < 0.1)
    split = np.where(rng.random(p) < 0.05, rng.choice([-0.9, 0.9], p), 0)
    share = np.exp(level + of_kind[kind] + np.where(kind == 0, half - 0.5, 0)[:, None] * split)
    rate = share / share.sum(axis=1, keepdims=True) * 700 * np.exp(rng.normal(0, 0.3, (n, 1)))
    x = sp.csr_matrix((rng.random((n, p)) < 1 - np.exp(-rate)).astype(np.float32))
    g = unit_rows(np.eye(6)[kind] + rng.normal(0, 0.15, (n, 6)))
    return Sample(x, g, np.zeros((n, 1))), kind, half


def separation(values: np.ndarray, half: np.ndarray) -> float:
    """Distance of the means of two halves, in standard deviations within them."""
    a, b = values[half == 0], values[half == 1]
    return float(abs(a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2))


def test_groups_are_those_of_rna_and_repeatable() -> None:
    cells, kind, _ = split_inside()
    group = groups_of(cells.g, 0)
    assert len(np.unique(group)) == 6
    for i in range(6):
        assert len(np.unique(group[kind == i])) == 1
    np.testing.assert_array_equal(group, groups_of(cells.g, 0))
    assert np.bincount(group).argmax() == 0
    np.testing.assert_array_equal(groups_of(np.ones((1, 3)), 0), [0])


def test_what_splits_one_type_is_found_within_it() -> None:
    cells, kind, half = split_inside()
    whole = AtacScores.learn(cells.x, 20, 0)
    coordinates = Coordinates.learn(cells, whole, 0)
    of_first = int(groups_of(cells.g, 0)[kind == 0][0])
    assert of_first in coordinates.group_of
    found = coordinates.of(coordinates.scores_of(cells.x), cells.g)
    assert found.shape == (len(kind), coordinates.n_signal)
    start = whole.n_reliable + sum(
        len(of.strength)
        for i, of in zip(coordinates.group_of, coordinates.local, strict=True)
        if i < of_first
    )
    assert separation(found[kind == 0, start], half[kind == 0]) > 1.5
    best_of_whole = max(separation(of, half[kind == 0]) for of in found[kind == 0, : whole.n_reliable].T)
    assert best_of_whole < 0.7
    # cells of other types do not have the coordinate
    assert np.abs(found[kind == 3, start]).max() < 0.2 * np.abs(found[kind == 0, start]).mean()


def test_words_count_the_coordinates() -> None:
    of = AtacScores(
        *(np.ones((4, 3), np.float32), np.zeros(3, np.float32), np.array([1.3, 1.2, 0.9])),
        *(np.array([0.5, 0.4, 0.0]), np.ones(3)),
    )
    assert Coordinates(of).in_words() == "2 scores of all cells"
    assert (
        Coordinates(of, (of.first(1), of.first(2)), (0, 1)).in_words()
        == "2 scores of all cells and 3 of groups"
    )


def test_noise_gives_no_coordinates() -> None:
    rng = np.random.default_rng(0)
    x = sp.csr_matrix((rng.random((800, 4000)) < 0.05).astype(np.float32))
    g = unit_rows(rng.normal(size=(800, 5)))
    coordinates = Coordinates.learn(Sample(x, g, np.zeros((800, 1))), AtacScores.learn(x, 20, 0), 0)
    assert coordinates.n_signal <= 1
    assert coordinates.of(coordinates.scores_of(x), g).shape == (800, coordinates.n_signal)


def test_noise_of_a_group_s_scores_is_not_noise_of_those_of_all_cells() -> None:
    cells, _, _ = split_inside()
    whole = AtacScores.learn(cells.x, 20, 0)
    coordinates = Coordinates.learn(cells, whole, 0)
    group, rng = groups_of(cells.g, 0), np.random.default_rng(0)
    assert coordinates.local
    for i, scores in zip(coordinates.group_of, coordinates.local, strict=True):
        of_group = cells.x[group == i]
        np.testing.assert_allclose(scores.of(of_group).mean(axis=0), 0, atol=1e-3)
        share = np.asarray(of_group.mean(axis=0), np.float64).ravel()
        alike = sp.csr_matrix(rng.multinomial(100, share / share.sum(), 5000).astype(np.float32))
        own, known = scores.of(alike), whole.first(whole.n_reliable).of(alike)
        together = np.corrcoef(own.T, known.T)[: own.shape[1], own.shape[1] :]
        assert np.abs(together).max() < 0.06


def test_no_coordinate_of_a_group_repeats_another_once_blind_to_a_batch() -> None:
    cells, kind, half = split_inside(2000)
    batch = np.random.default_rng(3).random(len(kind)) < 0.5
    shifted = cells.x.tolil()
    shifted[np.flatnonzero(batch)[:, None], np.arange(150)] = 0
    c = np.column_stack([batch, ~batch]).astype(float)
    x = sp.csr_matrix(shifted, dtype=np.float32)
    x.eliminate_zeros()
    sample = Sample(x, cells.g, c)
    whole = AtacScores.learn(x, 20, 0)
    whole = whole.blind_to(whole.of(x), c, cells.g)
    coordinates = Coordinates.learn(sample, whole, 0)
    group = groups_of(cells.g, 0)
    z = coordinates.scores_of(x)
    start = len(whole.strength)
    for i, scores in zip(coordinates.group_of, coordinates.local, strict=True):
        own = z[group == i, start : start + len(scores.strength)]
        start += len(scores.strength)
        alike = np.corrcoef(own.T) if own.shape[1] > 1 else np.ones((1, 1))
        assert np.abs(alike - np.eye(len(alike))).max() < 0.3
        follows = np.corrcoef(own.T, batch[group == i])[-1, :-1]
        assert np.abs(follows).max() < 0.15
    found = coordinates.of(z, cells.g)
    of_first = [of for of in found[kind == 0].T if of.std() > 0]
    assert max(separation(of, half[kind == 0]) for of in of_first) > 1.2


def test_noise_of_scores_is_that_of_cells_drawn_from_one_distribution() -> None:
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.ones(300))
    loadings = rng.normal(size=(300, 2)).astype(np.float32)
    depth = rng.integers(30, 90, 20_000)
    counts = np.stack([rng.multinomial(n, share) for n in depth])
    drawn = (counts @ loadings) / depth[:, None]
    found = sampling_noise(loadings, sp.csr_matrix(counts.astype(np.float32)))
    np.testing.assert_allclose(found, drawn.std(axis=0), rtol=0.02)


def test_belonging_is_the_share_of_nearest_anchors() -> None:
    rng = np.random.default_rng(0)
    g, group = unit_rows(rng.normal(size=(200, 4))).astype(np.float32), rng.integers(0, 3, 200)
    empty = AtacScores(*(np.zeros(0) for _ in range(5)))
    coordinates = Coordinates(empty, (), (), g, group)
    query = unit_rows(rng.normal(size=(7, 4))).astype(np.float32)
    near = np.linalg.norm(query[:, None] - g[None], axis=2).argsort(axis=1)[:, :30]
    expected = [[(group[row] == i).mean() for i in range(3)] for row in near]
    np.testing.assert_allclose(coordinates._belongs(query), expected)


def test_rows_are_damped_by_the_square_root_of_their_length() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 3))
    found = damped(rows, 2.0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), np.sqrt(2 * np.linalg.norm(rows, axis=1)))
    np.testing.assert_allclose(found / found[:, :1], rows / rows[:, :1])
    assert np.isfinite(damped(np.zeros((2, 3)), 0.0)).all()


@pytest.mark.parametrize("n", [2, 5, 30])
def test_few_cells_are_one_group_or_few(n: int) -> None:
    g = unit_rows(np.random.default_rng(0).normal(size=(n, 4)))
    group = groups_of(g, 0)
    assert group.shape == (n,)
    assert group.min() == 0


def test_the_random_numbers_of_igraph_are_left_as_they_were() -> None:
    groups_of(unit_rows(np.random.default_rng(0).normal(size=(50, 4))), 0)
    igraph.Graph.Erdos_Renyi(10, 0.5)  # igraph draws from Python's own generator again


def test_a_choice_is_made_where_too_little_is_left_to_rise_above_noise() -> None:
    rng = np.random.default_rng(0)
    x = sp.csr_matrix((rng.random((200, 400)) < 0.1).astype(np.uint8))
    rna = sp.csr_matrix(rng.poisson(0.5, (200, 50)).astype(float))
    learned = AtacScores.learn(x, 10, 0)
    whole = replace(learned, reliability=np.full(10, 0.5), strength=np.full(10, 1.5))
    g = unit_rows(rng.normal(size=(200, 4)))
    assert choose(Cells(x, rna, g, np.zeros((200, 1))), Coordinates(whole), 0).alpha == 0


@pytest.mark.parametrize(
    ("better", "chosen"),
    [
        ({0.045: 1.0, 0.09: 0.99, 0.18: 0.99}, 0.18),  # as good as the best: the largest
        ({0.045: 1.0, 0.09: 0.99, 0.18: 0.5}, 0.09),  # the largest is clearly worse
        ({0.045: 0.5, 0.09: 1.0, 0.18: 0.5}, 0.09),
        ({0.045: -0.5, 0.09: -0.5, 0.18: -0.5}, 0.0),  # none is better than RNA alone
    ],
)
def test_of_weights_that_predict_as_well_the_largest_is_chosen(
    better: dict[float, float], chosen: float
) -> None:
    rng = np.random.default_rng(0)
    alone = rng.gamma(2, 1, 2000)
    nats = {(None, 0.0): _Nats(alone, alone, 1, 1)}
    for alpha in _ALPHAS:
        noise = rng.normal(0, 1, 2000)
        nats[False, alpha] = _Nats(alone, alone + better[alpha] + noise - noise.mean(), 1, 1)
    assert _best(nats).alpha == chosen
