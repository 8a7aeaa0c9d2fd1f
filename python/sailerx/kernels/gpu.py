"""The kernels of a GPU: one batched product per layer, since a GPU wants few and large operations.

Chromosomes differ in their number of peaks, so their products cannot be one batch. Cut into tiles of equal width, the last tile
of each chromosome partly empty, they can. Products are in bfloat16 on a GPU, sums and weights in single precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from sailerx.data.accessibility import PeaksInMemory
from sailerx.kernels.open_peaks import OpenPeaks, PaddedRows, SparseRows

CAPTURES_STEPS = True

#: peaks per tile, where chromosomes are that large
WIDTH = 1024
#: bias of an empty place: its probability is 0, and so are its loss and its gradient
_NEVER = -1e4


def rows_on(x: PeaksInMemory, device: torch.device) -> PaddedRows:
    """x in lists of a length that the host knows, on the device."""
    return PaddedRows.of(SparseRows.of(x), device)


def permutation(n: int, generator: torch.Generator) -> Tensor:
    """By sorting random numbers, which a CUDA graph can capture; `torch.randperm` cannot be captured."""
    return torch.rand(n, generator=generator, device=generator.device).argsort()


def prelu(h: Tensor, slope: Tensor) -> Tensor:
    """PyTorch's."""
    return F.prelu(h, slope)


def product_dtype(tensor: Tensor) -> torch.dtype:
    """The type that products are computed in: bfloat16 on a GPU."""
    return torch.bfloat16 if tensor.is_cuda else tensor.dtype


# Tiles


@dataclass(frozen=True)
class Tiles:
    """Which peak lies in which tile. Built without a copy from the device to the host."""

    #: chromosome of each tile
    chrom: Int[Tensor, " tiles"]
    #: peak of each place; the number of peaks where the place is empty
    peak: Int[Tensor, "tiles width"]
    #: place of each peak, and one more entry for padding: the place behind the last tile
    place: Int[Tensor, " peaks_plus_1"]

    @classmethod
    def of(cls, chrom_of: Int[Tensor, " peaks"], n_chroms: int, width: int | None = None) -> Tiles:
        """Tiles of peaks that are sorted by chromosome; the last tiles may be empty."""
        device, n_peaks = chrom_of.device, len(chrom_of)
        width = width or min(WIDTH, max(64, 1 << (n_peaks // n_chroms).bit_length() >> 1))
        n_tiles = n_peaks // width + n_chroms  # an upper bound
        size = torch.zeros(n_chroms, dtype=torch.int64, device=device).index_add_(
            0, chrom_of, torch.ones_like(chrom_of)
        )
        tiles_up_to = ((size + width - 1) // width).cumsum(0)
        first_tile = tiles_up_to - (size + width - 1) // width
        rank = torch.arange(n_peaks, device=device) - (size.cumsum(0) - size)[chrom_of]
        place = first_tile[chrom_of] * width + rank
        peak = torch.full((n_tiles * width,), n_peaks, device=device)
        peak[place] = torch.arange(n_peaks, device=device)
        chrom = torch.searchsorted(tiles_up_to, torch.arange(n_tiles, device=device), right=True)
        place = torch.cat([place, place.new_full((1,), n_tiles * width)])
        return cls(chrom.clamp(max=n_chroms - 1), peak.view(n_tiles, width), place)

    def spread(
        self, values: Float[Tensor, "peaks ..."], empty: float = 0.0
    ) -> Float[Tensor, "tiles width ..."]:
        """Put the values of peaks at their places; empty places get ``empty``."""
        padded = torch.cat([values, values.new_full((1, *values.shape[1:]), empty)])
        return padded[self.peak]

    def gather(self, values: Float[Tensor, "tiles width ..."]) -> Float[Tensor, "peaks ..."]:
        """The inverse of `spread`."""
        return values.flatten(0, 1)[self.place[:-1]]

    def open_at(self, x: OpenPeaks) -> Int[Tensor, " ones"]:
        """Flat positions of open peaks in tiles × cells × width; padding lies in one tile behind them."""
        width = self.peak.shape[1]
        first = self.place // width * (x.n_cells * width) + self.place % width
        return first.index_select(0, x.peak) + x.cell * width

    def places(
        self, n_cells: int, dtype: torch.dtype
    ) -> tuple[Num[Tensor, "tiles cells width"], Num[Tensor, " positions"]]:
        """Uninitialised tiles × cells × width, and a flat view of it with one tile more for padding."""
        n_tiles, width = self.peak.shape
        with_padding = torch.empty(n_tiles + 1, n_cells, width, dtype=dtype, device=self.peak.device)
        return with_padding[:-1], with_padding.view(-1)

    def by_chrom(
        self, values: Float[Tensor, "tiles cells hidden"], n_chroms: int
    ) -> Float[Tensor, "chroms cells hidden"]:
        """Sums over the tiles of each chromosome, in at least single precision."""
        exact = torch.promote_types(values.dtype, torch.float32)
        total = torch.zeros(n_chroms, *values.shape[1:], dtype=exact, device=values.device)
        return total.index_add_(0, self.chrom, values.to(exact))


#: tiles by the tensor of chromosomes that they were made from, as long as that lives: all peaks have the same in every step
_tiles_by_chrom_of = WeakTensorKeyDictionary()


def _tiles_of(chrom_of: Tensor, n_chroms: int) -> Tiles:
    if chrom_of not in _tiles_by_chrom_of:
        _tiles_by_chrom_of[chrom_of] = Tiles.of(chrom_of, n_chroms)
    found: Tiles = _tiles_by_chrom_of[chrom_of]
    return found


# First layer


def sum_of_open(weight: Tensor, x: OpenPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
    """As a product of dense 0/1 tiles with the weights."""
    summed: Tensor = _SumOfOpen.apply(weight, x, _tiles_of(chrom_of, n_chroms), n_chroms)
    return summed


class _SumOfOpen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: OpenPeaks, tiles: Tiles, n_chroms: int) -> Tensor:
        ctx.dense, flat = tiles.places(x.n_cells, product_dtype(weight))
        flat.zero_().index_fill_(0, tiles.open_at(x), 1)
        ctx.tiles = tiles
        summed = torch.bmm(ctx.dense, tiles.spread(weight.to(ctx.dense.dtype)))
        return tiles.by_chrom(summed, n_chroms).transpose(0, 1).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        by_tile = grad.transpose(0, 1).to(ctx.dense.dtype)[ctx.tiles.chrom]
        return (
            ctx.tiles.gather(torch.bmm(ctx.dense.transpose(1, 2), by_tile)).to(grad.dtype),
            None,
            None,
            None,
        )


# Last layer


def peaks_nll(
    h: Tensor, weight: Tensor, bias: Tensor, chrom_of: Tensor, x: OpenPeaks, positive_weight: float
) -> Tensor:
    """All logits in half precision, which become their own gradient in place."""
    # autograd is always off inside the function
    wants_gradient = torch.is_grad_enabled()
    tiles = _tiles_of(chrom_of, h.shape[1])
    loss: Tensor = _PeaksNLL.apply(h, weight, bias, x, tiles, positive_weight, wants_gradient)
    return loss


class _PeaksNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        bias: Tensor,
        x: OpenPeaks,
        tiles: Tiles,
        positive_weight: float,
        wants_gradient: bool,
    ) -> Tensor:
        low = product_dtype(h)
        h_of, weight_of = h.transpose(0, 1).to(low)[tiles.chrom], tiles.spread(weight.to(low))
        bias_of = tiles.spread(bias.to(low), empty=_NEVER)[:, None]
        logits, flat = tiles.places(x.n_cells, low)
        torch.baddbmm(bias_of, h_of, weight_of.transpose(1, 2), out=logits)
        open_at = tiles.open_at(x)
        is_one, at_open = x.peak < x.n_peaks, flat.index_select(0, open_at).to(h.dtype)
        # each term is rounded to `low`, up as often as down; the sum is in single precision
        loss = F.softplus(logits).sum(dtype=h.dtype)
        of_open = -at_open
        if positive_weight != 1:
            of_open = of_open + (positive_weight - 1) * F.softplus(-at_open)
        loss = loss + torch.where(is_one, of_open, 0).sum()
        if not wants_gradient:
            return loss
        # d/dl = sigmoid(l) where a peak is closed, -p · sigmoid(-l) where it is open
        grad = logits.sigmoid_()
        closed = 1 - flat.index_select(0, open_at)
        flat.index_copy_(0, open_at, -positive_weight * closed)
        grad_h = tiles.by_chrom(torch.bmm(grad, weight_of), h.shape[1]).transpose(0, 1)
        grad_weight = tiles.gather(torch.bmm(grad.transpose(1, 2), h_of))
        grad_bias = tiles.gather(grad.sum(1, dtype=h.dtype))
        ctx.save_for_backward(grad_h.to(h.dtype), grad_weight.to(h.dtype), grad_bias)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return *(grad * grad_outputs[0] for grad in ctx.saved_tensors), None, None, None, None
