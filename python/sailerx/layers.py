"""Layers that are split by chromosome.

Only the two layers next to the peaks differ in size from one chromosome to the next; everything inside is one tensor
with a chromosome axis, so a step runs few and large operations.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sailerx import tiles
from sailerx.kernels import different_rows, prelu, sum_of_open
from sailerx.minibatch import OpenPeaks
from sailerx.tiles import TiledSumOfRows, tiles_of

#: start and end (exclusive) of each chromosome's peaks among the columns of x
Blocks = tuple[tuple[int, int], ...]


def _uniform(bound: Tensor | float, *shape: int, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter((torch.rand(*shape, generator=generator) * 2 - 1) * bound)


def _chrom_of(blocks: Blocks) -> Int[Tensor, " peaks"]:
    return torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor([b - a for a, b in blocks]))


def _per_peak(blocks: Blocks, bound_of: list[float]) -> Float[Tensor, "peaks 1"]:
    return torch.cat([torch.full((b - a, 1), bound) for (a, b), bound in zip(blocks, bound_of, strict=True)])


class PeaksToChromosomes(nn.Module):
    """One linear layer per chromosome from its peaks; their outputs are stacked along a chromosome axis.

    With ``share``, a cell's open peaks count 1 / depth each (times 1,000), so that depth cannot pass as a sum.
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
    def start_from(self, directions: Float[Tensor, "peaks some"]) -> None:
        """Let each chromosome's first outputs follow these directions, as large as the random weights that they replace."""
        for a, b in self.blocks:
            own = directions[a:b]
            if own.numel() and (size := own.square().mean().sqrt()) > 0:
                self.weight[a:b, : own.shape[1]] = own * (self.weight[a:b].std(correction=0) / size)

    def forward(self, x: OpenPeaks) -> Float[Tensor, "cells chroms hidden"]:
        """Block-diagonal product of x and the weights: per cell and chromosome the sum of its open peaks' weights."""
        K = len(self.blocks)
        if tiles.wanted(self.weight):
            h = TiledSumOfRows.apply(self.weight, x, tiles_of(self.chrom_of, K), K)
        else:
            h = sum_of_open(self.weight, x, self.chrom_of, K)
        if self.share:
            h = h * (1000 / x.depth.clamp(min=1))[:, None, None]
        return h + self.bias


class ChromosomesToPeaks(nn.Module):
    """One linear layer per chromosome to the logits of its peaks."""

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
        """Let the bias alone give each peak its share of open cells (between 0 and 1, both excluded)."""
        self.bias.copy_(frequency.logit())

    def forward(
        self, h: Float[Tensor, "cells chroms hidden"], peaks: Int[Tensor, " some"] | None = None
    ) -> Float[Tensor, "cells some"]:
        """Logits of all peaks in the order of the blocks, or of some, given by ascending position."""
        weight, bias, chrom_of = self.rows(peaks)
        sizes = torch.bincount(chrom_of, minlength=len(self.blocks)).tolist()
        parts = zip(bias.split(sizes), h.unbind(dim=1), weight.split(sizes), strict=True)
        return torch.cat([torch.addmm(bias, h_k, weight.T) for bias, h_k, weight in parts], dim=1)

    def rows(
        self, peaks: Int[Tensor, " some"] | None = None
    ) -> tuple[Float[Tensor, "some hidden"], Float[Tensor, " some"], Int[Tensor, " some"]]:
        """Weights, bias and chromosome of all peaks, or of some."""
        if peaks is None:
            return self.weight, self.bias, self.chrom_of
        return different_rows(self.weight, peaks), different_rows(self.bias, peaks), self.chrom_of[peaks]


class WithinChromosomes(nn.Module):
    """The same kind of linear layer inside every chromosome, each with its own weights."""

    def __init__(self, n_chroms: int, n_in: int, n_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = _uniform(math.sqrt(6 / (n_in + n_out)), n_chroms, n_in, n_out, generator=generator)
        self.bias = _uniform(1 / math.sqrt(n_in), n_chroms, n_out, generator=generator)

    def forward(self, h: Float[Tensor, "cells chroms in"]) -> Float[Tensor, "cells chroms out"]:
        """One batched product over chromosomes."""
        return torch.einsum("nki,kio->nko", h, self.weight) + self.bias


class NormActivation(nn.Module):
    """BatchNorm over the cells of a mini-batch, then PReLU with ``n_slopes`` slopes (one per chromosome, or one)."""

    def __init__(self, n_groups: int, n_features: int, n_slopes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_groups * n_features)
        self.slope = nn.Parameter(torch.full((n_slopes,), 0.25))

    def forward(self, h: Float[Tensor, "cells groups features"]) -> Float[Tensor, "cells groups features"]:
        """Normalised and activated, same shape."""
        return prelu(self.norm(h.flatten(1)).view_as(h), self.slope)


def linear(n_in: int, n_out: int, generator: torch.Generator, *, xavier: bool) -> nn.Linear:
    """A linear layer with weights from the generator: Xavier-uniform, or PyTorch's own default."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)  # nothing is drawn from the global generator
    bound = math.sqrt(6 / (n_in + n_out)) if xavier else 1 / math.sqrt(n_in)
    layer.weight = _uniform(bound, n_out, n_in, generator=generator)
    layer.bias = _uniform(1 / math.sqrt(n_in), n_out, generator=generator)
    return layer
