"""Operations whose stock gradient takes several times longer on a CPU than it needs to.

Each gives what PyTorch's own does; the tests hold them against it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def sum_of_rows(
    weight: Float[Tensor, "rows width"],
    row: Int[Tensor, " entries"],
    bag: Int[Tensor, " entries"],
    n_bags: int,
) -> Float[Tensor, "bags width"]:
    """For each bag the sum of its rows of ``weight``; entries are sorted by bag. A product with a sparse 0/1 matrix."""
    summed: Tensor = _SumOfRows.apply(weight, row, bag, n_bags)
    return summed


class _SumOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, row: Tensor, bag: Tensor, n_bags: int) -> Tensor:
        ctx.save_for_backward(row, bag)
        ctx.n_rows = len(weight)
        return _sum_of_rows(weight, row, bag, n_bags)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # the transposed product: for each row the sum of its bags' gradients
        row, bag = ctx.saved_tensors
        row, order = row.int().sort(stable=True)  # of half the width, numbers are sorted in half the time
        return _sum_of_rows(grad_outputs[0], bag[order], row, ctx.n_rows), None, None, None


def _sum_of_rows(weight: Tensor, row: Tensor, bag: Tensor, n_bags: int) -> Tensor:
    begin = torch.searchsorted(bag, torch.arange(n_bags, dtype=bag.dtype, device=bag.device))
    return F.embedding_bag(row, weight.contiguous(), begin, mode="sum")


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
