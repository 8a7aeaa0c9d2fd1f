"""A score without labels: how well nearest neighbours in an embedding predict held-out molecules."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

from sailerx.errors import InputError
from sailerx.joint.prediction import nats_of_neighbors

N_PREDICTING = 100


def split_counts(counts: sp.spmatrix, seed: int = 0) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Split counts at random into two halves, each molecule by a fair coin.

    Parameters
    ----------
    counts
        Cells × features, whole numbers.
    seed
        Seed of the coin.

    Returns
    -------
    Two matrices (CSR, float32) that add up to ``counts``: one to train on, one to predict.
    """
    whole = sp.csr_matrix(counts, dtype=np.float32)
    train = whole.copy()
    train.data = np.random.default_rng(seed).binomial(whole.data.astype(np.int64), 0.5).astype(np.float32)
    held = sp.csr_matrix(whole - train)
    train.eliminate_zeros()
    held.eliminate_zeros()
    return train, held


def predictive_gain(
    embedding: np.ndarray,
    train: sp.spmatrix,
    held: sp.spmatrix,
    *,
    metric: str = "euclidean",
    n_neighbors: int = N_PREDICTING,
) -> float:
    """Measure how well nearest neighbours predict held-out molecules: mean log-likelihood ratio, in nats per molecule.

    Mean over molecules of ``held`` (feature j in cell i) of log(p_ij / p_j): p_j is the share of feature j in all ``train`` counts,
    p_ij its share in the ``train`` counts of i's nearest neighbours, i excluded, shrunk towards p_j by the best of
    seven strengths (`sailerx.joint.prediction`).

    Parameters
    ----------
    embedding
        Cells × dimensions, computed without ``held``.
    train, held
        Cells × features, see `split_counts`.
    metric
        ``"euclidean"`` or ``"cosine"``.
    n_neighbors
        Nearest neighbours of each cell.

    Returns
    -------
    0 if neighbours predict nothing beyond p_j; higher is better.

    Raises
    ------
    InputError
        If ``embedding``, ``train`` and ``held`` differ in cells, or there are not more than ``n_neighbors``.
    """
    z = np.asarray(embedding)
    if not len(z) == train.shape[0] == held.shape[0]:
        raise InputError(
            f"`embedding`, `train` and `held` must have the same cells, found {len(z)}, {train.shape[0]} and {held.shape[0]}."
        )
    if len(z) <= n_neighbors:
        raise InputError(f"`n_neighbors` must be below the number of cells, {len(z)}, got {n_neighbors}.")
    near = NearestNeighbors(n_neighbors=n_neighbors, metric=metric).fit(z).kneighbors(return_distance=False)
    return gain_of_neighbors(near, train, held)


def gain_of_neighbors(near: np.ndarray, train: sp.spmatrix, held: sp.spmatrix) -> float:
    """Compute `predictive_gain` for given neighbours: ``near`` is cells × neighbours, positions of cells or -1 for none."""
    nats, n_molecules = nats_of_neighbors(near, train, held)
    return float(nats.sum() / n_molecules.sum())
