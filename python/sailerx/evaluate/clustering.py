"""Leiden clusters of an embedding, as scanpy's users get them by default.

15 nearest neighbours (exact; the cell itself counted), UMAP's fuzzy weights, Leiden by igraph with two iterations.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors

from sailerx.errors import InputError
from sailerx.kernels.threads import torch_threads_kept

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
    Symmetric weights between 0 and 1, cells × cells, computed by umap-learn.

    Raises
    ------
    InputError
        If umap-learn is missing.

    Source: McInnes et al. 2018, arXiv 1802.03426.
    """
    fuzzy_simplicial_set = _umap_graph()
    k = min(n_neighbors, len(z)) - 1
    distance, near = NearestNeighbors(n_neighbors=k, metric=metric).fit(z).kneighbors()
    itself = np.arange(len(z))[:, None]
    with warnings.catch_warnings(), torch_threads_kept():
        warnings.simplefilter("ignore")
        graph = fuzzy_simplicial_set(
            sp.coo_matrix((len(z), 1)),  # of which only the number of rows is used
            k + 1,
            random_state=None,
            metric=None,
            knn_indices=np.hstack([itself, near]),
            knn_dists=np.hstack([np.zeros_like(distance[:, :1]), distance]),
        )[0]
    return sp.csr_matrix(graph)


def _umap_graph() -> Callable[..., Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # umap tells at import that optional TensorFlow is missing
            from umap.umap_ import fuzzy_simplicial_set
    except ImportError as error:
        raise InputError("Clustering needs umap-learn: pip install 'sailerx[metrics]'.") from error
    return fuzzy_simplicial_set


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

    Raises
    ------
    InputError
        If igraph is missing.
    """
    try:
        import igraph
    except ImportError as error:
        raise InputError("Clustering needs the package igraph: pip install 'sailerx[metrics]'.") from error
    upper = sp.triu(graph, k=1, format="coo")
    network = igraph.Graph(n=graph.shape[0], edges=np.column_stack([upper.row, upper.col]))
    igraph.set_random_number_generator(random.Random(seed))
    try:
        found = network.community_leiden(
            objective_function="modularity", weights=upper.data, resolution=resolution, n_iterations=2
        )
    finally:
        igraph.set_random_number_generator(random)
    membership = np.asarray(found.membership)
    rank = np.argsort(np.argsort(-np.bincount(membership), kind="stable"))
    return rank[membership]


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
    graph = neighbor_graph(z, metric=metric)
    best = {"nmi": -1.0}
    for resolution in RESOLUTIONS:
        clusters = leiden(graph, resolution, seed=seed)
        nmi = float(normalized_mutual_info_score(labels, clusters))
        if nmi > best["nmi"]:
            ari = float(adjusted_rand_score(labels, clusters))
            best = {"ari": ari, "nmi": nmi, "resolution": resolution, "clusters": int(clusters.max()) + 1}
    return best
