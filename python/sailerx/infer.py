"""What a trained network says about cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from sklearn.preprocessing import normalize

from sailerx.minibatch import SparseRows
from sailerx.model import VAE

_CELLS_AT_ONCE = 1024


@torch.no_grad()
def posterior(vae: VAE, x: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of q(z|x), each cells × latent, float32. No confounder is given."""
    device = next(vae.parameters()).device
    rows = SparseRows.from_scipy(x, device)
    parts = [
        vae.encode(rows.take(some)) for some in torch.arange(x.shape[0], device=device).split(_CELLS_AT_ONCE)
    ]
    mean = torch.cat([part.mean for part in parts]).cpu().numpy()
    return mean, torch.cat([part.stddev for part in parts]).cpu().numpy()


def embed(vae: VAE, x: sp.csr_matrix) -> np.ndarray:
    """Embedding of cells: posterior means scaled to unit length, cells × latent, float32.

    L_Local shapes cosine similarities. On rows of unit length Euclidean neighbours are cosine neighbours, so whatever
    distance a tool uses, it sees what was trained.
    """
    return normalize(posterior(vae, x)[0])


def in_known_order(x: sp.csr_matrix, peaks: pd.DataFrame, known: pd.DataFrame) -> tuple[sp.csr_matrix, int]:
    """Columns of x in the order a model knows them.

    Parameters
    ----------
    x
        Cells × peaks.
    peaks
        The columns of x as a model's peak table: by coordinates where both have them, else by name.
    known
        The peak table of the model.

    Returns
    -------
    Cells × known peaks, zero where a known peak is not in x; and the number of known peaks that are missing.
    """
    column_of = _key(peaks, known).get_indexer(_key(known, peaks))
    there = column_of >= 0
    if there.all():
        return x[:, column_of], 0
    place = sp.csr_matrix(
        (np.ones(there.sum(), x.dtype), (column_of[there], np.flatnonzero(there))),
        shape=(x.shape[1], len(known)),
    )
    return sp.csr_matrix(x @ place), int((~there).sum())


def _key(table: pd.DataFrame, other: pd.DataFrame) -> pd.Index:
    if len(table.columns) and len(other.columns):
        return pd.MultiIndex.from_frame(table[["chrom", "start", "end"]])
    return table.index
