"""Operations whose stock gradient takes several times longer on a CPU than it needs to.

Each gives what PyTorch's own does; the tests hold them against it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.minibatch import OpenPeaks


def sum_of_open(
    weight: Float[Tensor, "peaks width"], x: OpenPeaks, chrom_of: Int[Tensor, " peaks"], n_chroms: int
) -> Float[Tensor, "cells chroms width"]:
    """For each cell and chromosome the sum of its open peaks' rows of ``weight``; peaks are sorted by chromosome."""
    summed: Tensor = _SumOfOpen.apply(weight, x, chrom_of, n_chroms)
    return summed


class _SumOfOpen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: OpenPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
        ctx.x, ctx.chrom_of = x, chrom_of
        first = torch.searchsorted(chrom_of, torch.arange(n_chroms))
        wanted = torch.arange(x.n_cells)[:, None] * x.n_peaks + first
        begin = torch.searchsorted(x.cell * x.n_peaks + x.peak, wanted.flatten())
        return _sums(weight.contiguous(), x.peak, begin).view(x.n_cells, n_chroms, weight.shape[1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # for each peak the sum of the gradients of its chromosome in the cells that have it open
        (grad,) = grad_outputs
        cell, peak, begin = ctx.x.by_peak
        row = cell * grad.shape[1] + ctx.chrom_of.int().index_select(0, peak)
        return _sums(grad.flatten(0, 1), row, begin[:-1]), None, None, None


def _sums(values: Tensor, row: Tensor, begin: Tensor) -> Tensor:
    """Sums of some rows of ``values``, a new one from each ``begin`` on. Numbers of half the width take less time."""
    return F.embedding_bag(row.int(), values, begin.int(), mode="sum")


def different_rows(weight: Float[Tensor, "rows ..."], row: Int[Tensor, " some"]) -> Float[Tensor, "some ..."]:
    """Some rows of ``weight``, none of them twice."""
    taken: Tensor = _DifferentRows.apply(weight, row)
    return taken


class _DifferentRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, row: Tensor) -> Tensor:
        ctx.save_for_backward(row)
        ctx.shape = weight.shape
        return weight[row]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (row,) = ctx.saved_tensors
        return grad_outputs[0].new_zeros(ctx.shape).index_copy_(0, row, grad_outputs[0]), None


def prelu(
    h: Float[Tensor, "cells groups features"], slope: Float[Tensor, " slopes"]
) -> Float[Tensor, "cells groups features"]:
    """``h`` where it is positive, else ``slope`` × ``h``; a slope for each group, or one for all."""
    if h.is_cuda:
        return F.prelu(h, slope)
    activated: Tensor = _PReLU.apply(h, slope)
    return activated


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(h, slope)
        return F.prelu(h, slope)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        h, slope = ctx.saved_tensors
        (grad,) = grad_outputs
        # each step is one pass that the processor does on many numbers at once; a choice by `where` is not
        by_group = h.clamp(max=0).mul_(grad).sum(dim=0).sum(dim=1)
        factor = (h > 0).to(grad.dtype)
        factor.mul_((1 - slope)[:, None]).add_(slope[:, None])
        return factor.mul_(grad), by_group if len(slope) > 1 else by_group.sum().view(1)
