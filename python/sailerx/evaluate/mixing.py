"""How far batches mix and cell types stay apart, by scib-metrics: ``pip install "sailerx[scib]"``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from sailerx.errors import InputError

#: of each cell, itself counted, whose batches or types are looked at
N_MIXED = 90
#: of each cell, itself counted, in the graph whose pieces are counted
N_CONNECTED = 15

Labels = Sequence | pd.Series | np.ndarray


def ilisi(embedding: np.ndarray, batch: Labels, *, n_neighbors: int = N_MIXED) -> float:
    """How well batches mix: the median effective number of batches among a cell's neighbours, scaled to 0 (none) to 1.

    1 needs all batches in equal numbers around every cell: where they differ in size or in cell types, the best is lower.
    Source: Korsunsky et al. 2019 (LISI), scaled as by Luecken et al. 2022 (scIB).

    Parameters
    ----------
    embedding
        Cells × dimensions; Euclidean neighbours.
    batch
        Batch, set or sample of each cell.
    n_neighbors
        Neighbours of each cell, weighted by a perplexity of a third of them.

    Raises
    ------
    InputError
        If the lengths differ, fewer than two batches are there, or scib-metrics is missing.
    """
    return _on_neighbors("ilisi_knn", embedding, "batch", batch, n_neighbors)


def clisi(embedding: np.ndarray, labels: Labels, *, n_neighbors: int = N_MIXED) -> float:
    """How well cell types stay apart: as `ilisi` for cell types, turned round, so 1 is one type around every cell.

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
    """Whether each cell type is in one piece: share of its cells in the largest, mean over types; 1 is best.

    Source: Luecken et al. 2022 (scIB); pieces are strongly connected components of the graph of nearest neighbours.

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
        raise InputError("this score needs scib-metrics: pip install 'sailerx[scib]'") from error
    return getattr(scib_metrics, measure), NeighborsResults
