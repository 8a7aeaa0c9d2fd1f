"""Mini-batches: which cells, and their peaks made dense only now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sailerx import on_disk
from sailerx.in_memory import PeaksInMemory


@dataclass(frozen=True)
class OpenPeaks:
    """x of some cells as the positions of its ones, sorted by cell and then by peak; everything else is 0.

    For a CPU; `sailerx.padded.PaddedPeaks` is for a GPU. Where NumPy does the same in less time, it does it here.
    """

    cell: Int[Tensor, " ones"]
    peak: Int[Tensor, " ones"]
    n_cells: int
    n_peaks: int

    @property
    def depth(self) -> Int[Tensor, " cells"]:
        """Open peaks of each cell."""
        return self.begin.diff()

    @property
    def begin(self) -> Int[Tensor, " cells_plus_1"]:
        """Where those of each cell begin."""
        return torch.searchsorted(self.cell, torch.arange(self.n_cells + 1))

    def only(self, peaks: Int[Tensor, " some"]) -> OpenPeaks:
        """x of some peaks, given by ascending position; they are numbered anew."""
        new = torch.full((self.n_peaks + 1,), -1, device=peaks.device)
        new[peaks] = torch.arange(len(peaks), device=peaks.device)
        peak = new.index_select(0, self.peak)
        return replace(self, peak=peak, n_peaks=len(peaks))._where(peak >= 0)

    def thinned(
        self, cells: float, kept: float, generator: torch.Generator, part: Part | None = None
    ) -> OpenPeaks:
        """A random share of the cells each keep a random share of their open peaks; the others keep all.

        Where these cells are a part of a mini-batch, each is thinned as it would be in the whole.
        """
        part, device = part or Part.whole_of(self), self.cell.device
        whole = torch.rand(part.n_cells, generator=generator, device=device)[part.cell] >= cells
        stays = torch.rand(part.n_ones, generator=generator, device=device)[part.one] < kept
        stays |= whole.index_select(0, self.cell)
        return self._where(stays)

    def _where(self, there: Bool[Tensor, " ones"]) -> OpenPeaks:
        """Some of the ones."""
        which = torch.from_numpy(np.flatnonzero(there))
        return replace(self, cell=self.cell.index_select(0, which), peak=self.peak.index_select(0, which))

    def dense(self) -> Float[Tensor, "cells peaks"]:
        """The same as a matrix of 0. and 1."""
        x = torch.zeros(self.n_cells, self.n_peaks + 1, device=self.peak.device)
        x[self.cell, self.peak] = 1.0
        return x[:, :-1]


@dataclass(frozen=True)
class Part:
    """Which cells of a mini-batch this process has. Here all of them; `sailerx.distributed` divides mini-batches.

    Random numbers are drawn for the whole mini-batch and each process takes its own, so that their number changes nothing.
    """

    #: cells of the mini-batch, and their open peaks
    n_cells: int
    n_ones: int
    #: which of its cells, and of its open peaks, are here
    cell: Int[Tensor, " own_cells"] | slice = field(default_factory=lambda: slice(None))
    one: Int[Tensor, " own_ones"] | slice = field(default_factory=lambda: slice(None))

    @classmethod
    def whole_of(cls, x: OpenPeaks) -> Part:
        """All cells of x."""
        return cls(x.n_cells, len(x.cell))

    def gathered(self, *own: Float[Tensor, "own_cells values"]) -> Sequence[Float[Tensor, "cells values"]]:
        """Values of all cells of the mini-batch, given those of the cells here; gradients flow back."""
        return own

    def summed(self, own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """A sum over all cells of the mini-batch, given that over the cells here; gradients flow back."""
        return own


@dataclass(frozen=True)
class Shard:
    """Which cells this process reads: here all."""

    def own(self, rows: Int[Tensor, " cells"]) -> Int[Tensor, " own_cells"] | slice:
        """Positions of the cells in a mini-batch that are read here."""
        return slice(None)

    def part(self, rows: Int[Tensor, " cells"], own: Int[Tensor, " own_cells"] | slice, x: OpenPeaks) -> Part:
        """The part of a mini-batch that x, the open peaks of its own cells, is."""
        return Part.whole_of(x)


@dataclass(frozen=True)
class SparseRows:
    """A 0/1 matrix of cells × peaks in memory, as the positions of its ones (CSR without data).

    `sailerx.padded.PaddedRows` is the same on a GPU.
    """

    indptr: Int[Tensor, " cells_plus_1"]
    indices: Int[Tensor, " ones"]
    n_peaks: int

    @classmethod
    def of(cls, x: PeaksInMemory) -> SparseRows:
        """The same, not a copy."""
        indices = np.require(x.indices, requirements="W")  # PyTorch has no arrays that cannot be written
        return cls(torch.from_numpy(x.indptr), torch.from_numpy(indices), x.n_peaks)

    def minibatches(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[OpenPeaks]:
        """The open peaks of one mini-batch after the other."""
        return map(self.take, batches)

    def take(self, rows: Int[Tensor, " rows"]) -> OpenPeaks:
        """The open peaks of these cells."""
        start = self.indptr[rows]
        length = self.indptr[rows + 1] - start
        cell = torch.from_numpy(np.arange(len(rows)).repeat(length))
        runs = zip(start.tolist(), (start + length).tolist(), strict=True)
        peak = torch.cat([self.indices[:0], *(self.indices[a:b] for a, b in runs)])
        return OpenPeaks(cell, peak.long(), len(rows), self.n_peaks)


def random_peaks(n_peaks: int, share: float, generator: torch.Generator) -> Int[Tensor, " some"] | None:
    """A random share of the peaks, ascending, without replacement; None stands for all of them."""
    if share >= 1:
        return None
    n_some = max(1, round(share * n_peaks))
    shuffled = _shuffled_on_gpu if generator.device.type == "cuda" else torch.randperm
    return shuffled(n_peaks, generator=generator)[:n_some].sort().values


def _shuffled_on_gpu(n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """0 to n - 1 in random order, by operations that a GPU can record and repeat."""
    return torch.rand(n, generator=generator, device=generator.device).argsort()


@dataclass(frozen=True)
class Sampler:
    """Which cells the mini-batches of an epoch hold.

    With cells of one kind, an epoch is all of them in random order; the last incomplete mini-batch is dropped, and who
    is left out changes from epoch to epoch. In hybrid training, each mini-batch holds a fixed number of cells with RNA
    and of cells without, and an epoch lasts until every cell has been seen: the kind that is used up first is shuffled
    anew and goes on.

    Where cells are read from a file, the order is random by blocks of neighbouring cells: each epoch these are dealt out
    anew to some buffers, and the mini-batches come from one buffer after the other. Where several processes read a block
    each in turn, every buffer has as many of each process.
    """

    #: positions of the cells of each kind
    kinds: tuple[Int[Tensor, " cells"], ...]
    #: how many of each kind a mini-batch holds
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
        """Mini-batches of ``size`` cells, of which at least ``paired_share`` have RNA as far as there are any.

        Cells with RNA have the share that they have of all cells where that is more. Only cells that are ``trained`` on
        are drawn; by default all are.
        """
        trained = torch.ones_like(has_rna) if trained is None else trained
        kinds = tuple((kind & trained).nonzero().view(-1) for kind in (has_rna, ~has_rna))
        n_paired, n_cells = len(kinds[0]), sum(map(len, kinds))
        size = min(size, n_cells)
        if n_paired in (0, n_cells):
            return cls((torch.cat(kinds),), (size,), n_buffers, world_size)
        wanted = round(max(paired_share, n_paired / n_cells) * size)
        paired = min(max(wanted, 1, size - len(kinds[1])), n_paired, size - 1)
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
        """The first n of these cells in random order, and again in a new order for as long as it takes."""
        n_orders = -(-n // len(cells))
        return torch.cat([self._shuffled(cells, generator) for _ in range(n_orders)])[:n]

    def _shuffled(self, cells: Int[Tensor, " cells"], generator: torch.Generator) -> Int[Tensor, " cells"]:
        """These cells in random order; with several buffers, each holds all cells of the blocks that fall to it."""
        cells = cells[torch.randperm(len(cells), generator=generator)]
        if self.n_buffers == 1:
            return cells
        block = cells.div(on_disk.CELLS_PER_BLOCK, rounding_mode="floor")
        place = torch.randperm(int(block.max()) + 1, generator=generator)
        buffer_of = torch.empty_like(place)
        for rank in range(self.world_size):  # the blocks that one process reads
            own = place[rank :: self.world_size]
            buffer_of[rank :: self.world_size] = own.argsort().argsort() * self.n_buffers // max(1, len(own))
        return cells[torch.argsort(buffer_of[block], stable=True)]
