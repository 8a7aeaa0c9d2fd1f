"""Which cells and which peaks a training step sees: seeded random draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sailerx.data import csr_on_disk
from sailerx.kernels import peak_layers
from sailerx.kernels.open_peaks import OpenPeaks
from sailerx.minibatches.shards import Part


def random_peaks(n_peaks: int, share: float, generator: torch.Generator) -> Int[Tensor, " some"] | None:
    """Draw a share of the peaks without replacement, ascending; None stands for all of them."""
    if share >= 1:
        return None
    n_some = max(1, round(share * n_peaks))
    return peak_layers.permutation(n_peaks, generator)[:n_some].sort().values


def thinned(
    x: OpenPeaks, cell_share: float, peak_share: float, generator: torch.Generator, part: Part | None = None
) -> OpenPeaks:
    """x in which a random share of the cells keep a random share of their open peaks; the other cells keep all.

    Parameters
    ----------
    x
        Open peaks of the cells of ``part``.
    cell_share
        Probability that a cell is thinned.
    peak_share
        Probability that an open peak of a thinned cell is kept.
    generator
        On the device of x.
    part
        The part of a mini-batch that x is; a cell is thinned as it would be in the whole. By default x is the whole.
    """
    part, device = part or Part.whole_of(x), x.cell.device
    is_whole = torch.rand(part.n_cells, generator=generator, device=device)[part.cell] >= cell_share
    keep = torch.rand(part.n_ones, generator=generator, device=device)[part.one] < peak_share
    keep |= is_whole.index_select(0, x.cell)
    return x.where(keep)


@dataclass(frozen=True)
class Sampler:
    """Which cells the mini-batches of an epoch hold.

    With cells of one kind, an epoch is all of them in random order; the last incomplete mini-batch is dropped, so the cells
    left out differ between epochs. In hybrid training, each mini-batch holds a fixed number of cells with RNA and of cells
    without, and an epoch lasts until every cell has been seen: the kind that is used up first is shuffled again.

    Where cells are read from a file, chunks of consecutive cells are shuffled and dealt out to buffers anew each epoch; cells
    are shuffled within a buffer, and mini-batches come from one buffer after another. Where several processes take turns
    with the chunks, each buffer gets equally many chunks of each process.
    """

    #: positions of the cells of each kind
    kinds: tuple[Int[Tensor, " cells"], ...]
    #: cells of each kind per mini-batch
    sizes: tuple[int, ...]
    #: number of buffers; 1 is full shuffling
    n_buffers: int = 1
    #: processes that share each mini-batch
    world_size: int = 1

    @classmethod
    def of(
        cls,
        has_rna: Bool[Tensor, " cells"],
        size: int,
        paired_share: float,
        trained: Bool[Tensor, " cells"] | None = None,
        n_buffers: int = 1,
        world_size: int = 1,
    ) -> Sampler:
        """A sampler of mini-batches of ``size`` cells with at least the share ``paired_share`` of cells that have RNA.

        Their share is that among all cells if this is larger. Only cells for which ``trained`` is true are drawn, by default
        all.
        """
        trained = torch.ones_like(has_rna) if trained is None else trained
        kinds = tuple((kind & trained).nonzero().view(-1) for kind in (has_rna, ~has_rna))
        n_paired, n_cells = len(kinds[0]), sum(map(len, kinds))
        size = min(size, n_cells)
        if n_paired in (0, n_cells):
            return cls((torch.cat(kinds),), (size,), n_buffers, world_size)
        n_with_rna = round(max(paired_share, n_paired / n_cells) * size)
        paired = min(max(n_with_rna, 1, size - len(kinds[1])), n_paired, size - 1)
        return cls(kinds, (paired, size - paired), n_buffers, world_size)

    @property
    def n_steps(self) -> int:
        """Mini-batches of an epoch."""
        if len(self.kinds) == 1:
            return len(self.kinds[0]) // self.sizes[0]
        return max(-(-len(kind) // size) for kind, size in zip(self.kinds, self.sizes, strict=True))

    def epoch(self, generator: torch.Generator) -> Iterator[Int[Tensor, " cells"]]:
        """The mini-batches of one epoch."""
        orders = [
            self._cycled(kind, self.n_steps * size, generator).split(size)
            for kind, size in zip(self.kinds, self.sizes, strict=True)
        ]
        for parts in zip(*orders, strict=True):
            yield torch.cat(parts)

    def _cycled(self, cells: Int[Tensor, " cells"], n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
        """n of these cells: one random order after another, cut after n."""
        n_orders = -(-n // len(cells))
        return torch.cat([self._shuffled(cells, generator) for _ in range(n_orders)])[:n]

    def _shuffled(self, cells: Int[Tensor, " cells"], generator: torch.Generator) -> Int[Tensor, " cells"]:
        """These cells in random order; with several buffers, buffer after buffer, each with all cells of its chunks."""
        cells = cells[torch.randperm(len(cells), generator=generator)]
        if self.n_buffers == 1:
            return cells
        chunk = cells.div(csr_on_disk.CELLS_PER_CHUNK, rounding_mode="floor")
        place = torch.randperm(int(chunk.max()) + 1, generator=generator)
        buffer_of = torch.empty_like(place)
        for rank in range(self.world_size):  # the chunks that one process reads
            own = place[rank :: self.world_size]
            buffer_of[rank :: self.world_size] = own.argsort().argsort() * self.n_buffers // max(1, len(own))
        return cells[torch.argsort(buffer_of[chunk], stable=True)]
