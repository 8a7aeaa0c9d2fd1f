"""Leiden clusters of an embedding, as scanpy's users get them by default.

15 nearest neighbours (exact; the cell itself counted), UMAP's fuzzy weights, Leiden by igraph with two iterations.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors

from sailerx.joint.groups import communities, network_of

N_NEIGHBORS = 15
RESOLUTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)


def neighbor_graph(
    z: np.ndarray, *, metric: str = "euclidean", n_neighbors: int = N_NEIGHBORS
) -> sp.csr_matrix:
    """Fuzzy graph of exact nearest neighbours, with UMAP's weights.

    Parameters
    ----------
    z
        Cells × dimensions.
    metric
        `"euclidean"` or `"cosine"`.
    n_neighbors
        Neighbours of each cell, itself counted.

    Returns
    -------
    Symmetric weights between 0 and 1, cells × cells: a + b − ab for the weights a and b of the two directions. They are those of
    umap-learn (a test compares them entry by entry), whose import and compilation would take some ten seconds in each process.
    Source: McInnes et al. 2018, arXiv 1802.03426.
    """
    k = min(n_neighbors, len(z)) - 1
    distance, near = NearestNeighbors(n_neighbors=k, metric=metric).fit(z).kneighbors()
    weight = _fuzzy_weights(distance, np.log2(k + 1))
    graph = sp.csr_matrix((weight.ravel(), near.ravel(), np.arange(len(z) + 1) * k), shape=(len(z), len(z)))
    both = graph.multiply(graph.T)
    return sp.csr_matrix(graph + graph.T - both)


def _fuzzy_weights(distance: np.ndarray, target: float) -> np.ndarray:
    """exp(−(d − nearest) / scale), with the scale of each cell such that its weights sum to `target`."""
    positive = np.where(distance > 0, distance, np.inf).min(axis=1, keepdims=True)
    beyond = np.maximum(distance - np.where(np.isfinite(positive), positive, 0.0), 0.0)
    low, high = np.zeros((len(distance), 1)), np.full((len(distance), 1), 1e3 * (distance.max() + 1e-12))
    for _ in range(64):
        middle = (low + high) / 2
        too_wide = np.exp(-beyond / np.maximum(middle, 1e-300)).sum(axis=1, keepdims=True) > target
        low, high = np.where(too_wide, low, middle), np.where(too_wide, middle, high)
    scale = np.maximum((low + high) / 2, 1e-3 * np.maximum(distance.mean(axis=1, keepdims=True), 1e-12))
    return np.exp(-beyond / scale)


def leiden(graph: sp.csr_matrix, resolution: float = 1.0, *, seed: int = 0) -> np.ndarray:
    """Leiden clustering by modularity, two iterations.

    Parameters
    ----------
    graph
        Symmetric weights, cells × cells.
    resolution
        Higher gives more clusters.
    seed
        Of igraph's random numbers.

    Returns
    -------
    Cluster of each cell, counted from 0, the largest first.
    """
    return communities(network_of(graph), resolution, seed)


def leiden_clusters(
    z: np.ndarray, resolution: float = 1.0, *, metric: str = "euclidean", seed: int = 0
) -> pd.Categorical:
    """Leiden clusters of an embedding, named "0" (the largest), "1", ...

    Parameters
    ----------
    z
        Cells × dimensions.
    resolution, metric, seed
        As in `leiden` and `neighbor_graph`.
    """
    clusters = leiden(neighbor_graph(z, metric=metric), resolution, seed=seed)
    return pd.Categorical(clusters.astype(str), [str(i) for i in range(clusters.max() + 1)])


def best_clustering(
    z: np.ndarray, labels: np.ndarray, *, metric: str = "euclidean", seed: int = 0
) -> dict[str, float]:
    """ARI, NMI, resolution and number of clusters of the Leiden clustering whose NMI is best.

    Parameters
    ----------
    z
        Cells × dimensions.
    labels
        Cell type of each cell.
    metric, seed
        As in `score`.
    """
    network = network_of(neighbor_graph(z, metric=metric))
    best = {"nmi": -1.0}
    for resolution in RESOLUTIONS:
        clusters = communities(network, resolution, seed)
        nmi = float(normalized_mutual_info_score(labels, clusters))
        if nmi > best["nmi"]:
            ari = float(adjusted_rand_score(labels, clusters))
            best = {"ari": ari, "nmi": nmi, "resolution": resolution, "clusters": int(clusters.max()) + 1}
    return best
