"""Embedding of cells, and peaks of other data in a model's order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from data import dense, multiome, unit_rows
from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.peaks import columns_in_order, peak_table
from sailerx.network.vae import VAE
from sailerx.results import embed


@pytest.fixture
def vae() -> VAE:
    data = multiome()
    return VAE(data.blocks, 1, 5, 8, 4, torch.Generator().manual_seed(0)).eval()


def test_embedding_by_z_is_the_posterior_mean_at_unit_length(vae: VAE) -> None:
    x = multiome().x
    mean, std = embed.posterior(vae, x)
    z = embed.unit_mean(vae, x)
    np.testing.assert_allclose(z, mean / np.linalg.norm(mean, axis=1, keepdims=True), rtol=1e-6)
    assert unit_rows(z)
    assert z.dtype == np.float32
    assert (std > 0).all()


def test_euclidean_neighbours_of_the_embedding_are_cosine_neighbours_of_the_mean(vae: VAE) -> None:
    x = multiome().x
    mean, z = embed.posterior(vae, x)[0], embed.unit_mean(vae, x)
    unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    by_cosine = np.argsort(-(unit @ unit[0]), kind="stable")
    by_distance = np.argsort(((z - z[0]) ** 2).sum(axis=1), kind="stable")
    np.testing.assert_array_equal(by_cosine[:10], by_distance[:10])


def test_a_cells_embedding_hangs_on_no_other_cell(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    x = multiome().x
    whole = embed.unit_mean(vae, x)
    np.testing.assert_allclose(
        embed.unit_mean(vae, PeaksInMemory.of(x[np.arange(5, 8)])), whole[5:8], rtol=1e-4, atol=1e-6
    )
    monkeypatch.setattr(embed, "_CELLS_AT_ONCE", 7)
    np.testing.assert_allclose(embed.unit_mean(vae, x), whole, rtol=1e-4, atol=1e-6)


def peaks(*names: str) -> pd.DataFrame:
    table = peak_table(pd.DataFrame(index=list(names)))
    assert table is not None
    return table


OPEN = np.array([[1, 0, 1], [0, 1, 1]])
X = PeaksInMemory.of(sp.csr_matrix(OPEN))


def in_known_order(here: pd.DataFrame, known: pd.DataFrame) -> tuple[PeaksInMemory, int]:
    columns = columns_in_order(here, known)
    return X.with_peaks(columns), int((columns < 0).sum())


def test_peaks_are_matched_by_coordinates_whatever_their_order_and_names() -> None:
    known, here = peaks("chr1:5-9", "chr2:1-2", "chr3:7-8"), peaks("chr3-7-8", "chr1-5-9", "chr2_1_2")
    matched, missing = in_known_order(here, known)
    np.testing.assert_array_equal(dense(matched), OPEN[:, [1, 2, 0]])
    assert missing == 0


def test_missing_peaks_are_closed_and_unknown_ones_left_out() -> None:
    known, here = peaks("chr1:5-9", "chr9:1-2"), peaks("chr3:7-8", "chr1:5-9", "chr2:1-2")
    matched, missing = in_known_order(here, known)
    np.testing.assert_array_equal(dense(matched), [[0, 0], [1, 0]])
    assert missing == 1


def test_peaks_without_coordinates_are_matched_by_name() -> None:
    known, here = pd.DataFrame(index=["b", "a"]), pd.DataFrame(index=["a", "x", "b"])
    matched, missing = in_known_order(here, known)
    np.testing.assert_array_equal(dense(matched), [[1, 1], [1, 0]])
    assert missing == 0
