"""How much better nearest neighbours predict held-out molecules than the overall share of each feature does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from sailerx.compiled import compiled
from sailerx.threads import parts_of, share_out

#: candidate weights of the overall share p_j, relative to the neighbours' total count; the best score is used
SHRINKAGE = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def nats_of_neighbors(
    near: np.ndarray, train: sp.spmatrix, held: sp.spmatrix
) -> tuple[np.ndarray, np.ndarray]:
    """Sum log(p_ij / p_j) over the held-out molecules (feature j in cell i) of each cell.

    p_j is the share of feature j in all ``train`` counts, p_ij its share in the ``train`` counts of i's neighbours, shrunk towards
    p_j by the best of `SHRINKAGE`.

    Parameters
    ----------
    near
        Cells × neighbours: rows of ``train``, or -1 for none.
    train
        Counts that neighbours predict from, cells × features.
    held
        Counts to predict, one row per row of ``near``; molecules of features that ``train`` lacks do not count.

    Returns
    -------
    Nats and number of molecules of each cell.
    """
    train, held = (sp.csr_matrix(part, dtype=np.float64) for part in (train, held))
    share = np.asarray(train.sum(axis=0)).ravel() / train.sum()
    local, depth = np.zeros(held.nnz), np.asarray(train.sum(axis=1)).ravel()
    counts = train.indptr, train.indices, train.data

    def gather(parts: Iterator[range]) -> None:
        for part in parts:
            rows = slice(part.start, part.stop)
            ends = held.indptr[part.start : part.stop + 1]
            _gather(near[rows], *counts, ends, held.indices, train.shape[1], local)

    share_out(parts_of(len(near)), gather)
    total = np.where(near >= 0, depth[near], 0).sum(axis=1)
    cell = np.repeat(np.arange(held.shape[0]), np.diff(held.indptr))
    known = share[held.indices] > 0
    c, w, overall = cell[known], held.data[known], share[held.indices[known]]
    local = local[known] / np.maximum(total, 1)[c]
    n_molecules = np.bincount(c, w, minlength=len(near))
    nats = (w * np.log((local + s * overall) / (1 + s) / overall) for s in SHRINKAGE)
    return np.bincount(c, max(nats, key=np.sum), minlength=len(near)), n_molecules


@compiled
def _gather(
    near: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    data: np.ndarray,
    held_indptr: np.ndarray,
    held_indices: np.ndarray,
    n_features: int,
    local: np.ndarray,
) -> None:
    """Add up the counts of each row's neighbours at the features of its held-out molecules."""
    place = np.empty(n_features, np.int32)  # of each feature among the row's held-out molecules
    # one bit per feature, set for these: unlike `place` it stays in the cache, and most features of neighbours are none of these
    is_held = np.zeros(n_features // 32 + 1, np.uint32)
    for i in range(len(near)):
        first = held_indptr[i]
        for e in range(first, held_indptr[i + 1]):
            feature = np.uint32(held_indices[e])
            place[feature] = e
            is_held[feature >> np.uint32(5)] |= np.uint32(1) << (feature & np.uint32(31))
        for k in near[i]:
            if k >= 0:
                for e in range(indptr[k], indptr[k + 1]):
                    feature = np.uint32(indices[e])
                    if is_held[feature >> np.uint32(5)] >> (feature & np.uint32(31)) & np.uint32(1):
                        local[place[feature]] += data[e]
        for e in range(first, held_indptr[i + 1]):
            is_held[np.uint32(held_indices[e]) >> np.uint32(5)] = 0
