"""Scores of embeddings against independent routes and planted truths."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sailerx import InputError, metrics

N = 240


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Three far groups of unequal size and their labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], [120, 80, 40])
    centre = np.eye(3, 8)[np.repeat([0, 1, 2], [120, 80, 40])] * 12
    return (centre + rng.normal(size=(N, 8))).astype(np.float32), labels


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbor_graph_has_the_weights_of_umap(blobs, metric):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap.umap_ import fuzzy_simplicial_set
    z = blobs[0]
    from sklearn.metrics import pairwise_distances

    distance = pairwise_distances(z, metric=metric)
    np.fill_diagonal(distance, 0)
    near = np.argsort(distance, axis=1, kind="stable")[:, :15]
    expected = fuzzy_simplicial_set(
        sp.coo_matrix((N, 1)),
        15,
        None,
        None,
        knn_indices=near,
        knn_dists=np.take_along_axis(distance, near, 1),
    )[0]
    assert abs(expected - metrics.neighbor_graph(z, metric=metric)).max() < 1e-3


def test_neighbor_graph_takes_identical_cells():
    graph = metrics.neighbor_graph(np.zeros((20, 3), np.float32))
    assert np.isfinite(graph.data).all()


def test_leiden_finds_planted_groups_largest_first(blobs):
    z, labels = blobs
    clusters = metrics.leiden(metrics.neighbor_graph(z), 0.1)
    assert dict(zip(clusters, labels, strict=True)) == {0: "a", 1: "b", 2: "c"}


def test_leiden_is_seeded_and_leaves_other_random_numbers_alone(blobs):
    graph = metrics.neighbor_graph(np.random.default_rng(0).normal(size=(N, 8)))
    random.seed(5)
    expected = random.random()
    random.seed(5)
    first, again = metrics.leiden(graph, 1.5, seed=3), metrics.leiden(graph, 1.5, seed=3)
    np.testing.assert_array_equal(first, again)
    assert random.random() == expected


def test_score_of_a_perfect_embedding(blobs):
    z, labels = blobs
    found = metrics.score(z, labels)
    assert found["ari"] == found["nmi"] == found["knn"] == 1
    assert found["clusters"] == 3
    assert found["silhouette"] > 0.5


def test_score_of_noise_is_near_zero(blobs):
    noise = np.random.default_rng(1).normal(size=(N, 8))
    found = metrics.score(noise, blobs[1])
    assert found["ari"] < 0.1
    assert found["nmi"] < 0.15
    assert abs(found["knn"] - 1 / 3) < 0.1


def test_score_leaves_out_dropped_and_missing_labels(blobs):
    z, labels = blobs
    labels = pd.Series(labels, dtype="category")
    labels[:10] = None
    found = metrics.score(z, labels, drop=["c"], batch=np.arange(N) % 2, depth=np.arange(1, N + 1))
    expected = metrics.score(
        z[10:200], labels[10:200], batch=np.arange(10, 200) % 2, depth=np.arange(11, 201)
    )
    assert found == expected


def test_score_table_has_a_row_per_embedding(blobs):
    z, labels = blobs
    table = metrics.score_table({"one": z, "two": z[:, :1]}, labels)
    assert list(table.index) == ["one", "two"]
    assert table.loc["one", "nmi"] == 1 > table.loc["two", "nmi"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["a"] * 3}, f"`labels` must have one value per cell: expected {N}, found 3"),
        ({"labels": ["a"] * N}, "at least two cell types, found \\['a'\\]"),
        ({"labels": ["a", "b"] * (N // 2), "depth": [1]}, "`depth` must have one value per cell"),
    ],
)
def test_score_refuses_what_does_not_fit(blobs, arguments, message):
    with pytest.raises(InputError, match=message):
        metrics.score(blobs[0], **arguments)


def test_knn_accuracy_is_what_a_plain_loop_finds(blobs):
    z, labels = blobs
    z = z + np.random.default_rng(2).normal(scale=6, size=z.shape).astype(np.float32)
    from sklearn.model_selection import StratifiedKFold

    accuracy = []
    for train, test in StratifiedKFold(3).split(z, labels):
        votes = []
        for cell in test:
            near = train[np.argsort(((z[train] - z[cell]) ** 2).sum(axis=1))[:15]]
            names, counts = np.unique(labels[near], return_counts=True)
            votes.append(names[counts.argmax()])
        hit = np.array(votes) == labels[test]
        accuracy.append(np.mean([hit[labels[test] == name].mean() for name in "abc"]))
    assert metrics.knn_accuracy(z, labels) == pytest.approx(np.mean(accuracy), abs=1e-9)


def test_knn_accuracy_leaves_out_types_too_rare_for_the_folds(blobs):
    z, labels = blobs
    labels = labels.copy()
    labels[:2] = "rare"
    assert metrics.knn_accuracy(z, labels) == metrics.knn_accuracy(z[2:], labels[2:])


def test_depth_leakage_counts_only_what_is_known_within_a_type(blobs):
    z, labels = blobs
    rng = np.random.default_rng(0)
    within = rng.normal(size=N)
    of_type = pd.Series(labels).map({"a": 0.0, "b": 3.0, "c": 6.0}).to_numpy()
    depth = np.exp(of_type + within)
    assert metrics.depth_leakage(z, labels, depth) < 0.1
    leaking = np.column_stack([z, within + rng.normal(scale=0.1, size=N)])
    assert metrics.depth_leakage(leaking, labels, depth) > 0.9


def test_batch_leakage_is_zero_for_hidden_and_one_for_open_batches(blobs):
    z, labels = blobs
    batch = np.where(np.random.default_rng(0).random(N) < 0.25, "x", "y")
    assert abs(metrics.batch_leakage(z, labels, batch)) < 0.1
    assert metrics.batch_leakage(np.column_stack([z, 50 * (batch == "x")]), labels, batch) == 1


def test_batch_that_follows_the_type_alone_is_no_leakage(blobs):
    z, labels = blobs
    assert np.isnan(metrics.batch_leakage(z, labels, labels))


def test_leakage_needs_a_type_of_some_size(blobs):
    rare = np.array([f"t{i}" for i in range(N)])
    assert np.isnan(metrics.depth_leakage(blobs[0], rare, np.ones(N)))


# Neighbours that two embeddings share


def test_agreement_is_the_share_of_shared_neighbours_cell_by_cell():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))

    def nearest(z: np.ndarray, cell: int) -> set[int]:
        distance = np.linalg.norm(z - z[cell], axis=1)
        distance[cell] = np.inf
        return set(np.argsort(distance)[:5].tolist())

    expected = [len(nearest(first, i) & nearest(second, i)) / 5 for i in range(40)]
    found = metrics.neighbor_agreement(first, second, n_neighbors=5)
    np.testing.assert_allclose(found, expected)
    assert 0 < found.mean() < 1


def test_agreement_is_one_with_itself_and_at_chance_with_noise():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 4))
    np.testing.assert_array_equal(metrics.neighbor_agreement(z, 2 * z), 1)
    assert metrics.neighbor_agreement(z, rng.normal(size=(600, 4))).mean() == pytest.approx(
        metrics.chance_agreement(600), rel=0.2
    )
    np.testing.assert_array_equal(metrics.neighbor_agreement(z[:4], rng.normal(size=(4, 2))), 1)
    assert metrics.chance_agreement(4) == 1


def test_agreement_of_different_cells_is_refused():
    with pytest.raises(InputError, match="found 5 and 4"):
        metrics.neighbor_agreement(np.ones((5, 2)), np.ones((4, 2)))


def test_clusters_are_named_by_size():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(90, 3)) + 30 * (np.arange(90) < 30)[:, None]
    found = metrics.leiden_clusters(z, 0.05)
    assert list(found.categories) == ["0", "1"]
    np.testing.assert_array_equal(found == "1", np.arange(90) < 30)
