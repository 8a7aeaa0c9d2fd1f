"""Draw the cells and peaks of a training step, by seeded generators."""

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


def random_peaks(
    n_peaks: int, share: float, generator: torch.Generator
) -> Int[Tensor, " drawn_peaks"] | None:
    """Draw round(share × n_peaks) peaks without replacement.

    Returns
    -------
    Their positions, ascending, on the generator's device; ``None``, for all peaks, if ``share`` is 1 or more.
    """
    if share >= 1:
        return None
    n_drawn = max(1, round(share * n_peaks))
    return peak_layers.permutation(n_peaks, generator)[:n_drawn].sort().values


def thinned(
    x: OpenPeaks, cell_share: float, peak_share: float, generator: torch.Generator, part: Part | None = None
) -> tuple[OpenPeaks, Bool[Tensor, " cells"]]:
    """Drop open peaks at random in a random share of the cells; the other cells keep all.

    Parameters
    ----------
    x
        Open peaks of this process's cells of a mini-batch.
    cell_share
        Probability that a cell is thinned.
    peak_share
        Probability that an open peak of a thinned cell is kept.
    generator
        On the device of x; it draws for all cells of the mini-batch, so that the result does not depend on the number of
        processes.
    part
        Which cells of the mini-batch x holds; by default all.

    Returns
    -------
    x of the same cells with fewer open peaks, and whether each cell was thinned.
    """
    part = part or Part(x.n_cells)
    draws = torch.rand(2, part.n_cells, generator=generator, device=generator.device, dtype=torch.float64)
    is_thinned, key = draws[0][part.cell] < cell_share, (draws[1][part.cell] * 2**32).long()
    return x.thinned(is_thinned, key, peak_share), is_thinned


@dataclass(frozen=True)
class Sampler:
    """Draws the cells of the mini-batches of an epoch.

    If all cells have RNA (or none has), an epoch is a random permutation of them, without the last incomplete mini-batch. In
    hybrid training, there are two kinds of cells, with and without RNA; each mini-batch holds a fixed number of each, and an
    epoch lasts until every cell has been drawn: the kind exhausted first is shuffled and drawn again.

    With x in a file, each epoch assigns chunks of consecutive cells to buffers at random and shuffles cells within a buffer;
    mini-batches come from one buffer after another. Chunk i is read by process i mod ``world_size``; each buffer gets equal
    numbers of chunks (up to one) of every process.
    """

    #: positions of the cells of each kind: one tensor, or (with RNA, without RNA)
    kinds: tuple[Int[Tensor, " cells"], ...]
    #: number of cells of each kind per mini-batch
    sizes: tuple[int, ...]
    #: number of shuffle buffers; with 1, all cells are shuffled together
    n_buffers: int = 1
    #: number of processes that share each mini-batch
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
        """Make a sampler from the cells with RNA.

        Parameters
        ----------
        has_rna
            Whether each cell has RNA.
        size
            Number of cells per mini-batch; at most all trained cells.
        paired_share
            Hybrid training: smallest share of cells with RNA in a mini-batch; their share of all cells if that is larger.
        trained
            Whether each cell is drawn at all (false: held out); by default all are.
        n_buffers, world_size
            As the attributes.
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
        """Number of mini-batches per epoch."""
        if len(self.kinds) == 1:
            return len(self.kinds[0]) // self.sizes[0]
        return max(-(-len(kind) // size) for kind, size in zip(self.kinds, self.sizes, strict=True))

    def epoch(self, generator: torch.Generator) -> Iterator[Int[Tensor, " cells"]]:
        """Yield the mini-batches of one epoch as positions of cells; in hybrid training, cells with RNA come first."""
        orders = [
            self._cycled(kind, self.n_steps * size, generator).split(size)
            for kind, size in zip(self.kinds, self.sizes, strict=True)
        ]
        for parts in zip(*orders, strict=True):
            yield torch.cat(parts)

    def _cycled(self, cells: Int[Tensor, " cells"], n: int, generator: torch.Generator) -> Int[Tensor, " n"]:
        """Draw n cells: concatenate random permutations of all, and cut after n."""
        n_orders = -(-n // len(cells))
        return torch.cat([self._shuffled(cells, generator) for _ in range(n_orders)])[:n]

    def _shuffled(self, cells: Int[Tensor, " cells"], generator: torch.Generator) -> Int[Tensor, " cells"]:
        """Permute cells at random; with several buffers, sort them by buffer, random within each."""
        cells = cells[torch.randperm(len(cells), generator=generator)]
        if self.n_buffers == 1:
            return cells
        chunk = cells.div(csr_on_disk.CELLS_PER_CHUNK, rounding_mode="floor")
        order_key = torch.randperm(int(chunk.max()) + 1, generator=generator)
        buffer_of = torch.empty_like(order_key)
        for rank in range(self.world_size):  # the chunks that one process reads
            own = order_key[rank :: self.world_size]
            buffer_of[rank :: self.world_size] = own.argsort().argsort() * self.n_buffers // max(1, len(own))
        return cells[torch.argsort(buffer_of[chunk], stable=True)]
