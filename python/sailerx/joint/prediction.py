"""How much better nearest neighbours predict held-out molecules than the overall share of each feature does."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

#: candidate weights of the overall share p_j, relative to the neighbours' total count; the best score is used
SHRINKAGE = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_CELLS_AT_ONCE = 500


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
    cell, weight, p_j, p_near = [], [], [], []
    for first in range(0, len(near), _CELLS_AT_ONCE):
        chunk = near[first : first + _CELLS_AT_ONCE]
        rows, columns = (chunk >= 0).nonzero()[0], chunk[chunk >= 0]
        graph = sp.csr_matrix((np.ones(rows.size), (rows, columns)), (len(chunk), train.shape[0]))
        around = graph @ train
        total = np.maximum(np.asarray(around.sum(axis=1)).ravel(), 1)
        molecules = held[first : first + len(chunk)].tocoo()
        known = share[molecules.col] > 0
        i, j = molecules.row[known], molecules.col[known]
        cell.append(i + first)
        weight.append(molecules.data[known])
        p_j.append(share[j])
        p_near.append(np.asarray(around[i, j]).ravel() / total[i])
    c, w, overall, local = (np.concatenate(part) for part in (cell, weight, p_j, p_near))
    n_molecules = np.bincount(c, w, minlength=len(near))
    nats = (w * np.log((local + s * overall) / (1 + s) / overall) for s in SHRINKAGE)
    return np.bincount(c, max(nats, key=np.sum), minlength=len(near)), n_molecules
