"""The layers next to the peaks, the same for CPU and GPU. `kernels_for` is the one place that chooses between the two.

The first layer sums the weights of open peaks; the last gives one logit per cell and peak. They hold nearly all arithmetic of a
training step. `sailerx.kernels.cpu` and `sailerx.kernels.gpu` compute the functions below, with the same names, arguments and
results up to rounding; the tests hold one against the other.
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
    """What `sailerx.kernels.cpu` and `sailerx.kernels.gpu` have in common; the functions below say what each does."""

    #: whether training steps are captured as a CUDA graph (`sailerx.training.cuda_graph`)
    CAPTURES_STEPS: bool

    def rows_on(self, x: PeaksInMemory, device: torch.device) -> DeviceRows:
        """See below."""

    def sum_of_open(self, weight: Tensor, x: OpenPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
        """See below."""

    def peaks_nll(
        self, h: Tensor, weight: Tensor, bias: Tensor, chrom_of: Tensor, x: OpenPeaks, positive_weight: float
    ) -> Tensor:
        """See below."""

    def prelu(self, h: Tensor, slope: Tensor) -> Tensor:
        """See below."""

    def permutation(self, n: int, generator: torch.Generator) -> Tensor:
        """See below."""


def kernels_for(device: torch.device) -> Kernels:
    """The kernels of this device: GPU kernels on CUDA, CPU kernels elsewhere."""
    return gpu if device.type == "cuda" else cpu


def captures_steps(device: torch.device) -> bool:
    """Whether training steps on this device are captured as a CUDA graph."""
    return kernels_for(device).CAPTURES_STEPS


def rows_on(x: PeaksInMemory, device: torch.device) -> DeviceRows:
    """x of all cells in the device's memory, in the form that its kernels take."""
    return kernels_for(device).rows_on(x, device)


def sum_of_open(
    weight: Float[Tensor, "peaks hidden"], x: OpenPeaks, chrom_of: Int[Tensor, " peaks"], n_chroms: int
) -> Float[Tensor, "cells chroms hidden"]:
    """Block-diagonal product of x and ``weight``: per cell and chromosome the sum of the open peaks' rows.

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
    """Last layer and -log p(x|z,c) in one pass, in nats, summed over cells and peaks.

    The logits of a mini-batch are by far the largest tensor of a step. Here they exist for a few peaks at a time (CPU) or in
    half precision (GPU), and loss and gradient are computed together.

    Parameters
    ----------
    h
        The decoder's activations before its last layer.
    weight, bias
        The last layer: the logit of peak j of chromosome k is ``h[:, k] @ weight[j] + bias[j]``.
    chrom_of
        Chromosome of each peak, ascending.
    x
        Open peaks of the same cells.
    positive_weight
        Factor on the term of open peaks (1 = the Bernoulli likelihood).
    """
    return kernels_for(h.device).peaks_nll(h, weight, bias, chrom_of, x, positive_weight)


def prelu(
    h: Float[Tensor, "cells groups features"], slope: Float[Tensor, " slopes"]
) -> Float[Tensor, "cells groups features"]:
    """PReLU: ``h`` where it is positive, else ``slope`` × ``h``, with one slope per group or one for all."""
    return kernels_for(h.device).prelu(h, slope)


def permutation(n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """0 to n - 1 in random order, drawn on the generator's device."""
    return kernels_for(generator.device).permutation(n, generator)
