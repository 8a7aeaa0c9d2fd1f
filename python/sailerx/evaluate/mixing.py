"""Mixing of batches and separation of cell types, by scib-metrics: ``pip install "sailerx[scib]"``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from sailerx.errors import InputError

#: nearest neighbours per cell, itself included, for iLISI and cLISI
N_MIXED = 90
#: nearest neighbours per cell, itself included, for graph connectivity
N_CONNECTED = 15

Labels = Sequence | pd.Series | np.ndarray


def ilisi(embedding: np.ndarray, batch: Labels, *, n_neighbors: int = N_MIXED) -> float:
    """Measure how well batches mix (iLISI): median effective number of batches around a cell, scaled to 0 (one batch) to 1.

    1 needs all batches in equal numbers around every cell: if they differ in size or in cell types, the optimum is lower.
    Source: Korsunsky et al. 2019 (LISI), scaled as by Luecken et al. 2022 (scIB).

    Parameters
    ----------
    embedding
        Cells × dimensions; Euclidean neighbours.
    batch
        Batch, set or sample of each cell.
    n_neighbors
        Neighbours of each cell, weighted as in t-SNE with a third of ``n_neighbors`` as perplexity.

    Raises
    ------
    InputError
        If the lengths differ, there are fewer than two batches, or scib-metrics is missing.
    """
    return _on_neighbors("ilisi_knn", embedding, "batch", batch, n_neighbors)


def clisi(embedding: np.ndarray, labels: Labels, *, n_neighbors: int = N_MIXED) -> float:
    """Measure how well cell types stay apart (cLISI): as `ilisi` for cell types, reversed: 1 is one type around every cell.

    Parameters
    ----------
    embedding, n_neighbors
        As for `ilisi`.
    labels
        Cell type of each cell.

    Raises
    ------
    InputError
        As `ilisi` does.
    """
    return _on_neighbors("clisi_knn", embedding, "labels", labels, n_neighbors)


def graph_connectivity(embedding: np.ndarray, labels: Labels, *, n_neighbors: int = N_CONNECTED) -> float:
    """Measure whether each cell type is connected: share of its cells in its largest component, mean over types; 1 is best.

    Source: Luecken et al. 2022 (scIB); strongly connected components of the nearest-neighbour graph.

    Parameters
    ----------
    embedding, labels, n_neighbors
        As for `clisi`.

    Raises
    ------
    InputError
        As `ilisi` does.
    """
    return _on_neighbors("graph_connectivity", embedding, "labels", labels, n_neighbors)


def _on_neighbors(measure: str, embedding: np.ndarray, name: str, groups: Labels, n_neighbors: int) -> float:
    z, group = np.asarray(embedding, dtype=np.float32), np.asarray(groups).astype(str)
    if len(group) != len(z):
        raise InputError(f"`{name}` must have one value per cell: expected {len(z)}, found {len(group)}.")
    if len(set(group)) < 2:
        raise InputError(f"`{name}` must have at least two values, found {sorted(set(group))}.")
    compute, neighbors = _scib(measure)
    k = min(n_neighbors, len(z))
    distance, near = NearestNeighbors(n_neighbors=k).fit(z).kneighbors(z)
    return float(compute(neighbors(indices=near, distances=distance), group))


def _scib(measure: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import scib_metrics
            from scib_metrics.nearest_neighbors import NeighborsResults
    except ImportError as error:
        raise InputError("this score needs scib-metrics. Install it: pip install 'sailerx[scib]'") from error
    return getattr(scib_metrics, measure), NeighborsResults
