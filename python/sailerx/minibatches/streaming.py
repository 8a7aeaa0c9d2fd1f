"""Stream x from host memory or from its file, mini-batch by mini-batch, in a background thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Int
from torch import Tensor

from sailerx.data import csr_on_disk
from sailerx.data.accessibility import PeaksInMemory, PeaksOnDisk
from sailerx.kernels import peak_layers
from sailerx.kernels.open_peaks import OpenPeaks

_Item = TypeVar("_Item")
#: threads that read chunks: HDF5 reads one at a time, and meanwhile the columns of another one are renumbered
_READERS = 2
#: groups of mini-batches whose chunks the operating system fetches from disk before they are read: it is never without work
_GROUPS_AHEAD = 2


@dataclass(frozen=True)
class _Streamed(ABC):
    """x of all cells outside device memory, with the interface of `sailerx.kernels.open_peaks.SparseRows`."""

    x: Any
    device: torch.device

    @property
    def n_peaks(self) -> int:
        """Number of peaks."""
        n_peaks: int = self.x.shape[1]
        return n_peaks

    def take(self, rows: Int[Tensor, " rows"]) -> OpenPeaks:
        """Copy the open peaks of the given cells to the device."""
        return next(self.minibatches([rows]))

    def minibatches(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[OpenPeaks]:
        """Yield the open peaks of each mini-batch, on the device; the next group of mini-batches is read meanwhile."""
        for group in read_ahead(self._groups(batches)):
            while group:
                yield self._on_device(group.pop(0))

    def _on_device(self, x: PeaksInMemory) -> OpenPeaks:
        return peak_layers.rows_on(x, self.device).whole()

    @abstractmethod
    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[PeaksInMemory]]:
        """Yield the mini-batches in host memory, in order, as groups that are read at once."""


@dataclass(frozen=True)
class HostRows(_Streamed):
    """x in host memory, because it does not fit into GPU memory; each mini-batch is a group."""

    x: PeaksInMemory

    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[PeaksInMemory]]:
        for rows in batches:
            yield [PeaksInMemory.of(self.x[rows.numpy()])]


@dataclass(frozen=True)
class FileRows(_Streamed):
    """x in its file; the mini-batches of one shuffle buffer are a group."""

    x: PeaksOnDisk

    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[PeaksInMemory]]:
        """Yield the mini-batches of one buffer after another.

        A chunk stays in memory for the next group. So it is read once if its cells are in one group or two consecutive ones,
        which the sampler's order by buffers ensures.
        """
        size = -(-self.x.shape[0] // self.x.n_buffers)
        ends = np.cumsum([len(rows) for rows in batches])
        cuts = [0, *np.flatnonzero(np.diff(ends // size)) + 1, len(batches)]
        groups = [batches[first:last] for first, last in pairwise(cuts)]
        needed_by = [_chunks_of(group) for group in groups]
        chunks: dict[int, sp.csr_matrix] = {}
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(_READERS) as readers:
            for k, (group, needed) in enumerate(zip(groups, needed_by, strict=True)):
                # at first those of all groups ahead, then of one more each time
                for soon in range(k + _GROUPS_AHEAD if k else 1, min(k + _GROUPS_AHEAD + 1, len(groups))):
                    ahead.map(self.x.announce_chunk, sorted({*needed_by[soon]} - {*needed_by[soon - 1]}))
                missing = [i for i in needed if i not in chunks]
                chunks = {i: chunks[i] for i in needed if i in chunks}
                chunks |= zip(missing, readers.map(self.x.chunk, missing), strict=True)
                yield [_gathered(chunks, rows.tolist(), self.n_peaks) for rows in group]


def _chunks_of(group: Sequence[Int[Tensor, " rows"]]) -> list[int]:
    """Number the chunks that hold the cells of a group of mini-batches, ascending."""
    of_cell = torch.cat(list(group)).div(csr_on_disk.CELLS_PER_CHUNK, rounding_mode="floor")
    chunks: list[int] = of_cell.unique().tolist()
    return chunks


def _gathered(chunks: dict[int, sp.csr_matrix], rows: list[int], n_peaks: int) -> PeaksInMemory:
    """Take x of the given cells from chunks in memory (number of the chunk → CSR)."""
    parts = []
    for row in rows:
        chunk, i = chunks[row // csr_on_disk.CELLS_PER_CHUNK], row % csr_on_disk.CELLS_PER_CHUNK
        parts.append(chunk.indices[chunk.indptr[i] : chunk.indptr[i + 1]])
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    indices = np.concatenate([*parts, np.empty(0, np.int32)]).astype(np.int32, copy=False)
    return PeaksInMemory(indptr, indices, n_peaks)


def read_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items of an iterator; a background thread computes the next item while one is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
