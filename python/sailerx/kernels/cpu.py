"""CPU kernels: Numba loops over pieces of a chromosome that fit into the cache, chromosomes in parallel threads.

Sums and weights are in float32. So are products, except in the last layer on processors that multiply bfloat16 at twice the speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sailerx.data.accessibility import PeaksInMemory
from sailerx.kernels.numba_loops import (
    add_rows,
    add_to_rows,
    first_from,
    logits_nll,
    logits_nll_bfloat16,
    prelu_gradient,
)
from sailerx.kernels.open_peaks import CsrPeaks, SparseRows
from sailerx.threads import share_out

CAPTURES_STEPS = False

#: peaks per piece in the first layer: 1,000 weight rows of 64 float32 take 256 kB of cache
_ROWS_PER_PIECE = 1000
#: cache for the logits (cells × peaks) of a piece of the last layer
_BYTES_OF_LOGITS = 1_000_000
#: multiplications in a piece's product from which bfloat16 is faster
_WORTH_BFLOAT16 = 2**20
#: bfloat16 pieces are as wide as a multiple of this: PyTorch compiles and keeps their products for each shape anew
_WIDTH = 64


@cache
def multiplies_bfloat16() -> bool:
    """Tell whether this processor has instructions for products of bfloat16."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16"))


def product_dtype(tensor: Tensor, n_multiplied: float) -> torch.dtype:
    """Choose the dtype of products of so many multiplications: bfloat16 where it is faster, else the tensor's own."""
    faster = n_multiplied >= _WORTH_BFLOAT16 and multiplies_bfloat16()
    return torch.bfloat16 if faster and tensor.dtype == torch.float32 else tensor.dtype


def rows_on(x: PeaksInMemory, device: torch.device) -> SparseRows:
    """Wrap x as tensors, without padding and without a copy."""
    return SparseRows.of(x)


def permutation(n: int, generator: torch.Generator) -> Tensor:
    """Draw by `torch.randperm`."""
    return torch.randperm(n, generator=generator)


# Pieces


@dataclass(frozen=True)
class Piece:
    """Consecutive peaks of one chromosome, from start to end (exclusive)."""

    chrom: int
    start: int
    end: int

    @property
    def n_peaks(self) -> int:
        """Number of peaks."""
        return self.end - self.start


def pieces(sizes: Sequence[int], largest: int) -> Iterator[Piece]:
    """Cut chromosomes of ``sizes`` peaks each into pieces of at most ``largest`` peaks."""
    first = 0
    for k, size in enumerate(sizes):
        n_pieces = max(1, math.ceil(size / max(1, largest)))
        n_peaks = max(1, math.ceil(size / n_pieces))
        for start in range(first, first + size, n_peaks):
            yield Piece(k, start, min(start + n_peaks, first + size))
        first += size


def by_chromosome(cut: Sequence[Piece]) -> list[list[Piece]]:
    """Group the pieces by chromosome, the chromosome with most peaks first."""
    groups = [list(group) for _, group in groupby(cut, lambda piece: piece.chrom)]
    return sorted(groups, key=lambda group: -sum(piece.n_peaks for piece in group))


# First layer


def sum_of_open(weight: Tensor, x: CsrPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
    """Add weight rows, `_ROWS_PER_PIECE` peaks at a time."""
    summed: Tensor = _SumOfOpen.apply(weight, x, chrom_of, n_chroms)
    return summed


class _SumOfOpen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: CsrPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
        sizes = torch.bincount(chrom_of, minlength=n_chroms).tolist()
        ctx.x, ctx.n_peaks = x, len(weight)
        ctx.chroms = by_chromosome(list(pieces(sizes, _ROWS_PER_PIECE)))
        summed = weight.new_zeros(x.n_cells, n_chroms, weight.shape[1])
        _for_open(ctx, add_rows, weight.detach().contiguous(), summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # row j: the sum over cells with peak j open of the gradient of j's chromosome
        grad = grad_outputs[0].contiguous()
        grad_weight = grad.new_zeros(ctx.n_peaks, grad.shape[2])
        _for_open(ctx, add_to_rows, grad_weight, grad)
        return grad_weight, None, None, None


def _for_open(ctx: Any, loop: Callable[..., None], rows: Tensor, sums: Tensor) -> None:
    """Run a Numba loop over every piece, on ``rows`` (peaks × hidden) and ``sums`` (cells × chroms × hidden)."""
    peak, begin = ctx.x.peak.numpy(), ctx.x.begin.numpy()
    of_peaks, of_cells = rows.numpy(), sums.numpy()

    def work(chroms: Iterator[list[Piece]]) -> None:
        for chrom in chroms:
            at = first_from(peak, begin, chrom[0].start)
            for piece in chrom:
                loop(of_peaks, peak, at, begin[1:], piece.end, of_cells, piece.chrom)

    share_out(ctx.chroms, work, len(peak) * rows.shape[1])


# Last layer


def peaks_nll(
    h: Tensor, weight: Tensor, bias: Tensor, chrom_of: Tensor, x: CsrPeaks, positive_weight: float
) -> Tensor:
    """Compute one piece's logits at a time and overwrite them with their gradient while they are in the cache."""
    sizes = torch.bincount(chrom_of, minlength=h.shape[1]).tolist()
    # asked here, because autograd is off inside `forward`
    wants_gradient = torch.is_grad_enabled()
    loss: Tensor = _PeaksNLL.apply(h, weight, bias, sizes, x, positive_weight, wants_gradient)
    return loss


class _PeaksNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        sizes: Sequence[int],
        x: CsrPeaks,
        positive_weight: float,
        wants_gradient: bool,
    ) -> Tensor:
        dtype = product_dtype(h, x.n_cells * weight.numel() / h.shape[1])
        at_once = _BYTES_OF_LOGITS // (max(1, x.n_cells) * dtype.itemsize)
        cut = list(pieces(sizes, at_once))
        chroms = by_chromosome(cut)
        largest = max(piece.n_peaks for piece in cut)
        by_chrom = h.transpose(0, 1).contiguous()
        grad_h, grad_weight, grad_bias = (
            torch.zeros_like(by_chrom),
            torch.empty_like(weight),
            torch.zeros_like(bias),
        )
        arithmetic, factor = (
            (_piece_in_bfloat16, by_chrom.bfloat16())
            if dtype == torch.bfloat16
            else (_piece_as_it_is, by_chrom)
        )
        peak, begin = x.peak.numpy(), x.begin.numpy()
        losses: dict[Piece, float] = {}

        def work(chroms: Iterator[list[Piece]]) -> None:
            buffer = h.new_empty(x.n_cells * (largest + _WIDTH), dtype=dtype)
            for chrom in chroms:
                at = first_from(peak, begin, chrom[0].start)
                for piece in chrom:
                    k, here = piece.chrom, slice(piece.start, piece.end)
                    layer = _LayerOfPiece(
                        factor[k], weight[here], bias[here], grad_h[k], grad_weight[here], grad_bias[here]
                    )
                    open_here = peak, at, begin[1:], piece.start, positive_weight
                    losses[piece] = arithmetic(layer, buffer, open_here, wants_gradient)

        share_out(chroms, work, x.n_cells * weight.numel())
        if wants_gradient:
            ctx.gradients = grad_h.transpose(0, 1), grad_weight, grad_bias
        return h.new_tensor(math.fsum(losses.values()))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # `forward` has computed the gradients of the loss; scaled in place and released, so that autograd does not
        # copy them
        gradients, ctx.gradients = ctx.gradients, None
        return *(gradient.mul_(grad_outputs[0]) for gradient in gradients), None, None, None, None


class _LayerOfPiece(NamedTuple):
    """What the last layer takes for the peaks of a piece, and where its gradients go."""

    h: Tensor
    weight: Tensor
    bias: Tensor
    grad_h: Tensor
    grad_weight: Tensor
    grad_bias: Tensor


def _piece_as_it_is(
    layer: _LayerOfPiece, buffer: Tensor, open_here: tuple[Any, ...], wants_gradient: bool
) -> float:
    """Sum the loss of a piece, and put or add its gradients to those of h, weight and bias; ``buffer`` takes its logits."""
    h, weight, bias, grad_h, grad_weight, grad_bias = layer
    logits = _matrix(buffer, len(h), len(weight))
    torch.addmm(bias, h, weight.T, out=logits)
    loss: float = logits_nll(logits.numpy(), *open_here, grad_bias.numpy())
    if wants_gradient:
        torch.mm(logits.T, h, out=grad_weight)
        grad_h.addmm_(logits, weight)
    return loss


def _piece_in_bfloat16(
    layer: _LayerOfPiece, buffer: Tensor, open_here: tuple[Any, ...], wants_gradient: bool
) -> float:
    """Do the same by products in bfloat16, in which h and ``buffer`` are; bias, loss and sums over cells and pieces are in float32."""
    h, weight, bias, grad_h, grad_weight, grad_bias = layer
    rounded = h.new_zeros(-(-len(weight) // _WIDTH) * _WIDTH, weight.shape[1])
    rounded[: len(weight)] = weight
    logits = _matrix(buffer, len(h), len(rounded))
    torch.mm(h, rounded.T, out=logits)
    bits = logits.view(torch.int16).numpy()
    loss: float = logits_nll_bfloat16(bits, bias.detach().numpy(), *open_here, grad_bias.numpy())
    if wants_gradient:
        # columns beyond the peaks stay 0, as in the product
        grad_weight.copy_((logits.T @ h)[: len(weight)])
        grad_h += logits @ rounded
    return loss


def _matrix(buffer: Tensor, n_rows: int, n_columns: int) -> Tensor:
    return buffer[: n_rows * n_columns].view(n_rows, n_columns)


# Activation


def prelu(h: Tensor, slope: Tensor) -> Tensor:
    """Apply PyTorch's PReLU, with a backward pass that reads h once."""
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
