"""How good an embedding is by labels, and what it still knows of depth and batch. Labels only report.

The clustering is what scanpy's users would get by default: 15 nearest neighbours (exact; the cell itself
counted), UMAP's fuzzy weights, Leiden by igraph with two iterations.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.linear_model import RidgeCV
from sklearn.metrics import (
    adjusted_rand_score,
    balanced_accuracy_score,
    normalized_mutual_info_score,
    silhouette_score,
)
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from sailerx.errors import InputError
from sailerx.mixing import clisi, graph_connectivity, ilisi
from sailerx.prediction import predictive_gain, split_counts

__all__ = [
    "batch_leakage",
    "best_clustering",
    "best_score",
    "chance_agreement",
    "clisi",
    "depth_leakage",
    "graph_connectivity",
    "ilisi",
    "knn_accuracy",
    "leiden",
    "leiden_clusters",
    "neighbor_agreement",
    "neighbor_graph",
    "predictive_gain",
    "score",
    "score_table",
    "split_counts",
]

N_NEIGHBORS = 15
RESOLUTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)
MIN_CELLS = 30  # a cell type needs as many to be asked for leakage
FOLDS = 5
#: how people write the names of scores
COLUMNS = {
    "ari": "ARI",
    "nmi": "NMI",
    "knn": "kNN accuracy",
    "silhouette": "silhouette",
    "depth_leakage": "depth leakage",
    "batch_leakage": "batch leakage",
    "clusters": "clusters",
    "metric": "metric",
}


def score(
    embedding: np.ndarray,
    labels: Sequence | pd.Series | np.ndarray,
    *,
    batch: Sequence | pd.Series | np.ndarray | None = None,
    depth: np.ndarray | None = None,
    drop: Sequence[str] = (),
    metric: str = "euclidean",
    seed: int = 0,
) -> dict[str, float]:
    """Score one embedding.

    Parameters
    ----------
    embedding
        Cells × dimensions.
    labels
        Cell type of each cell; cells without one are left out.
    batch
        Batch of each cell.
    depth
        ATAC depth of each cell, positive.
    drop
        Labels whose cells are left out.
    metric
        `"euclidean"` or `"cosine"`: of the neighbours that are clustered and that vote.
    seed
        Of Leiden.

    Returns
    -------
    `ari` and `nmi` of the Leiden clustering with the best NMI, its `resolution` and number of `clusters`;
    `silhouette` (Euclidean); `knn`, see `knn_accuracy`; with `depth` and `batch` also `depth_leakage` and
    `batch_leakage`, see there.

    Raises
    ------
    InputError
        If the lengths differ or fewer than two labels are left.
    """
    z, named = np.asarray(embedding, dtype=np.float32), pd.Series(np.asarray(labels, dtype=object))
    given = {"labels": named, "batch": batch, "depth": depth}
    for name, values in given.items():
        if values is not None and len(values) != len(z):
            raise InputError(
                f"`{name}` must have one value per cell: expected {len(z)}, found {len(values)}."
            )
    keep = (named.notna() & ~named.isin(list(drop))).to_numpy()
    z, kinds = z[keep], named[keep].astype(str).to_numpy(dtype=object)
    if len(set(kinds)) < 2:
        raise InputError(f"Scores need at least two cell types, found {sorted(set(kinds))}.")
    result = best_clustering(z, kinds, metric=metric, seed=seed)
    result["silhouette"] = float(silhouette_score(z, kinds, sample_size=min(5000, len(z)), random_state=0))
    result["knn"] = knn_accuracy(z, kinds, metric=metric)
    if depth is not None:
        result["depth_leakage"] = depth_leakage(z, kinds, np.asarray(depth)[keep])
    if batch is not None:
        result["batch_leakage"] = batch_leakage(z, kinds, np.asarray(batch)[keep].astype(str), metric=metric)
    return result


def score_table(
    embeddings: Mapping[str, np.ndarray], labels: Sequence | pd.Series | np.ndarray, **options
) -> pd.DataFrame:
    """Score several embeddings of the same cells; one row each, named as given. Options as in `score`."""
    return pd.DataFrame({name: score(z, labels, **options) for name, z in embeddings.items()}).T


def best_score(
    embedding: np.ndarray,
    labels: Sequence | pd.Series | np.ndarray,
    *,
    metrics: Sequence[str] = ("euclidean", "cosine"),
    **options: Any,
) -> dict[str, float | str]:
    """Scores by the metric of neighbours whose NMI is highest, which `metric` names. Options as in `score`."""
    rows = [score(embedding, labels, metric=metric, **options) | {"metric": metric} for metric in metrics]
    return max(rows, key=lambda row: row["nmi"])


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


def neighbor_graph(
    z: np.ndarray, *, metric: str = "euclidean", n_neighbors: int = N_NEIGHBORS
) -> sp.csr_matrix:
    """Fuzzy graph of exact nearest neighbours, weighted as UMAP does.

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
    Symmetric weights between 0 and 1, cells × cells: a + b − ab for the weights a and b of the two directions.
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


def neighbor_agreement(
    reference: np.ndarray, embedding: np.ndarray, *, n_neighbors: int = N_NEIGHBORS
) -> np.ndarray:
    """How many of each cell's nearest neighbours in one embedding are its nearest neighbours in another as well.

    Parameters
    ----------
    reference, embedding
        The same cells × dimensions each; neighbours are Euclidean and exact.
    n_neighbors
        Neighbours of each cell, itself not counted; fewer where there are fewer cells.

    Returns
    -------
    Share of each cell's neighbours, 0 to 1. By chance it is `chance_agreement`.

    Raises
    ------
    InputError
        If the two differ in cells, or there are fewer than three.
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
    """Mean `neighbor_agreement` of two embeddings that have nothing to do with each other."""
    return min(n_neighbors, n_cells - 1) / (n_cells - 1)


def knn_accuracy(z: np.ndarray, labels: np.ndarray, *, metric: str = "euclidean", folds: int = 3) -> float:
    """Balanced accuracy of a classifier by 15 nearest neighbours, cross-validated.

    Parameters
    ----------
    z
        Cells × dimensions.
    labels
        Cell type of each cell; types with fewer cells than folds are left out.
    metric
        As in `score`.
    folds
        Folds, stratified by cell type.

    Returns
    -------
    Mean over folds of the mean over types of the share of cells that get their own label.
    """
    names, counts = np.unique(labels, return_counts=True)
    keep = np.isin(labels, names[counts >= folds])
    k = min(N_NEIGHBORS, int(keep.sum() * (folds - 1) / folds))
    classifier = KNeighborsClassifier(k, metric=metric)
    scoring = "balanced_accuracy"
    return float(cross_val_score(classifier, z[keep], labels[keep], cv=folds, scoring=scoring).mean())


def depth_leakage(z: np.ndarray, labels: np.ndarray, depth: np.ndarray) -> float:
    """How much of the log depth within a cell type a ridge regression on the embedding predicts.

    Parameters
    ----------
    z
        Cells × dimensions.
    labels
        Cell type of each cell; types with fewer than 30 cells are left out.
    depth
        Depth of each cell, positive.

    Returns
    -------
    Cross-validated R², mean over types weighted by cells: 0 or below for nothing, 1 for all; NaN without a
    large enough type.
    """

    def r_squared(cells: np.ndarray) -> float:
        y = np.log(depth[cells])
        folds = KFold(FOLDS, shuffle=True, random_state=0)
        predicted = cross_val_predict(RidgeCV(np.logspace(-2, 4, 7)), _standardise(z[cells]), y, cv=folds)
        return 1 - ((y - predicted) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-12)

    return _mean_over_types(labels, r_squared)


def batch_leakage(
    z: np.ndarray, labels: np.ndarray, batch: np.ndarray, *, metric: str = "euclidean"
) -> float:
    """How far above chance a vote of 15 nearest neighbours of the same cell type knows a cell's batch.

    Parameters
    ----------
    z
        Cells × dimensions.
    labels
        Cell type of each cell; types with fewer than 30 cells are left out, as are batches with fewer than 5
        cells of a type.
    batch
        Batch of each cell.
    metric
        As in `score`.

    Returns
    -------
    (balanced accuracy − 1/B) / (1 − 1/B) with B batches, cross-validated, mean over types weighted by cells:
    0 for nothing, 1 for all; NaN without a large enough type.
    """

    def above_chance(cells: np.ndarray) -> float:
        names, counts = np.unique(batch[cells], return_counts=True)
        names = names[counts >= FOLDS]
        cells = cells[np.isin(batch[cells], names)]
        if len(names) < 2:
            return np.nan
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        k = min(N_NEIGHBORS, len(cells) * (FOLDS - 1) // FOLDS)
        predicted = cross_val_predict(
            KNeighborsClassifier(k, metric=metric), z[cells], batch[cells], cv=folds
        )
        chance = 1 / len(names)
        return (balanced_accuracy_score(batch[cells], predicted) - chance) / (1 - chance)

    return _mean_over_types(labels, above_chance)


def _standardise(z: np.ndarray) -> np.ndarray:
    return (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-12)


def _mean_over_types(labels: np.ndarray, measure: Callable[[np.ndarray], float]) -> float:
    """Mean of a measure over types of at least 30 cells, weighted by cells; types without a value left out."""
    cells = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    cells = [of for of in cells if len(of) >= MIN_CELLS]
    value, weight = np.array([measure(of) for of in cells]), np.array([len(of) for of in cells])
    known = ~np.isnan(value)
    return float(np.average(value[known], weights=weight[known])) if known.any() else float("nan")
