"""The joint embedding: rows of RNA and ATAC, their weight by held-out molecules, and cells without RNA."""

from __future__ import annotations

import re
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pytest
import scipy.sparse as sp
import torch

import sailerx
from data import TINY, paired, unit_rows
from data import together as named_together
from sailerx.config import Settings
from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.atac_scores import AtacScores
from sailerx.data.multiome import Multiome
from sailerx.joint.choice import Cells, choose
from sailerx.joint.coordinates import Coordinates
from sailerx.joint.embedding import JointEmbedding, predicted
from sailerx.joint.nearest import nearest, without_own
from sailerx.joint.prediction import SHRINKAGE, nats_of_neighbors


def together(rna: ad.AnnData, atac: ad.AnnData) -> mudata.MuData:
    return named_together(rna=rna, atac=atac)


# Held-out molecules


def test_nats_are_those_of_a_loop_over_molecules() -> None:
    rng = np.random.default_rng(0)
    train, held = (sp.csr_matrix(rng.poisson(0.4, (30, 70))) for _ in range(2))
    near = np.stack([rng.permutation(30)[:4] for _ in range(30)])
    near[3, 2:] = -1
    share = np.asarray(train.sum(axis=0)).ravel() / train.sum()
    best = None
    for s in SHRINKAGE:
        nats = np.zeros(30)
        for i in range(30):
            around = sum(train[k].toarray()[0] for k in near[i] if k >= 0)
            for j in range(70):
                local = (around[j] / max(around.sum(), 1) + s * share[j]) / (1 + s)
                nats[i] += held[i, j] * np.log(local / share[j])
        best = nats if best is None or nats.sum() > best.sum() else best
    found, n = nats_of_neighbors(near, train, held)
    np.testing.assert_allclose(found, best)
    np.testing.assert_allclose(n, np.asarray(held.sum(axis=1)).ravel())


def split_by_atac(seed: int, hidden_from: str = "rna") -> tuple[mudata.MuData, np.ndarray]:
    """Two RNA types, of which one modality splits the first; its halves as 0 and 1, -1 elsewhere."""
    mdata = sailerx.simulate(
        900,
        400,
        4000,
        4,
        seed=seed,
        n_batches=1,
        n_programs=0,
        atac_depth=1200,
        rna_depth=400,
        atac_signal=0.8,
    )
    kind = mdata["atac"].obs["cell_type"].astype(str).to_numpy()
    first = np.isin(kind, ["A1", "A2"])
    half = np.where(kind == "A1", 0, np.where(kind == "A2", 1, -1))
    rng = np.random.default_rng(seed)
    blurred = mdata[hidden_from].copy()
    counts = sp.csr_matrix(blurred.X)
    mixed = np.arange(len(kind))
    mixed[first] = rng.permutation(np.flatnonzero(first))  # within the two types, counts of a random cell
    blurred.X = counts[mixed]
    other = "atac" if hidden_from == "rna" else "rna"
    parts = {hidden_from: blurred, other: mdata[other]}
    return together(parts["rna"], parts["atac"]), half


def accuracy(z: np.ndarray, half: np.ndarray) -> float:
    from sailerx.metrics import knn_accuracy

    known = half >= 0
    return knn_accuracy(z[known], half[known])


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
def test_types_that_only_atac_tells_apart_are_told_apart(seed: int) -> None:
    mdata, half = split_by_atac(seed)
    data = Multiome.from_mudata(mdata, Settings())
    joint = JointEmbedding.learn(data, Settings().for_data(4, hybrid=False), seed)
    assert joint.choice.alpha > 0
    rows = joint.rows(data.x, data.g, data.has_rna)
    assert accuracy(data.g, half) < 0.6
    assert accuracy(rows, half) > 0.8


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
def test_types_that_only_rna_tells_apart_stay_apart(seed: int) -> None:
    mdata, half = split_by_atac(seed, hidden_from="atac")
    data = Multiome.from_mudata(mdata, Settings())
    joint = JointEmbedding.learn(data, Settings().for_data(4, hybrid=False), seed)
    rows = joint.rows(data.x, data.g, data.has_rna)
    assert accuracy(rows, half) > 0.98 * accuracy(data.g, half)


def test_atac_that_is_noise_counts_nothing() -> None:
    rng = np.random.default_rng(0)
    mdata = sailerx.simulate(600, 300, 2000, 4, seed=0)
    atac = mdata["atac"].copy()
    atac.X = sp.csr_matrix((rng.random(atac.shape) < 0.03).astype(np.float32))
    data = Multiome.from_mudata(together(mdata["rna"], atac), Settings())
    joint = JointEmbedding.learn(data, Settings().for_data(4, hybrid=False), 0)
    assert joint.choice.alpha == 0
    np.testing.assert_allclose(joint.rows(data.x, data.g, data.has_rna), data.g, atol=1e-6)
    assert "nothing (weight 0)" in joint.in_words()


def test_the_weight_can_be_given() -> None:
    model = sailerx.fit(paired(), progress="none", atac_weight=0.7, **TINY)
    assert model.joint is not None
    assert model.joint.choice.alpha == 0.7
    assert re.search(r"weight 0\.7 \(\d+ scores? of all cells", model.joint.in_words())
    assert "by both" not in model.joint.in_words()  # not measured at that weight
    z, n_rna = model.embed(paired()), model.joint.anchor_g.shape[1]
    assert unit_rows(z[:, :n_rna])
    assert z.shape[1] > n_rna


def test_few_cells_are_embedded_without_a_measurement() -> None:
    x = sp.csr_matrix((np.random.default_rng(0).random((20, 30)) < 0.3).astype(np.uint8))
    scores = AtacScores.learn(PeaksInMemory.of(x), 10)
    choice = choose(Cells(x, None, np.ones((20, 2)), np.zeros((20, 1))), Coordinates(scores), 0)
    assert (choice.alpha, choice.gains) == (0.0, ())
    assert "too few cells" in choice.in_words("no coordinates")


# Cells without RNA


def test_g_is_the_mean_of_the_nearest_anchors_without_the_cell_itself() -> None:
    rng = np.random.default_rng(0)
    anchors, g = rng.normal(size=(40, 3)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32)
    for query, own in ((rng.normal(size=3).astype(np.float32), None), (anchors[7], 7)):
        order = np.argsort(np.linalg.norm(anchors - query, axis=1))
        nearest = [i for i in order if i != own][:3]
        mean = g[nearest].mean(axis=0)
        np.testing.assert_allclose(
            predicted(query[None], anchors, g)[0], mean / np.linalg.norm(mean), rtol=1e-5
        )


@pytest.mark.filterwarnings("ignore:.*cells of 'atac' have no 'rna'")
def test_cells_with_and_without_rna_mix_and_keep_their_types() -> None:
    mdata = sailerx.simulate(1200, 400, 4000, 4, seed=0, n_batches=1, atac_depth=400)
    alone = np.random.default_rng(0).random(1200) < 0.4
    data = Multiome.from_mudata(together(mdata["rna"][~alone].copy(), mdata["atac"]), Settings())
    joint = JointEmbedding.learn(data, Settings().for_data(4, hybrid=True), 0)
    rows = joint.rows(data.x, data.g[data.has_rna], data.has_rna)
    kinds = mdata["atac"].obs["cell_type"].astype(str).to_numpy()
    near = np.linalg.norm(rows[alone][:, None] - rows[~alone][None], axis=2).argsort(axis=1)[:, 0]
    assert np.mean(kinds[~alone][near] == kinds[alone]) > 0.8
    of_all = ((rows[~alone][:, None] - rows[None]) ** 2).sum(axis=2).argsort(axis=1)[:, 1:16]
    assert 0.2 < alone[of_all].mean() < 0.6


@pytest.mark.filterwarnings("ignore:.*cells of 'atac' have no 'rna'")
def test_model_embeds_new_cells_by_what_they_have(tmp_path: Path) -> None:
    mdata = paired(n_cells=90)
    with mudata.set_options(pull_on_update=False):
        first, new = mdata[:60].copy(), mdata[60:].copy()
    model = sailerx.fit(first, progress="none", atac_weight=0.5, **TINY)
    both = model.embed(new)
    shuffled = together(new["rna"][:, ::-1].copy(), new["atac"])
    np.testing.assert_allclose(model.embed(shuffled), both, atol=1e-5)
    partly = together(new["rna"][:10].copy(), new["atac"])
    written = model.to_anndata(partly)
    assert written.obs["sailerx_has_rna"].tolist() == [True] * 10 + [False] * 20
    np.testing.assert_allclose(written.obsm["X_sailerx"][:10], both[:10], atol=1e-5)
    np.testing.assert_allclose(written.obsm["X_sailerx"][10:], model.embed(new["atac"])[10:], atol=1e-5)
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(sailerx.load(tmp_path / "run").embed(new), both)


def test_rna_that_does_not_fit_the_model_is_refused_or_warned_of() -> None:
    mdata = paired()
    model = sailerx.fit(mdata, progress="none", **TINY)
    fewer = together(mdata["rna"][:, 5:].copy(), mdata["atac"])
    with pytest.warns(UserWarning, match="5 of the model's 80 genes are not in the data and are taken as 0"):
        model.embed(fewer)
    renamed = mdata["rna"].copy()
    renamed.var_names = [f"other{i}" for i in range(80)]
    with pytest.raises(sailerx.InputError, match="share no gene with the model"):
        model.embed(together(renamed, mdata["atac"]))
    rna = mdata["rna"].copy()
    rna.obsm["X_given"] = np.random.default_rng(0).normal(size=(60, 4))
    named = sailerx.fit(together(rna, mdata["atac"]), rna_embedding="X_given", progress="none", **TINY)
    with pytest.raises(sailerx.InputError, match="has no obsm 'X_given'"):
        named.embed(mdata)
    assert named.embed(mdata["atac"]).shape == named.embed(together(rna, mdata["atac"])).shape


def test_peaks_alone_are_embedded_by_their_scores() -> None:
    mdata = paired()
    model = sailerx.fit(mdata["atac"], progress="none", **TINY)
    assert model.record["reference"] == "none, ATAC alone"
    z = model.embed(mdata)
    np.testing.assert_array_equal(z, model.embed(mdata["atac"]))
    assert model.joint is not None
    assert z.shape == (60, model.joint.coordinates.whole.n_reliable or 8)
    without = sailerx.fit(mdata, progress="none", **(TINY | {"gamma": 0.0}))
    np.testing.assert_array_equal(without.embed(mdata), without.embed(mdata["atac"]))


def test_model_of_the_version_before_is_read_and_embeds_by_z(tmp_path: Path) -> None:
    import json

    before = {"joint_embedding": False, "bounded_variance": False}
    model = sailerx.fit(paired(), progress="none", **before, **TINY)
    model.save(tmp_path / "run")
    about = json.loads((tmp_path / "run" / "model.json").read_text(encoding="utf-8"))
    about["sailerx_model"] = 1
    for name in ("n_private", "joint_embedding", "atac_weight", "bounded_variance"):
        del about["settings"][name]
    del about["joint"], about["reference"]
    (tmp_path / "run" / "model.json").write_text(json.dumps(about), encoding="utf-8")
    (tmp_path / "run" / "joint.safetensors").unlink()
    old = sailerx.load(tmp_path / "run")
    np.testing.assert_array_equal(old.embed(paired()), model.embed(paired()))
    assert old.embed(paired()).shape == (60, 5)
    np.testing.assert_array_equal(old.posterior(paired())[1], model.posterior(paired())[1])


# Nearest cells


@pytest.mark.parametrize("n_at_once", [0, 10_000])
def test_nearest_cells_are_those_of_sorted_distances(n_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sailerx.joint.nearest._FEW", n_at_once)  # few cells and many go different ways
    rng = np.random.default_rng(0)
    known, cells = (rng.normal(size=(n, 7)).astype(np.float32) for n in (90, 40))
    every = np.linalg.norm(cells[:, None].astype(float) - known[None], axis=2)
    distance, near = nearest(known, cells, 6)
    np.testing.assert_array_equal(near, every.argsort(axis=1)[:, :6])
    np.testing.assert_allclose(distance, np.sort(every, axis=1)[:, :6], rtol=1e-6)


def test_a_cell_is_dropped_from_its_own_neighbours_or_else_the_last_is() -> None:
    near = np.array([[0, 4, 2], [3, 1, 0], [5, 6, 7]])
    np.testing.assert_array_equal(without_own(near, np.arange(3)), [[4, 2], [3, 0], [5, 6]])


# The private part of z


def test_private_posterior_is_that_of_the_scores() -> None:
    data = Multiome.from_mudata(paired(), Settings())
    model = sailerx.fit(paired(), progress="none", **(TINY | {"n_latent": 10}))
    assert model.joint is not None
    assert model.vae.private is not None
    mean, std = model.posterior(paired())
    scores, r = model.joint.coordinates.whole, model.joint.coordinates.whole.reliability[:4]
    np.testing.assert_allclose(mean[:, 6:], np.sqrt(r) * scores.of(data.x)[:, :4], atol=1e-4)
    np.testing.assert_allclose(std[:, 6:], np.broadcast_to(np.sqrt(1 - r), (60, 4)), rtol=1e-5)
    assert not any(p.requires_grad for p in model.vae.private.buffers())
    assert torch.equal(model.vae.private.loadings[:, 0], torch.from_numpy(scores.loadings[:, 0]))
