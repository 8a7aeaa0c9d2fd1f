"""GPU kernels: one batched matrix product (`torch.bmm`) per layer, because a GPU needs few and large operations.

Chromosomes differ in their number of peaks, so their products do not fit into one `bmm`. Therefore each chromosome is cut into
tiles of equal width, its last tile partly empty. On a GPU products are in bfloat16, sums and weights in float32.
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
from sailerx.kernels.open_peaks import PaddedPeaks, PaddedRows, SparseRows

CAPTURES_STEPS = True

#: largest number of peaks per tile; less where chromosomes are small
WIDTH = 1024
#: bias at an empty place of a tile: sigmoid, loss and gradient are 0 there
_NEVER = -1e4


def rows_on(x: PeaksInMemory, device: torch.device) -> PaddedRows:
    """Copy x to the device, as rows that give padded lists."""
    return PaddedRows.of(SparseRows.of(x), device)


def permutation(n: int, generator: torch.Generator) -> Tensor:
    """Sort random numbers, because a CUDA graph cannot capture `torch.randperm`."""
    return torch.rand(n, generator=generator, device=generator.device).argsort()


def prelu(h: Tensor, slope: Tensor) -> Tensor:
    """Apply PyTorch's PReLU."""
    return F.prelu(h, slope)


def product_dtype(tensor: Tensor) -> torch.dtype:
    """Choose the dtype of matrix products: bfloat16 on a GPU, else the tensor's own."""
    return torch.bfloat16 if tensor.is_cuda else tensor.dtype


# Tiles


@dataclass(frozen=True)
class Tiles:
    """The place of each peak in the tiles. Built on the device, without a copy to the host."""

    #: chromosome of each tile
    chrom: Int[Tensor, " tiles"]
    #: peak at each place; ``n_peaks`` where the place is empty
    peak: Int[Tensor, "tiles width"]
    #: place of each peak (tile · width + column); the last entry, for padding, is the place after all tiles
    place: Int[Tensor, " peaks_plus_1"]

    @classmethod
    def of(cls, chrom_of: Int[Tensor, " peaks"], n_chroms: int, width: int | None = None) -> Tiles:
        """Cut peaks that are sorted by chromosome into tiles; the last tiles may be empty."""
        device, n_peaks = chrom_of.device, len(chrom_of)
        width = width or min(WIDTH, max(64, 1 << (n_peaks // n_chroms).bit_length() >> 1))
        n_tiles = n_peaks // width + n_chroms  # an upper bound, known without asking the device
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
        """Arrange one value per peak as tiles × width; empty places get ``empty``."""
        padded = torch.cat([values, values.new_full((1, *values.shape[1:]), empty)])
        return padded[self.peak]

    def gather(self, values: Float[Tensor, "tiles width ..."]) -> Float[Tensor, "peaks ..."]:
        """Undo `spread`: one value per peak from tiles × width."""
        return values.flatten(0, 1)[self.place[:-1]]

    def open_at(self, x: PaddedPeaks) -> Int[Tensor, " ones"]:
        """Find the flat positions of open peaks in tiles × cells × width; padding goes to an extra last tile."""
        width = self.peak.shape[1]
        first = self.place // width * (x.n_cells * width) + self.place % width
        return first.index_select(0, x.peak) + x.cell * width

    def places(
        self, n_cells: int, dtype: torch.dtype
    ) -> tuple[Num[Tensor, "tiles cells width"], Num[Tensor, " positions"]]:
        """Allocate tiles × cells × width, and a flat view of it that includes an extra tile for padding."""
        n_tiles, width = self.peak.shape
        with_padding = torch.empty(n_tiles + 1, n_cells, width, dtype=dtype, device=self.peak.device)
        return with_padding[:-1], with_padding.view(-1)

    def by_chrom(
        self, values: Float[Tensor, "tiles cells hidden"], n_chroms: int
    ) -> Float[Tensor, "chroms cells hidden"]:
        """Sum over the tiles of each chromosome, in float32 or better."""
        exact = torch.promote_types(values.dtype, torch.float32)
        total = torch.zeros(n_chroms, *values.shape[1:], dtype=exact, device=values.device)
        return total.index_add_(0, self.chrom, values.to(exact))


#: cache: tiles by their ``chrom_of`` tensor, while that lives; the tensor for all peaks is the same object in every step
_tiles_by_chrom_of = WeakTensorKeyDictionary()


def _tiles_of(chrom_of: Tensor, n_chroms: int) -> Tiles:
    if chrom_of not in _tiles_by_chrom_of:
        _tiles_by_chrom_of[chrom_of] = Tiles.of(chrom_of, n_chroms)
    found: Tiles = _tiles_by_chrom_of[chrom_of]
    return found


# First layer


def sum_of_open(weight: Tensor, x: PaddedPeaks, chrom_of: Tensor, n_chroms: int) -> Tensor:
    """Multiply dense 0/1 tiles of x with the weights."""
    summed: Tensor = _SumOfOpen.apply(weight, x, _tiles_of(chrom_of, n_chroms), n_chroms)
    return summed


class _SumOfOpen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: PaddedPeaks, tiles: Tiles, n_chroms: int) -> Tensor:
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
    h: Tensor, weight: Tensor, bias: Tensor, chrom_of: Tensor, x: PaddedPeaks, positive_weight: float
) -> Tensor:
    """Compute all logits in bfloat16 and overwrite them with their gradient."""
    # asked here, because autograd is off inside `forward`
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
        x: PaddedPeaks,
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
        # each softplus is rounded to `low` (up as often as down); the sum is in float32
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
