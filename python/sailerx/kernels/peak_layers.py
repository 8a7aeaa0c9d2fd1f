"""The encoder's first and the decoder's last layer on any device; `kernels_for` alone chooses between CPU and GPU kernels.

The first layer sums the weights of open peaks; the last gives one logit per cell and peak. Nearly all arithmetic of a training
step is here. `sailerx.kernels.cpu` and `sailerx.kernels.gpu` implement the functions below with equal signatures and, up to
rounding, equal results; the tests compare the two.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.data.accessibility import PeaksInMemory
from sailerx.kernels import cpu, gpu
from sailerx.kernels.open_peaks import DeviceRows, OpenPeaks


class Kernels(Protocol):
    """The interface of `sailerx.kernels.cpu` and `sailerx.kernels.gpu`, documented at the functions below."""

    #: whether training steps are captured as a CUDA graph (`sailerx.training.cuda_graph`)
    CAPTURES_STEPS: bool

    def rows_on(self, x: PeaksInMemory, device: torch.device) -> DeviceRows:
        """See the function below."""

    def sum_of_open(self, weight: Tensor, x: OpenPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
        """See the function below."""

    def peaks_nll(
        self, h: Tensor, weight: Tensor, bias: Tensor, chrom_of: Tensor, x: OpenPeaks, positive_weight: float
    ) -> Tensor:
        """See the function below."""

    def prelu(self, h: Tensor, slope: Tensor) -> Tensor:
        """See the function below."""

    def permutation(self, n: int, generator: torch.Generator) -> Tensor:
        """See the function below."""


def kernels_for(device: torch.device) -> Kernels:
    """Choose the kernels of a device: GPU kernels on CUDA, CPU kernels elsewhere."""
    return gpu if device.type == "cuda" else cpu


def captures_steps(device: torch.device) -> bool:
    """Tell whether training steps on this device are captured as a CUDA graph."""
    return kernels_for(device).CAPTURES_STEPS


def rows_on(x: PeaksInMemory, device: torch.device) -> DeviceRows:
    """Put x of all cells into the device's memory, in the form its kernels take."""
    return kernels_for(device).rows_on(x, device)


def sum_of_open(
    weight: Float[Tensor, "peaks hidden"], x: OpenPeaks, chrom_of: Int[Tensor, " peaks"], n_chroms: int
) -> Float[Tensor, "cells chroms hidden"]:
    """Multiply x and ``weight`` chromosome by chromosome: per cell and chromosome, sum the open peaks' rows.

    Parameters
    ----------
    weight
        Peaks × hidden.
    x
        Open peaks of the cells.
    chrom_of
        Chromosome of each peak, ascending.
    n_chroms
        Number of chromosomes.
    """
    return kernels_for(weight.device).sum_of_open(weight, x, chrom_of, n_chroms)


def peaks_nll(
    h: Float[Tensor, "cells chroms hidden"],
    weight: Float[Tensor, "peaks hidden"],
    bias: Float[Tensor, " peaks"],
    chrom_of: Int[Tensor, " peaks"],
    x: OpenPeaks,
    positive_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Compute -log p(x|z,c) from the input of the last layer, in nats, summed over cells and peaks.

    The logits of a mini-batch are by far the largest tensor of a step. They are never kept: they exist for one piece of a
    chromosome at a time (CPU) or in bfloat16 (GPU), and loss and gradient are computed together.

    Parameters
    ----------
    h
        Input of the decoder's last layer.
    weight, bias
        The last layer: the logit of peak j of chromosome k is ``h[:, k] @ weight[j] + bias[j]``.
    chrom_of
        Chromosome of each peak, ascending.
    x
        Open peaks of the cells in ``h``.
    positive_weight
        Factor on the terms of open peaks (1 = the Bernoulli likelihood).
    """
    return kernels_for(h.device).peaks_nll(h, weight, bias, chrom_of, x, positive_weight)


def prelu(
    h: Float[Tensor, "cells groups features"], slope: Float[Tensor, " slopes"]
) -> Float[Tensor, "cells groups features"]:
    """Apply PReLU: ``h`` where it is positive, else ``slope`` × ``h``, with one slope per group or one for all."""
    return kernels_for(h.device).prelu(h, slope)


def permutation(n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """Draw 0 to n - 1 in random order, on the generator's device."""
    return kernels_for(generator.device).permutation(n, generator)
