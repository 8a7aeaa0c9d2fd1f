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
    """Compute mean and standard deviation of q(z|x), each cells × latent, float32."""
    device = next(vae.parameters()).device
    chunks = torch.arange(x.shape[0]).split(_CELLS_AT_ONCE)
    parts = [vae.encode(open_peaks) for open_peaks in rows_of(x, device).minibatches(chunks)]
    mean = torch.cat([part.mean for part in parts]).cpu().numpy()
    return mean, torch.cat([part.stddev for part in parts]).cpu().numpy()


def embed(vae: VAE, x: Accessibility) -> np.ndarray:
    """Embed cells: posterior means scaled to unit length, cells × latent, float32.

    L_Local trains cosine similarities. Between rows of unit length, Euclidean and cosine neighbours are equal, so any
    distance a downstream tool uses fits the training.
    """
    return F.normalize(torch.from_numpy(posterior(vae, x)[0])).numpy()
