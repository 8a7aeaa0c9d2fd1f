"""Operations whose stock gradient takes several times longer on a CPU than it needs to.

Each gives what PyTorch's own does; the tests hold them against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.compiled import add_rows, add_to_rows, prelu_gradient
from sailerx.minibatch import OpenPeaks
from sailerx.pieces import by_chromosome, open_by_piece, pieces
from sailerx.threads import share_out

#: rows of a weight that are worked on at a time: 64 numbers each, they take 256 kB of cache
_ROWS_AT_ONCE = 1000


def sum_of_open(
    weight: Float[Tensor, "peaks width"], x: OpenPeaks, chrom_of: Int[Tensor, " peaks"], n_chroms: int
) -> Float[Tensor, "cells chroms width"]:
    """For each cell and chromosome the sum of its open peaks' rows of ``weight``; peaks are sorted by chromosome."""
    summed: Tensor = _SumOfOpen.apply(weight, x, chrom_of, n_chroms)
    return summed


class _SumOfOpen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: OpenPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
        ctx.x, ctx.cut = x, list(pieces(torch.bincount(chrom_of, minlength=n_chroms).tolist(), _ROWS_AT_ONCE))
        ctx.open_in, ctx.n_peaks = open_by_piece(x, ctx.cut), len(weight)
        summed = weight.new_zeros(x.n_cells, n_chroms, weight.shape[1])
        _for_open(ctx, add_rows, weight.detach().contiguous(), summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # for each peak the sum of the gradients of its chromosome in the cells that have it open
        grad = grad_outputs[0].contiguous()
        grad_weight = grad.new_zeros(ctx.n_peaks, grad.shape[2])
        _for_open(ctx, add_to_rows, grad_weight, grad)
        return grad_weight, None, None, None


def _for_open(ctx: Any, kernel: Callable[..., None], rows: Tensor, sums: Tensor) -> None:
    """Apply the kernel to the rows of open peaks and the sums that they are in."""
    peak = ctx.x.peak.numpy()

    def work(chroms: Iterator[list[int]]) -> None:
        for i in chain.from_iterable(chroms):
            open_here = peak, ctx.open_in[i], ctx.open_in[i + 1]
            kernel(rows.numpy(), *open_here, sums.numpy(), ctx.cut[i].chrom)

    share_out(by_chromosome(ctx.cut), work)


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
        grad_h, grad_slope = torch.empty(h.shape, dtype=h.dtype), torch.zeros_like(slope)
        arrays = (t.contiguous().numpy() for t in (h, slope, grad))
        prelu_gradient(*arrays, grad_h.numpy(), grad_slope.numpy())
        return grad_h, grad_slope
