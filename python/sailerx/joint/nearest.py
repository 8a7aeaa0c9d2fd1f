"""Nearest neighbours of cells among other cells."""

from __future__ import annotations

import numpy as np

#: distance below which two cells are one
_SAME = 1e-4


def nearest_others(known: np.ndarray, cells: np.ndarray, k: int) -> np.ndarray:
    """Find the k nearest known cells of each cell, nearest first; a cell that is one of them itself does not count.

    Parameters
    ----------
    known
        Known cells × dimensions, more than ``k``; if they are ``k``, all of them are neighbours.
    cells
        Cells × dimensions.
    k
        Number of neighbours.

    Returns
    -------
    Positions in ``known``, cells × k; neighbours are Euclidean and exact.
    """
    from sklearn.neighbors import NearestNeighbors  # takes a second to import

    finder = NearestNeighbors(n_neighbors=min(k + 1, len(known)), algorithm="brute").fit(known)
    distance, near = finder.kneighbors(cells)
    return near if len(known) <= k else np.where(distance[:, :1] <= _SAME, near[:, 1:], near[:, :-1])
