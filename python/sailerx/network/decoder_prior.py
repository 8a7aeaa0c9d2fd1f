"""The prior of the decoder's last weights: as much variation between cells as the ATAC shows, before a network sees it.

The logit of peak j of chromosome k is h · w_j + b_j. With w_j ~ N(m_k, I / precision), it varies between cells by E|h|² / precision
beyond what all peaks of the chromosome have in common, such as depth, which the mean m_k is free to follow. How much it varies is
known before training, from the ATAC scores (`sailerx.data.atac_scores.AtacScores.variance_of_logits`); setting the two equal gives the
precision (empirical Bayes). The estimate of highest posterior density adds precision / (2 N) · sum |w_j - m_k|² to the mean loss of N
cells.

Without it, the decoder memorises the open peaks of single cells, and in sets of some thousand cells imputes worse than peak frequency.

It holds from the middle of a run on. Under the prior, features of rare types pay off only once they are there: with it from the start,
the network hardly learns them. So the first half learns features by likelihood alone; in the middle, `shrink_to_prior` takes the
weights to where the prior puts them, given these features, and the second half goes on from there.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from sailerx.config import Settings, known
from sailerx.data.atac_scores import AtacScores
from sailerx.network.layers import ChromosomesToPeaks
from sailerx.network.losses import chromosome_means

#: logits are taken to vary by this variance at least: there may be signal where no score is above noise
_LEAST_VARIANCE = 0.01
#: E[PReLU(u)²] of u ~ N(0, 1), with the slope that training starts from: batch normalisation and activation precede the last layer
_SQUARE_OF_FEATURE = (1 + 0.25**2) / 2


def with_decoder_decay(settings: Settings, scores: AtacScores | None, n_cells: int) -> Settings:
    """Replace ``decoder_decay`` = None by what the ATAC scores tell; without scores, by 0.

    Parameters
    ----------
    settings
        Settings of the run, after `Settings.for_data`.
    scores
        ATAC scores of the cells.
    n_cells
        N, number of cells.
    """
    if settings.decoder_decay is not None:
        return settings
    decay = 0.0
    if scores is not None:
        variance = max(scores.variance_of_logits, _LEAST_VARIANCE)
        precision = settings.n_hidden * _SQUARE_OF_FEATURE / variance
        decay = known(settings.reconstruction) * precision / n_cells
    return dataclasses.replace(settings, decoder_decay=decay)


def first_epoch_of_prior(settings: Settings) -> int:
    """Choose the epoch, from 0, whose loss is the first with the prior: in the middle, or 0 if the run may end before."""
    return 0 if settings.held_out_share else max(settings.warmup_epochs, settings.n_epochs // 2)


@torch.no_grad()
def shrink_to_prior(
    layer: ChromosomesToPeaks,
    covariance: Float[Tensor, "chroms hidden hidden"],
    frequency: Float[Tensor, " peaks"],
    reconstruction: float,
    decay: float,
) -> None:
    """Move each w_j, as learned without the prior, towards m_k by as much as the prior asks for, given what is known of it.

    Along d = w_j - m_k, the loss at m_k + s · d is reconstruction · f (1 - f) / 2 · dᵀ C d · (1 - s)² above its minimum at s = 1, to
    second order, and the prior adds decay / 2 · |d|² · s². The sum is lowest at s = i / (i + decay · |d|²), where
    i = reconstruction · f (1 - f) dᵀ C d.

    Parameters
    ----------
    layer
        The decoder's last layer, changed in place.
    covariance
        C, between the features h of cells.
    frequency
        f, share of cells in which each peak is open.
    reconstruction, decay
        Weights of the reconstruction and of the prior in the loss.
    """
    mean = chromosome_means(layer.weight, layer.chrom_of, len(layer.blocks))[layer.chrom_of]
    d = layer.weight - mean
    parts = zip(d.split(layer.sizes), covariance, strict=True)
    variance = torch.cat([((d_k @ c) * d_k).sum(dim=1) for d_k, c in parts])
    information = reconstruction * frequency * (1 - frequency) * variance
    asked = (information + decay * d.square().sum(dim=1)).clamp(min=torch.finfo(d.dtype).tiny)
    layer.weight.copy_(mean + (information / asked)[:, None] * d)
