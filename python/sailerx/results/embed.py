"""Embedding of cells, and the posterior of z given their ATAC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from anndata import AnnData
from mudata import MuData

from sailerx.data.accessibility import Accessibility
from sailerx.data.counts import refuse_duplicates
from sailerx.minibatches.loader import rows_of
from sailerx.network.vae import VAE
from sailerx.results.trained import TrainedModel, atac_of

_CELLS_AT_ONCE = 1024


@torch.no_grad()
def posterior(vae: VAE, x: Accessibility) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of q(z|x), each cells × latent, float32."""
    device = next(vae.parameters()).device
    chunks = torch.arange(x.shape[0]).split(_CELLS_AT_ONCE)
    parts = [vae.encode(open_peaks) for open_peaks in rows_of(x, device).minibatches(chunks)]
    mean = torch.cat([part.mean for part in parts]).cpu().numpy()
    return mean, torch.cat([part.stddev for part in parts]).cpu().numpy()


def unit_mean(vae: VAE, x: Accessibility) -> np.ndarray:
    """Compute posterior means scaled to unit length, cells × latent, float32.

    L_Local trains cosine similarities. Between rows of unit length, Euclidean and cosine neighbours are equal, so any
    distance a downstream tool uses fits the training.
    """
    return F.normalize(torch.from_numpy(posterior(vae, x)[0])).numpy()


def embed(model: TrainedModel, data: MuData | AnnData) -> Embedded:
    """Embed the ATAC cells of the data: by RNA and ATAC where a cell has both, else by ATAC alone.

    Without a joint embedding (the paper's preset), rows are those of `unit_mean`.
    """
    x = model.accessibility(data)
    if model.joint is None:
        z = unit_mean(model.vae, x)
        return Embedded(z, np.zeros(len(z), bool), np.ones(len(z), np.float32))
    g, has_rna = rna_of(model, data) if len(model.joint.anchors) else (None, np.zeros(x.shape[0], bool))
    rows = model.joint.rows(x, g, has_rna)
    return Embedded(rows, has_rna, model.joint.atac_weight(rows).astype(np.float32))


@dataclass(frozen=True)
class Embedded:
    """Rows of the embedding, cells × dimensions, float32; which cells' RNA was used; ATAC's share of each row's squared length."""

    rows: np.ndarray
    has_rna: np.ndarray
    atac_weight: np.ndarray


def rna_of(model: TrainedModel, data: MuData | AnnData) -> tuple[np.ndarray | None, np.ndarray]:
    """Make the RNA reference of those of the data's ATAC cells that have RNA (None if none has); also which these are."""
    cells, name = atac_of(data, model.record["atac"]).obs_names, model.record["rna"]
    none = None, np.zeros(len(cells), bool)
    if isinstance(data, AnnData) or name not in data.mod or model.reference is None:
        return none
    r = data.mod[name]
    refuse_duplicates(r.obs_names, "barcodes", name)
    row_of = r.obs_names.get_indexer(cells)
    has_rna = row_of >= 0
    if not has_rna.any():
        return none
    width = model.joint.anchor_g.shape[1] if model.joint is not None and len(model.joint.anchors) else 0
    return model.reference.of(r, name, row_of[has_rna], width), has_rna
