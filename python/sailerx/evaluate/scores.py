"""Scores of an embedding against cell-type labels. They are for reports: training and settings never see labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import silhouette_score

from sailerx.errors import InputError
from sailerx.evaluate.clustering import best_clustering
from sailerx.evaluate.leakage import batch_leakage, depth_leakage
from sailerx.evaluate.neighbors import knn_accuracy

#: column names of the scores in tables
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
    """Score an embedding: clustering and neighbours against labels, leakage of depth and batch.

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
        Distance between neighbours, `"euclidean"` or `"cosine"`, for clustering, `knn` and `batch_leakage`.
    seed
        Seed of Leiden clustering.

    Returns
    -------
    `ari` and `nmi` of the Leiden clustering with the best NMI, its `resolution` and number of `clusters`;
    `silhouette` (Euclidean); `knn` (function `knn_accuracy`); with `depth`, `depth_leakage`; with `batch`,
    `batch_leakage`.

    Raises
    ------
    InputError
        If the lengths differ or fewer than two cell types are left.
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
        raise InputError(
            f"Scores need at least two cell types, found {sorted(set(kinds))}. Give other `labels` or `drop` fewer."
        )
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
    """Score several embeddings of one set of cells, one row each, by name. Options as for `score`."""
    return pd.DataFrame({name: score(z, labels, **options) for name, z in embeddings.items()}).T


def best_score(
    embedding: np.ndarray,
    labels: Sequence | pd.Series | np.ndarray,
    *,
    metrics: Sequence[str] = ("euclidean", "cosine"),
    **options: Any,
) -> dict[str, float | str]:
    """Score an embedding with each of ``metrics`` and keep the best NMI; `metric` names it. Options as for `score`."""
    rows = [score(embedding, labels, metric=metric, **options) | {"metric": metric} for metric in metrics]
    return max(rows, key=lambda row: row["nmi"])
