"""Simulated truth is recovered, and batch and depth are hidden better than by latent semantic indexing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

import sailerx
from data import paired
from sailerx.data.lsi import lsi
from sailerx.metrics import batch_leakage, depth_leakage, knn_accuracy


class Scores(NamedTuple):
    """How well an embedding tells cell types, and how much of batch and depth it still holds within them."""

    nmi: float
    knn: float
    batch: float
    depth: float


def scores(z: np.ndarray, mdata: sailerx.api.MuData) -> Scores:
    obs = mdata["atac"].obs
    labels, batch = (obs[name].astype(str).to_numpy() for name in ("cell_type", "batch"))
    depth = (mdata["atac"].X > 0).sum(axis=1).A1.astype(float)
    clusters = KMeans(len(np.unique(labels)), n_init=10, random_state=0).fit_predict(z)
    return Scores(
        nmi=normalized_mutual_info_score(labels, clusters),
        knn=knn_accuracy(z, labels),
        batch=batch_leakage(z, labels, batch),
        depth=depth_leakage(z, labels, depth),
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Scores]:
    """Scores of the embedding and of LSI, on 600 cells of 5 types with a strong batch effect in the ATAC."""
    sizes = {"n_cells": 600, "n_genes": 500, "n_peaks": 2000, "n_types": 5, "n_batches": 2}
    depth = {"rna_depth": 800, "atac_depth": 400}
    mdata = paired(**sizes, **depth, rna_signal=1.5, atac_signal=1.5, atac_batch=0.8)
    model = sailerx.fit(mdata, batch_key="batch", progress="none", minibatch_size=100, max_epochs=60)
    return {"ours": scores(model.embed(mdata), mdata), "lsi": scores(lsi(mdata["atac"].X), mdata)}


def test_cell_types_are_recovered(found: dict[str, Scores]) -> None:
    assert found["ours"].nmi > 0.75
    assert found["ours"].knn > 0.7


def test_cell_types_are_told_better_than_by_lsi(found: dict[str, Scores]) -> None:
    assert found["ours"].knn > found["lsi"].knn + 0.15


def test_batch_is_hidden_better_than_by_lsi(found: dict[str, Scores]) -> None:
    assert found["ours"].batch < found["lsi"].batch - 0.1
