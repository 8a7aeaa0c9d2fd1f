"""What a trained network says about cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from sailerx.model import VAE
from sailerx.objective import rows_of
from sailerx.on_disk import Accessibility

_CELLS_AT_ONCE = 1024


@torch.no_grad()
def posterior(vae: VAE, x: Accessibility) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of q(z|x), each cells × latent, float32. No confounder is given."""
    device = next(vae.parameters()).device
    batches = torch.arange(x.shape[0]).split(_CELLS_AT_ONCE)
    parts = [vae.encode(cells) for cells in rows_of(x, device).minibatches(batches)]
    mean = torch.cat([part.mean for part in parts]).cpu().numpy()
    return mean, torch.cat([part.stddev for part in parts]).cpu().numpy()


def embed(vae: VAE, x: Accessibility) -> np.ndarray:
    """Embedding of cells: posterior means scaled to unit length, cells × latent, float32.

    L_Local shapes cosine similarities. On rows of unit length Euclidean neighbours are cosine neighbours, so whatever
    distance a tool uses, it sees what was trained.
    """
    return F.normalize(torch.from_numpy(posterior(vae, x)[0])).numpy()


def in_known_order(x: Accessibility, peaks: pd.DataFrame, known: pd.DataFrame) -> tuple[Accessibility, int]:
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
    return x.with_peaks(column_of), int((column_of < 0).sum())


def _key(table: pd.DataFrame, other: pd.DataFrame) -> pd.Index:
    if len(table.columns) and len(other.columns):
        return pd.MultiIndex.from_frame(table[["chrom", "start", "end"]])
    return table.index
