"""Labels and RNA of new cells: votes, Gaussians, their calibration, the common space, and the methods of a model."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import sailerx
from data import TINY, paired, together, write
from sailerx.data.accessibility import PeaksInMemory, StackedCells
from sailerx.errors import InputError
from sailerx.joint.nearest import nearest_others
from sailerx.results.comparison import CellSet, compare
from sailerx.results.gaussians import Gaussians, typicality
from sailerx.results.label_caller import LabelCaller, Mixing
from sailerx.results.votes import votes_of

# Votes, Gaussians and their mixture


def test_votes_are_shares_of_neighbours_labels() -> None:
    near, codes = np.array([[0, 1, 2], [3, 3, 1]]), np.array([0, 2, 2, 1])
    np.testing.assert_allclose(votes_of(near, codes, 3), [[1 / 3, 0, 2 / 3], [0, 2 / 3, 1 / 3]])


def test_neighbours_are_the_nearest_other_cells() -> None:
    rng = np.random.default_rng(0)
    known, new = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    cells = np.concatenate([new, known[[7, 20]]])
    distance = np.linalg.norm(cells[:, None] - known[None], axis=2)
    distance[[5, 6], [7, 20]] = np.inf  # two are known themselves
    np.testing.assert_array_equal(nearest_others(known, cells, 3), np.argsort(distance)[:, :3])


def labelled(n: int, seed: int, dims: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping Gaussians of unequal frequency."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    centres = np.zeros((3, dims))
    centres[:, :2] = [[0, 0], [1.5, 0], [0, 2]]
    return centres[codes] + rng.normal(size=(n, dims)), codes


def test_gaussians_are_linear_discriminant_analysis() -> None:
    rows, codes = labelled(3000, 0)
    rows = rows @ np.array(
        [[1, 2, 3], [0, 1, 2], [0, 0, 1]]
    )  # correlated, so that the covariance is hardly shrunk
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(rows, codes).predict_proba(rows[:50])
    found = Gaussians.learn(rows, codes, 3).probabilities(rows[:50])
    np.testing.assert_allclose(found, expected, atol=0.01)
    absent = Gaussians.learn(rows, codes, 4).probabilities(rows[:50])
    np.testing.assert_allclose(absent, np.column_stack([found, np.zeros(50)]), atol=1e-12)


def test_votes_gaussians_and_frequencies_are_mixed() -> None:
    votes, gaussian, frequency = np.array([[0.8, 0.2]]), np.array([[0.4, 0.6]]), np.array([0.5, 0.5])
    found = Mixing(5, 0.25, 0.1, 2.0).probabilities(votes, gaussian, frequency)
    first, second = (0.75 * 0.8 + 0.25 * 0.4 + 0.05) ** 2, (0.75 * 0.2 + 0.25 * 0.6 + 0.05) ** 2
    np.testing.assert_allclose(found, [[first / (first + second), second / (first + second)]])


@pytest.mark.parametrize("seed", [0, 1])
def test_confidence_is_the_share_of_right_labels(seed: int) -> None:
    known, codes = labelled(600, seed)
    new, truth = labelled(4000, seed + 10)
    called = LabelCaller.learn(known, codes, seed).call(new)
    confidence, right = called.confidence, called.best == truth
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1.0)):
        here = (confidence >= low) & (confidence < high)
        assert abs(confidence[here].mean() - right[here].mean()) < 0.08
    assert right.mean() > 0.98 * bayes(new, truth)


def bayes(rows: np.ndarray, truth: np.ndarray) -> float:
    """Share of right labels by the true distribution of `labelled`."""
    centres = np.array([[0, 0], [1.5, 0], [0, 2]])
    log_p = np.log([0.6, 0.3, 0.1]) - 0.5 * ((rows[:, None, :2] - centres) ** 2).sum(axis=2)
    return float((log_p.argmax(axis=1) == truth).mean())


def test_labels_that_rows_say_nothing_of_are_called_at_their_frequency() -> None:
    rng = np.random.default_rng(0)
    rows, codes = rng.normal(size=(600, 5)), rng.choice(2, 600, p=[0.7, 0.3])
    called = LabelCaller.learn(rows, codes, 0).call(rng.normal(size=(500, 5)))
    assert (called.best == 0).all()
    assert abs(called.confidence.mean() - 0.7) < 0.05
    assert called.confidence.std() < 0.1


@pytest.mark.parametrize("n", [3, 11])
def test_a_few_labelled_cells_are_enough(n: int) -> None:
    rows = np.random.default_rng(0).normal(size=(n, 4))
    called = LabelCaller.learn(rows, np.arange(n) % 2, 0).call(rows[:2])
    assert ((called.confidence >= 0.5) & (called.confidence <= 1)).all()


def test_cells_are_less_typical_than_p_with_probability_p() -> None:
    rows, codes = labelled(2000, 0)
    gaussians = Gaussians.learn(rows, codes, 3)
    own, own_codes = gaussians.distance(rows, codes), codes
    new, truth = labelled(4000, 1)
    found = typicality(own, own_codes, gaussians.distance(new, truth), truth)
    for p in (0.05, 0.3):
        assert abs((found < p).mean() - p) < 0.03
    far = gaussians.distance(new + 6, truth)
    assert (typicality(own, own_codes, far, truth) < 0.05).mean() > 0.95
    assert typicality(np.array([1.0, 2, 3]), np.zeros(3, int), np.array([2.5]), np.zeros(1, int)) == 2 / 4


# The common space


def test_stacked_cells_are_one_matrix() -> None:
    rng = np.random.default_rng(0)
    parts = [sp.csr_matrix((rng.random((n, 9)) < 0.4).astype(np.uint8)) for n in (4, 7)]
    stacked, whole = StackedCells(tuple(map(PeaksInMemory.of, parts))), sp.vstack(parts).toarray()
    assert stacked.shape == (11, 9)
    np.testing.assert_array_equal(stacked.depth, whole.sum(axis=1))
    np.testing.assert_array_equal(stacked.read().toarray(), whole)
    np.testing.assert_array_equal(sp.vstack(list(stacked.chunks())).toarray(), whole)
    for rows in ([1, 3, 4, 10], [0, 2], [5, 6]):
        np.testing.assert_array_equal(stacked[np.array(rows)].toarray(), whole[rows])


@pytest.fixture(scope="module")
def cells() -> tuple[mudata.MuData, mudata.MuData]:
    """Known and new cells."""
    mdata = paired(n_cells=500, n_genes=300, n_peaks=900, n_types=4, atac_depth=400, atac_signal=0.8)
    return some(mdata, slice(0, 400)), some(mdata, slice(400, 500))


def some(mdata: mudata.MuData, rows: slice) -> mudata.MuData:
    names = mdata["atac"].obs_names[rows]
    return together(**{name: part[part.obs_names.isin(names)].copy() for name, part in mdata.mod.items()})


@pytest.fixture(scope="module")
def model(cells: tuple[mudata.MuData, mudata.MuData]) -> sailerx.Model:
    return sailerx.fit(cells[0], batch_key="batch", progress="none", **TINY)


Cells = tuple[mudata.MuData, mudata.MuData]


def truth_of(new: mudata.MuData) -> np.ndarray:
    return new["atac"].obs["cell_type"].astype(str).to_numpy()


def test_new_cells_get_the_labels_of_their_type(model: sailerx.Model, cells: Cells) -> None:
    known, new = cells
    by_atac = model.transfer_labels(known, new["atac"], "cell_type")
    by_both = model.transfer_labels(known, new, "cell_type")
    assert list(by_atac.index) == list(new["atac"].obs_names)
    assert not by_atac["has_rna"].any()
    assert by_both["has_rna"].all()
    frequent = pd.Series(truth_of(new)).value_counts(normalize=True).max()
    right = [(found["best_label"] == truth_of(new)).mean() for found in (by_atac, by_both)]
    assert right[0] > frequent + 0.15
    assert right[1] > 0.9
    assert abs(by_atac["confidence"].mean() - right[0]) < 0.12


def test_labels_below_the_threshold_are_unknown(model: sailerx.Model, cells: Cells) -> None:
    known, new = cells
    found = model.transfer_labels(known, new["atac"], "cell_type", threshold=0.7, min_typicality=0.1)
    sure = (found["confidence"] >= 0.7) & (found["typicality"] >= 0.1)
    assert sure.sum() < (found["confidence"] >= 0.7).sum()
    assert 0 < sure.sum() < len(found)
    assert (found["label"][~sure] == "unknown").all()
    assert found["label"][sure].astype(str).equals(found["best_label"][sure].astype(str))
    assert list(found["label"].cat.categories) == [*found["best_label"].cat.categories, "unknown"]


def test_labels_of_new_cells_and_orders_do_not_count(model: sailerx.Model, cells: Cells) -> None:
    known, new = cells
    found = model.transfer_labels(known, new, "cell_type")
    bare = {name: part[:, ::-1].copy() for name, part in new.mod.items()}
    for part in bare.values():
        part.obs = part.obs[["batch"]]
    again = model.transfer_labels(known, together(**bare), "cell_type")
    pd.testing.assert_frame_equal(found, again, rtol=1e-3)
    assert found.equals(model.transfer_labels(known, new, "cell_type"))


def test_cells_without_a_label_do_not_vote(model: sailerx.Model, cells: Cells) -> None:
    known, new = cells
    atac = known["atac"].copy()
    kind = atac.obs["cell_type"].astype(object)
    atac.obs["cell_type"] = kind.where(kind != "A1", None)
    fewer = together(rna=known["rna"], atac=atac)
    found = model.transfer_labels(fewer, new, "cell_type")
    kept = (kind != "A1").to_numpy()
    alone = together(rna=known["rna"][kept].copy(), atac=known["atac"][kept].copy())
    assert "A1" not in found["best_label"].cat.categories
    assert found["confidence"].equals(model.transfer_labels(alone, new, "cell_type")["confidence"])


def test_some_new_cells_have_rna(model: sailerx.Model, cells: Cells) -> None:
    known, new = cells
    mixed = together(rna=new["rna"][:30].copy(), atac=new["atac"])
    found = model.transfer_labels(known, mixed, "cell_type")
    assert found["has_rna"].tolist() == new["atac"].obs_names.isin(new["rna"].obs_names[:30]).tolist()
    assert (found["confidence"] > 1 / 4).all()


def test_files_give_what_objects_give(model: sailerx.Model, cells: Cells, tmp_path: Path) -> None:
    known, new = cells
    paths = write(known, tmp_path / "known.h5mu"), tmp_path / "new.h5ad"
    new["atac"].write_h5ad(paths[1])
    found = model.transfer_labels(*paths, "cell_type")
    pd.testing.assert_frame_equal(found, model.transfer_labels(known, new["atac"], "cell_type"))
    expected = model.predict_rna(known, new["atac"])
    np.testing.assert_array_equal(model.predict_rna(*paths).X.toarray(), expected.X.toarray())


@pytest.mark.parametrize("options", [{"preset": "paper", "max_epochs": 1}, {"joint_embedding": False} | TINY])
def test_models_without_a_joint_embedding_transfer_too(options: dict, cells: Cells) -> None:
    known, new = cells
    trained = sailerx.fit(known, progress="none", **options)
    found = trained.transfer_labels(known, new, "cell_type")
    assert (found["best_label"] == truth_of(new)).mean() > 0.85


def test_atac_without_any_rna_is_labelled(cells: Cells) -> None:
    known, new = cells
    trained = sailerx.fit(known["atac"], progress="none", **TINY)
    found = trained.transfer_labels(known["atac"], new["atac"], "cell_type")
    frequent = pd.Series(truth_of(new)).value_counts(normalize=True).max()
    assert (found["best_label"] == truth_of(new)).mean() > frequent


# RNA


def test_predicted_rna_is_the_mean_of_the_nearest_cells(model: sailerx.Model, cells: Cells) -> None:
    known, new = cells
    found = model.predict_rna(known, new["atac"], n_neighbors=7)
    (space,) = compare(model, CellSet.of(model, known, "known"), CellSet.of(model, new["atac"], "new"), 0)
    counts = known["rna"][known["atac"].obs_names].X.toarray()
    for i in (0, 50, 99):
        near = np.argsort(np.linalg.norm(space.known - space.new[i], axis=1))[:7]
        total = counts[near].sum(axis=0)
        np.testing.assert_allclose(found.X[i].toarray()[0], np.log1p(1e4 * total / total.sum()), rtol=1e-4)
    chosen = model.predict_rna(known, new["atac"], genes=["Gene030", "Gene002"], n_neighbors=7)
    assert list(chosen.var_names) == ["Gene030", "Gene002"]
    np.testing.assert_allclose(chosen.X.toarray(), found[:, chosen.var_names].X.toarray(), rtol=1e-6)


def test_predicted_rna_is_nearer_to_the_truth_than_the_mean(model: sailerx.Model, cells: Cells) -> None:
    known, new = cells
    share = np.expm1(model.predict_rna(known, new["atac"]).X.toarray()) / 1e4
    counts, overall = new["rna"].X.toarray(), np.asarray(known["rna"].X.sum(axis=0)).ravel()
    overall = overall / overall.sum()
    seen = overall > 0
    log_ratio = np.log((share[:, seen] / overall[seen] + 0.1) / 1.1)
    assert (counts[:, seen] * log_ratio).sum() / counts[:, seen].sum() > 0.01


# Errors


def test_errors_say_what_must_hold(model: sailerx.Model, cells: Cells) -> None:
    known, new = cells
    with pytest.raises(InputError, match="no obs column 'kind'"):
        model.transfer_labels(known, new, "kind")
    with pytest.raises(InputError, match=r"`threshold` must be a share, from 0 to 1, got 50"):
        model.transfer_labels(known, new, "cell_type", threshold=50)
    one = known["atac"].copy()
    one.obs["cell_type"] = "A1"
    with pytest.raises(InputError, match=r"must give two labels or more .* found 1 in 400 cells"):
        model.transfer_labels(one, new["atac"], "cell_type")
    with pytest.raises(InputError, match="there are none in a modality 'rna'"):
        model.predict_rna(known["atac"], new["atac"])
    with pytest.raises(
        InputError, match=r"`genes` must name genes .* such as 'Gene001': 1 of 2 .* first 'Sox2'"
    ):
        model.predict_rna(known, new, genes=["Gene002", "Sox2"])
    with pytest.raises(InputError, match=r"`n_neighbors` must be .* below .* 400, got 400"):
        model.predict_rna(known, new, n_neighbors=400)
    other = ad.AnnData(new["atac"].X, var=pd.DataFrame(index=[f"chr9:{i}-{i + 5}" for i in range(900)]))
    with pytest.raises(InputError, match="share no peak"):
        model.transfer_labels(known, other, "cell_type")
