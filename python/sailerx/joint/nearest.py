"""Nearest neighbours of cells among other cells."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: pairs of cells up to which their distances are all computed here, because importing scikit-learn takes longer
_FEW = 10_000_000
#: distance below which two cells are one
_SAME = 1e-4


def nearest(known: np.ndarray, cells: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest known cells of each cell, nearest first: Euclidean and exact.

    Parameters
    ----------
    known
        Known cells × dimensions, at least ``k``.
    cells
        Cells × dimensions.
    k
        Number of neighbours.

    Returns
    -------
    Distances, and positions in ``known``, each cells × k.
    """
    if len(known) * len(cells) <= _FEW:
        return _nearest_of_few(torch.from_numpy(known).double(), torch.from_numpy(cells).double(), k)
    from sklearn.neighbors import NearestNeighbors

    distance, near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(known).kneighbors(cells)
    return distance, near


def _nearest_of_few(known: Tensor, cells: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    square = torch.addmm((known**2).sum(dim=1), cells, known.T, alpha=-2) + (cells**2).sum(dim=1)[:, None]
    found = square.clamp(min=0).topk(k, largest=False)
    return found.values.sqrt().numpy(), found.indices.numpy()


def without_own(near: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Drop each cell from its own neighbours; where it is not among them, the last one.

    Parameters
    ----------
    near
        Neighbours of each cell, cells × neighbours.
    own
        Position of each cell among those that are neighbours.
    """
    is_own = near == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return near[~is_own].reshape(len(near), -1)


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
    distance, near = nearest(known, cells, min(k + 1, len(known)))
    return near if len(known) <= k else np.where(distance[:, :1] <= _SAME, near[:, 1:], near[:, :-1])
