"""Layers with separate weights per chromosome.

Only the two layers next to the peaks differ in size between chromosomes. All layers between them work on one tensor with a
chromosome axis, so that a step runs few and large operations.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sailerx.data.atac_scores import AtacScores
from sailerx.data.peaks import Blocks
from sailerx.kernels import peak_layers
from sailerx.kernels.open_peaks import OpenPeaks


def _uniform(bound: Tensor | float, *shape: int, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter((torch.rand(*shape, generator=generator) * 2 - 1) * bound)


def _chrom_of(blocks: Blocks) -> Int[Tensor, " peaks"]:
    return torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor([b - a for a, b in blocks]))


def _per_peak(blocks: Blocks, bound_of: list[float]) -> Float[Tensor, "peaks 1"]:
    return torch.cat([torch.full((b - a, 1), bound) for (a, b), bound in zip(blocks, bound_of, strict=True)])


class PeaksToChromosomes(nn.Module):
    """The encoder's first layer: one linear layer per chromosome, from its peaks to ``n_out`` features.

    With ``share``, the input is 1,000 · x / depth instead of x, so that the output does not grow with depth.
    """

    chrom_of: Tensor

    def __init__(
        self, blocks: Blocks, n_out: int, generator: torch.Generator, *, share: bool = False
    ) -> None:
        super().__init__()
        self.blocks, self.share = blocks, share
        sizes = [b - a for a, b in blocks]
        xavier = _per_peak(blocks, [math.sqrt(6 / (n + n_out)) for n in sizes])
        self.weight = _uniform(xavier, blocks[-1][1], n_out, generator=generator)
        fan_in = torch.tensor([[1 / math.sqrt(n)] for n in sizes])
        self.bias = _uniform(fan_in, len(blocks), n_out, generator=generator)
        self.register_buffer("chrom_of", _chrom_of(blocks), persistent=False)

    @torch.no_grad()
    def start_from(self, directions: Float[Tensor, "peaks directions"]) -> None:
        """Replace the weights of the first outputs by ``directions``, scaled per chromosome to their standard deviation."""
        for a, b in self.blocks:
            own = directions[a:b]
            if own.numel() and (size := own.square().mean().sqrt()) > 0:
                self.weight[a:b, : own.shape[1]] = own * (self.weight[a:b].std(correction=0) / size)

    def forward(self, x: OpenPeaks) -> Float[Tensor, "cells chroms hidden"]:
        """Sum per cell and chromosome the weights of its open peaks, and add the bias."""
        h = peak_layers.sum_of_open(self.weight, x, self.chrom_of, len(self.blocks))
        if self.share:
            h = h * (1000 / x.depth.clamp(min=1))[:, None, None]
        return h + self.bias


class LastLayer(NamedTuple):
    """Weights of the decoder's last layer, of all peaks or of some."""

    weight: Float[Tensor, "peaks hidden"]
    bias: Float[Tensor, " peaks"]
    chrom_of: Int[Tensor, " peaks"]


class ChromosomesToPeaks(nn.Module):
    """The decoder's last layer: one linear layer per chromosome, to the logits of its peaks."""

    chrom_of: Tensor

    def __init__(self, blocks: Blocks, n_in: int, generator: torch.Generator) -> None:
        super().__init__()
        self.blocks = blocks
        n_peaks = blocks[-1][1]
        xavier = _per_peak(blocks, [math.sqrt(6 / (b - a + n_in)) for a, b in blocks])
        self.weight = _uniform(xavier, n_peaks, n_in, generator=generator)
        self.bias = _uniform(1 / math.sqrt(n_in), n_peaks, generator=generator)
        self.register_buffer("chrom_of", _chrom_of(blocks), persistent=False)

    @torch.no_grad()
    def start_from(self, frequency: Float[Tensor, " peaks"]) -> None:
        """Set each peak's bias to the logit of its frequency, the share of cells in which it is open (above 0, below 1)."""
        self.bias.copy_(frequency.logit())

    @property
    def sizes(self) -> list[int]:
        """Number of peaks of each chromosome."""
        return [b - a for a, b in self.blocks]

    @torch.no_grad()
    def start_at_prior(self) -> None:
        """Set the weights to 0, so that peaks differ between cells only by what is learned."""
        self.weight.zero_()

    def forward(
        self, h: Float[Tensor, "cells chroms hidden"], peaks: Int[Tensor, " chosen"] | None = None
    ) -> Float[Tensor, "cells chosen"]:
        """Compute the logits of ``peaks`` (ascending positions); None for all peaks, in the order of x."""
        weight, bias, chrom_of = self.rows(peaks)
        sizes = torch.bincount(chrom_of, minlength=len(self.blocks)).tolist()
        parts = zip(bias.split(sizes), h.unbind(dim=1), weight.split(sizes), strict=True)
        return torch.cat([torch.addmm(bias, h_k, weight.T) for bias, h_k, weight in parts], dim=1)

    def rows(self, peaks: Int[Tensor, " chosen"] | None = None) -> LastLayer:
        """Select weights, bias and chromosome of ``peaks``; None for all peaks."""
        if peaks is None:
            return LastLayer(self.weight, self.bias, self.chrom_of)
        weight, bias = distinct_rows(self.weight, peaks), distinct_rows(self.bias, peaks)
        return LastLayer(weight, bias, self.chrom_of[peaks])


class PrivatePosterior(nn.Module):
    """The posterior of the private dimensions of z: linear in x / depth, fixed before training.

    A score of variance 1 of which a share r is signal says of the signal f ~ N(0, 1) that q(f | score) = N(sqrt(r) · score, 1 - r).
    Where r = 0 that is the prior.
    """

    loadings: Tensor
    centre: Tensor
    reliability: Tensor
    one_block: Tensor

    def __init__(self, n_peaks: int, n_private: int) -> None:
        super().__init__()
        self.register_buffer("loadings", torch.zeros(n_peaks, n_private))
        self.register_buffer("centre", torch.zeros(n_private))
        self.register_buffer("reliability", torch.zeros(n_private))
        self.register_buffer("one_block", torch.zeros(n_peaks, dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def start_from(self, scores: AtacScores) -> None:
        """Take loadings and reliability of the first dimensions from the scores; the others keep the prior."""
        k = min(len(scores.strength), len(self.centre))
        self.loadings[:, :k] = torch.from_numpy(scores.loadings[:, :k])
        self.centre[:k] = torch.from_numpy(scores.centre[:k])
        self.reliability[:k] = torch.from_numpy(scores.reliability[:k])

    def scores(self, x: OpenPeaks) -> Float[Tensor, "cells private"]:
        """Compute the scores of cells."""
        summed = peak_layers.sum_of_open(self.loadings, x, self.one_block, 1)[:, 0]
        return summed / x.depth.clamp(min=1)[:, None] - self.centre

    def forward(
        self, scores: Float[Tensor, "cells private"]
    ) -> tuple[Float[Tensor, "cells private"], Float[Tensor, "cells private"]]:
        """Compute mean and standard deviation of each cell."""
        std = (1 - self.reliability).sqrt()
        return self.reliability.sqrt() * scores, std.expand_as(scores)


class WithinChromosomes(nn.Module):
    """One linear layer per chromosome, from its ``n_in`` features to ``n_out`` features."""

    def __init__(self, n_chroms: int, n_in: int, n_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = _uniform(math.sqrt(6 / (n_in + n_out)), n_chroms, n_in, n_out, generator=generator)
        self.bias = _uniform(1 / math.sqrt(n_in), n_chroms, n_out, generator=generator)

    def forward(self, h: Float[Tensor, "cells chroms in"]) -> Float[Tensor, "cells chroms out"]:
        """Multiply all chromosomes in one batched product."""
        return torch.einsum("nki,kio->nko", h, self.weight) + self.bias


class NormActivation(nn.Module):
    """BatchNorm over the cells of a mini-batch, then PReLU with ``n_slopes`` slopes (one per group, or one for all)."""

    def __init__(self, n_groups: int, n_features: int, n_slopes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_groups * n_features)
        self.slope = nn.Parameter(torch.full((n_slopes,), 0.25))

    def forward(self, h: Float[Tensor, "cells groups features"]) -> Float[Tensor, "cells groups features"]:
        """Normalise each feature over cells, then activate; the shape stays."""
        return peak_layers.prelu(self.norm(h.flatten(1)).view_as(h), self.slope)


def distinct_rows(
    weight: Float[Tensor, "rows ..."], row: Int[Tensor, " chosen"]
) -> Float[Tensor, "chosen ..."]:
    """Index ``weight[row]`` without duplicates in ``row``, so that the backward pass copies instead of accumulating."""
    taken: Tensor = _DistinctRows.apply(weight, row)
    return taken


class _DistinctRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, row: Tensor) -> Tensor:
        ctx.save_for_backward(row)
        ctx.shape = weight.shape
        return weight[row]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (row,) = ctx.saved_tensors
        return grad_outputs[0].new_zeros(ctx.shape).index_copy_(0, row, grad_outputs[0]), None


def linear(n_in: int, n_out: int, generator: torch.Generator, *, xavier: bool) -> nn.Linear:
    """Make a linear layer whose weights are drawn from ``generator``: Xavier-uniform, or PyTorch's default."""
    with torch.random.fork_rng(devices=[]):  # draws nothing from the global generator
        layer = nn.Linear(n_in, n_out)
    bound = math.sqrt(6 / (n_in + n_out)) if xavier else 1 / math.sqrt(n_in)
    layer.weight = _uniform(bound, n_out, n_in, generator=generator)
    layer.bias = _uniform(1 / math.sqrt(n_in), n_out, generator=generator)
    return layer
