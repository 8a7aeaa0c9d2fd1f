"""Embedding of cells: the posterior of z given their ATAC."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from sailerx.data.accessibility import Accessibility
from sailerx.minibatches.loader import rows_of
from sailerx.network.vae import VAE

_CELLS_AT_ONCE = 1024


@torch.no_grad()
def posterior(vae: VAE, x: Accessibility) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of q(z|x), each cells × latent, float32. No confounder is given."""
    device = next(vae.parameters()).device
    batches = torch.arange(x.shape[0]).split(_CELLS_AT_ONCE)
    parts = [vae.encode(open_peaks) for open_peaks in rows_of(x, device).minibatches(batches)]
    mean = torch.cat([part.mean for part in parts]).cpu().numpy()
    return mean, torch.cat([part.stddev for part in parts]).cpu().numpy()


def embed(vae: VAE, x: Accessibility) -> np.ndarray:
    """Embedding of cells: posterior means scaled to unit length, cells × latent, float32.

    L_Local shapes cosine similarities. On rows of unit length Euclidean neighbours are cosine neighbours, so whatever
    distance a tool uses, it sees what was trained.
    """
    return F.normalize(torch.from_numpy(posterior(vae, x)[0])).numpy()
