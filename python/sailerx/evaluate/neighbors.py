"""Nearest neighbours of an embedding: agreement with those of another embedding, and with labels."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from sailerx.errors import InputError
from sailerx.evaluate.clustering import N_NEIGHBORS


def neighbor_agreement(
    reference: np.ndarray, embedding: np.ndarray, *, n_neighbors: int = N_NEIGHBORS
) -> np.ndarray:
    """Compute for each cell the share of its nearest neighbours in one embedding that are also neighbours in another.

    Parameters
    ----------
    reference, embedding
        Cells × dimensions, with one order of cells; neighbours are Euclidean and exact.
    n_neighbors
        Neighbours of each cell, itself not counted; at most the number of other cells.

    Returns
    -------
    One share per cell, 0 to 1. `chance_agreement` is its expectation by chance.

    Raises
    ------
    InputError
        If the two differ in number of cells, or there are fewer than three cells.
    """
    n_cells = len(reference)
    if n_cells != len(embedding) or n_cells < 3:
        raise InputError(
            f"`reference` and `embedding` must hold the same cells, at least 3: found {n_cells} and {len(embedding)}."
        )
    k = min(n_neighbors, n_cells - 1)
    near = [
        NearestNeighbors(n_neighbors=k).fit(z).kneighbors(return_distance=False)
        for z in (reference, embedding)
    ]
    first, second = (
        sp.csr_matrix(
            (np.ones(n_cells * k), part.ravel(), np.arange(n_cells + 1) * k), shape=(n_cells, n_cells)
        )
        for part in near
    )
    return np.asarray(first.multiply(second).sum(axis=1)).ravel() / k


def chance_agreement(n_cells: int, *, n_neighbors: int = N_NEIGHBORS) -> float:
    """Compute the expected `neighbor_agreement` of two unrelated embeddings."""
    return min(n_neighbors, n_cells - 1) / (n_cells - 1)


def knn_accuracy(z: np.ndarray, labels: np.ndarray, *, metric: str = "euclidean", folds: int = 3) -> float:
    """Compute the cross-validated balanced accuracy of a 15-nearest-neighbour classifier of cell types.

    Parameters
    ----------
    z
        Cells × dimensions.
    labels
        Cell type of each cell; types with fewer cells than folds are left out.
    metric
        Distance between neighbours, ``"euclidean"`` or ``"cosine"``.
    folds
        Number of folds, stratified by cell type.

    Returns
    -------
    Share of cells classified correctly, averaged over types, then over folds.
    """
    names, counts = np.unique(labels, return_counts=True)
    keep = np.isin(labels, names[counts >= folds])
    k = min(N_NEIGHBORS, int(keep.sum() * (folds - 1) / folds))
    classifier = KNeighborsClassifier(k, metric=metric)
    scoring = "balanced_accuracy"
    return float(cross_val_score(classifier, z[keep], labels[keep], cv=folds, scoring=scoring).mean())
