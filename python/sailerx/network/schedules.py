"""Loss weights (warm-up, KL annealing) and learning rate as pure functions of the epoch.

``epoch`` is a real number that starts at 0 with the warm-up: 3.5 is the middle of the fourth epoch.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

from torch import Tensor

from sailerx.config import Settings, known
from sailerx.network.decoder_prior import first_epoch_of_prior

#: a Python number; a 0-d tensor on the GPU while a CUDA graph is captured (`sailerx.training.cuda_graph`)
Number: TypeAlias = float | Tensor


class LossWeights(NamedTuple):
    """Factor of each loss term at one step."""

    reconstruction: Number  #: per cell, on the sum over peaks
    positive_weight: float  #: on open peaks within the reconstruction
    prior: Number  #: a, on KL[q(z|x) || N(0, I)]
    marginal: Number | None  #: a · lambda, on KL[q(z|x) || q(z)]; None = not part of the loss
    alignment: Number  #: gamma, on L_Local, the mean over pairs of cells
    weighted_cells: bool  #: whether L_Local uses the cells' weights w
    #: half of it on the spread of the decoder's last weights; None = not part of the loss
    decoder: float | None = None


def kl_annealing(epoch: float, settings: Settings) -> float:
    """Compute the annealing weight a: 0 in the warm-up; then 0 -> 1 over the first half of each cycle, 1 over the second."""
    t = epoch - settings.warmup_epochs
    if t < 0:
        return 0.0
    cycle = known(settings.max_epochs) if settings.kl_cycle_epochs is None else settings.kl_cycle_epochs
    return min(1.0, 2 * (t % cycle) / cycle) if cycle else 1.0


def loss_weights(epoch: float, settings: Settings, n_peaks: int) -> LossWeights:
    """Compute the factor of each loss term at this point of the run."""
    if epoch < settings.warmup_epochs:
        return LossWeights(
            reconstruction=settings.warmup_reconstruction / n_peaks,
            positive_weight=settings.warmup_positive_weight,
            prior=0.0,
            marginal=0.0 if settings.lambda_ else None,
            alignment=settings.warmup_gamma,
            weighted_cells=False,
        )
    a = kl_annealing(epoch, settings)
    return LossWeights(
        reconstruction=known(settings.reconstruction),
        positive_weight=1.0,
        prior=a,
        marginal=a * settings.lambda_ if settings.lambda_ else None,
        alignment=known(settings.gamma),
        weighted_cells=True,
        decoder=(settings.decoder_decay or None) if epoch >= first_epoch_of_prior(settings) else None,
    )


def learning_rate(epoch: float, settings: Settings) -> float:
    """Compute the learning rate: one-cycle over the whole run, or exponential decay per epoch after the warm-up."""
    peak = settings.learning_rate
    t = epoch - settings.warmup_epochs
    if settings.lr_schedule == "exponential":
        return peak if t < 0 else peak * settings.lr_decay ** math.floor(t)
    return peak * _one_cycle(epoch / settings.n_epochs)


def _one_cycle(progress: float, rise: float = 0.3, start: float = 0.04, end: float = 1e-3) -> float:
    """Follow a cosine from ``start`` up to 1 over the share ``rise`` of the run, then down to ``end`` (Smith & Topin 2018)."""
    if progress < rise:
        return start + (1 - start) * (1 - math.cos(math.pi * progress / rise)) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * (progress - rise) / (1 - rise))) / 2
