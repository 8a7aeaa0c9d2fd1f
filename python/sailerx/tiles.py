"""The layers next to the peaks as one batched product each: for a GPU, which wants few and large operations.

Chromosomes differ in their number of peaks, so that their products cannot be one. Cut into tiles of equal width, the last of
each chromosome partly empty, they can. Products are in half precision (bfloat16) on a GPU, sums and weights in single.
What is computed is the same as in `sailerx.kernels.sum_of_open` and `sailerx.reconstruction`; tests hold them against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from sailerx.minibatch import OpenPeaks

#: peaks of a tile, where chromosomes have as many
WIDTH = 1024
#: bias of an empty place: its probability is 0, and so are its loss and its gradient
_NEVER = -1e4


@dataclass(frozen=True)
class Tiles:
    """Which peak lies where. Built without asking the device for a number."""

    #: chromosome of each tile
    chrom: Int[Tensor, " tiles"]
    #: peak of each place; the number of peaks where the place is empty
    peak: Int[Tensor, "tiles width"]
    #: place of each peak; for padding the first one behind the last
    place: Int[Tensor, " peaks_plus_1"]

    @classmethod
    def of(cls, chrom_of: Int[Tensor, " peaks"], n_chroms: int, width: int | None = None) -> Tiles:
        """Tiles of peaks that are sorted by chromosome. There may be empty ones at the end."""
        device, n_peaks = chrom_of.device, len(chrom_of)
        width = width or min(WIDTH, max(64, 1 << (n_peaks // n_chroms).bit_length() >> 1))
        n_tiles = n_peaks // width + n_chroms  # at least as many as are needed
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
        """Values of peaks at their places."""
        padded = torch.cat([values, values.new_full((1, *values.shape[1:]), empty)])
        return padded[self.peak]

    def gather(self, values: Float[Tensor, "tiles width ..."]) -> Float[Tensor, "peaks ..."]:
        """Back from `spread`."""
        return values.flatten(0, 1)[self.place[:-1]]

    def open_at(self, x: OpenPeaks) -> Int[Tensor, " ones"]:
        """Positions of open peaks in tiles × cells × width, flattened; of padding in one tile more."""
        width = self.peak.shape[1]
        first = self.place // width * (x.n_cells * width) + self.place % width
        return first.index_select(0, x.peak) + x.cell * width

    def places(
        self, n_cells: int, dtype: torch.dtype
    ) -> tuple[Num[Tensor, "tiles cells width"], Num[Tensor, " positions"]]:
        """Memory for a number at each place of each cell, not set; and the same flattened, with one tile more for padding."""
        n_tiles, width = self.peak.shape
        with_padding = torch.empty(n_tiles + 1, n_cells, width, dtype=dtype, device=self.peak.device)
        return with_padding[:-1], with_padding.view(-1)

    def by_chrom(
        self, values: Float[Tensor, "tiles cells hidden"], n_chroms: int
    ) -> Float[Tensor, "chroms cells hidden"]:
        """Sums over the tiles of each chromosome, in single precision or better."""
        exact = torch.promote_types(values.dtype, torch.float32)
        total = torch.zeros(n_chroms, *values.shape[1:], dtype=exact, device=values.device)
        return total.index_add_(0, self.chrom, values.to(exact))


#: tiles by the tensor that they are of, for as long as it lives
_known = WeakTensorKeyDictionary()


def tiles_of(chrom_of: Int[Tensor, " peaks"], n_chroms: int) -> Tiles:
    """`Tiles.of`, once for a tensor: that of all peaks is the same in each step."""
    if chrom_of not in _known:
        _known[chrom_of] = Tiles.of(chrom_of, n_chroms)
    found: Tiles = _known[chrom_of]
    return found


def wanted(tensor: Tensor) -> bool:
    """Whether layers should work on tiles: on a GPU."""
    return tensor.is_cuda


def precision(tensor: Tensor) -> torch.dtype:
    """What products are computed in."""
    return torch.bfloat16 if tensor.is_cuda else tensor.dtype


class TiledSumOfRows(torch.autograd.Function):
    """Per cell and chromosome the sum of its open peaks' weights, cells × chroms × hidden."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: OpenPeaks, tiles: Tiles, n_chroms: int) -> Tensor:
        ctx.dense, flat = tiles.places(x.n_cells, precision(weight))
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


class TiledNLL(torch.autograd.Function):
    """-log p(x|z,c) summed over cells and peaks, from what the decoder hands to its last layer."""

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
        low = precision(h)
        h_of, weight_of = h.transpose(0, 1).to(low)[tiles.chrom], tiles.spread(weight.to(low))
        bias_of = tiles.spread(bias.to(low), empty=_NEVER)[:, None]
        logits, flat = tiles.places(x.n_cells, low)
        torch.baddbmm(bias_of, h_of, weight_of.transpose(1, 2), out=logits)
        open_at = tiles.open_at(x)
        there, at_open = x.peak < x.n_peaks, flat.index_select(0, open_at).to(h.dtype)
        # each term is rounded to `low`, up as often as down; their sum is not
        loss = F.softplus(logits).sum(dtype=h.dtype)
        of_open = -at_open
        if positive_weight != 1:
            of_open = of_open + (positive_weight - 1) * F.softplus(-at_open)
        loss = loss + torch.where(there, of_open, 0).sum()
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
