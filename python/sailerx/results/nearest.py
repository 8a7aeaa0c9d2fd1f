"""Nearest neighbours of cells among other cells."""

from __future__ import annotations

import numpy as np

from sailerx.joint.embedding import SAME


def nearest_others(known: np.ndarray, cells: np.ndarray, k: int) -> np.ndarray:
    """Find the k nearest known cells of each cell, nearest first; a cell that is one of them itself does not count.

    Parameters
    ----------
    known
        Known cells × dimensions, more than ``k``.
    cells
        Cells × dimensions.
    k
        Number of neighbours.

    Returns
    -------
    Positions in ``known``, cells × k; neighbours are Euclidean and exact.
    """
    from sklearn.neighbors import NearestNeighbors  # takes a second to import

    finder = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(known)
    distance, near = finder.kneighbors(cells)
    return np.where(distance[:, :1] <= SAME, near[:, 1:], near[:, :-1])
