"""The kernels of a CPU: Numba loops over pieces of peaks that fit its cache, chromosomes side by side in threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from sailerx.data.accessibility import PeaksInMemory
from sailerx.kernels.numba_loops import add_rows, add_to_rows, first_open, logits_nll, prelu_gradient
from sailerx.kernels.open_peaks import OpenPeaks, SparseRows
from sailerx.kernels.threads import share_out

CAPTURES_STEPS = False

#: rows of a weight per piece: 64 numbers each, they take 256 kB of cache
_ROWS_PER_PIECE = 1000
#: logits (cells × peaks) per piece: in single precision they take 1 MB of cache
_LOGITS_PER_PIECE = 250_000


def rows_on(x: PeaksInMemory, device: torch.device) -> SparseRows:
    """x without padding, and without a copy."""
    return SparseRows.of(x)


def permutation(n: int, generator: torch.Generator) -> Tensor:
    """By `torch.randperm`."""
    return torch.randperm(n, generator=generator)


# Pieces


@dataclass(frozen=True)
class Piece:
    """Neighbouring peaks of one chromosome, from start to end (exclusive)."""

    chrom: int
    start: int
    end: int

    @property
    def n_peaks(self) -> int:
        """Number of peaks."""
        return self.end - self.start


def pieces(sizes: Sequence[int], largest: int) -> Iterator[Piece]:
    """Chromosomes with these numbers of peaks, cut into pieces of at most ``largest`` peaks."""
    first = 0
    for k, size in enumerate(sizes):
        n_pieces = max(1, math.ceil(size / max(1, largest)))
        n_peaks = max(1, math.ceil(size / n_pieces))
        for start in range(first, first + size, n_peaks):
            yield Piece(k, start, min(start + n_peaks, first + size))
        first += size


def open_by_piece(x: OpenPeaks, cut: Sequence[Piece]) -> Int[np.ndarray, "pieces_plus_1 cells"]:
    """Position in the lists of x at which each cell's open peaks in each piece begin; the next row is where they end."""
    firsts = np.array([*(piece.start for piece in cut), x.n_peaks])
    found: np.ndarray = first_open(x.peak.numpy(), x.begin.numpy(), firsts)
    return found


def by_chromosome(cut: Sequence[Piece]) -> list[list[int]]:
    """Numbers of the pieces of each chromosome, the chromosome with most peaks first."""
    groups = [list(numbers) for _, numbers in groupby(range(len(cut)), lambda i: cut[i].chrom)]
    return sorted(groups, key=lambda numbers: -sum(cut[i].n_peaks for i in numbers))


# First layer


def sum_of_open(weight: Tensor, x: OpenPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
    """By adding rows, some thousand peaks at a time."""
    summed: Tensor = _SumOfOpen.apply(weight, x, chrom_of, n_chroms)
    return summed


class _SumOfOpen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: OpenPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
        sizes = torch.bincount(chrom_of, minlength=n_chroms).tolist()
        ctx.x, ctx.cut = x, list(pieces(sizes, _ROWS_PER_PIECE))
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


def _for_open(ctx: Any, loop: Callable[..., None], rows: Tensor, sums: Tensor) -> None:
    """Run a Numba loop over every piece: ``rows`` are the peaks', ``sums`` the cells' and chromosomes'."""
    peak = ctx.x.peak.numpy()

    def work(chroms: Iterator[list[int]]) -> None:
        for i in chain.from_iterable(chroms):
            open_here = peak, ctx.open_in[i], ctx.open_in[i + 1]
            loop(rows.numpy(), *open_here, sums.numpy(), ctx.cut[i].chrom)

    share_out(by_chromosome(ctx.cut), work)


# Last layer


def peaks_nll(
    h: Tensor, weight: Tensor, bias: Tensor, chrom_of: Tensor, x: OpenPeaks, positive_weight: float
) -> Tensor:
    """Logits of one piece at a time, which become their own gradient in the cache."""
    sizes = torch.bincount(chrom_of, minlength=h.shape[1]).tolist()
    # autograd is always off inside the function
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
        x: OpenPeaks,
        positive_weight: float,
        wants_gradient: bool,
    ) -> Tensor:
        cut = list(pieces(sizes, _LOGITS_PER_PIECE // max(1, x.n_cells)))
        by_chrom = h.transpose(0, 1).contiguous()
        grad_h, grad_weight, grad_bias = (
            torch.zeros_like(by_chrom),
            torch.empty_like(weight),
            torch.zeros_like(bias),
        )
        peak, open_in = x.peak.numpy(), open_by_piece(x, cut)
        losses = [0.0] * len(cut)

        def work(chroms: Iterator[list[int]]) -> None:
            buffer = h.new_empty(x.n_cells * max(piece.n_peaks for piece in cut))
            for i in chain.from_iterable(chroms):
                k, here = cut[i].chrom, slice(cut[i].start, cut[i].end)
                logits = buffer[: x.n_cells * cut[i].n_peaks].view(x.n_cells, cut[i].n_peaks)
                torch.addmm(bias[here], by_chrom[k], weight[here].T, out=logits)
                open_here = peak, open_in[i], open_in[i + 1], cut[i].start
                losses[i] = logits_nll(logits.numpy(), *open_here, positive_weight, grad_bias[here].numpy())
                if wants_gradient:
                    torch.mm(logits.T, by_chrom[k], out=grad_weight[here])
                    grad_h[k].addmm_(logits, weight[here])

        share_out(by_chromosome(cut), work)
        if wants_gradient:
            ctx.gradients = grad_h.transpose(0, 1), grad_weight, grad_bias
        return h.new_tensor(math.fsum(losses))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # the gradient of a scalar was known up to a factor in `forward`; scaled in place and released, so that
        # autograd does not copy it
        gradients, ctx.gradients = ctx.gradients, None
        return *(gradient.mul_(grad_outputs[0]) for gradient in gradients), None, None, None, None


# Activation


def prelu(h: Tensor, slope: Tensor) -> Tensor:
    """PyTorch's, with a gradient in one pass."""
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
