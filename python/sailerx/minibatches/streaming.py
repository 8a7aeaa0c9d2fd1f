"""Mini-batches of data that the device's memory does not hold: read in a background thread while the network trains."""

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


@dataclass(frozen=True)
class _Streamed(ABC):
    """x of all cells outside the device's memory, with the methods of `sailerx.kernels.open_peaks.SparseRows`."""

    x: Any
    device: torch.device

    @property
    def n_peaks(self) -> int:
        """Number of peaks."""
        n_peaks: int = self.x.shape[1]
        return n_peaks

    def take(self, rows: Int[Tensor, " rows"]) -> OpenPeaks:
        """The open peaks of these cells."""
        return next(self.minibatches([rows]))

    def minibatches(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[OpenPeaks]:
        """The open peaks of one mini-batch after another; one group of them is in memory while the next is read."""
        for group in read_ahead(self._groups(batches)):
            while group:
                yield self._on_device(group.pop(0))

    def _on_device(self, x: PeaksInMemory) -> OpenPeaks:
        every_cell = torch.arange(x.shape[0])
        return next(peak_layers.rows_on(x, self.device).minibatches([every_cell]))

    @abstractmethod
    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[PeaksInMemory]]:
        """The mini-batches in the host's memory, some at a time."""


@dataclass(frozen=True)
class HostRows(_Streamed):
    """x in the host's memory, where a GPU does not hold it."""

    x: PeaksInMemory

    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[PeaksInMemory]]:
        for rows in batches:
            yield [PeaksInMemory.of(self.x[rows.numpy()])]


@dataclass(frozen=True)
class FileRows(_Streamed):
    """x in its file."""

    x: PeaksOnDisk

    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[PeaksInMemory]]:
        """As many mini-batches at a time as a buffer holds.

        Each chunk of cells is read once if all its cells are in the same or the next group, as the sampler orders them.
        """
        size = -(-self.x.shape[0] // self.x.n_buffers)
        ends = np.cumsum([len(rows) for rows in batches])
        cuts = [0, *np.flatnonzero(np.diff(ends // size)) + 1, len(batches)]
        chunks: dict[int, sp.csr_matrix] = {}
        for first, last in pairwise(cuts):
            group = batches[first:last]
            number = torch.cat(list(group)).div(csr_on_disk.CELLS_PER_CHUNK, rounding_mode="floor")
            needed = number.unique().tolist()
            chunks = {i: chunks[i] for i in needed if i in chunks}
            chunks |= {i: self.x.chunk(i) for i in needed if i not in chunks}
            yield [_gathered(chunks, rows.tolist(), self.n_peaks) for rows in group]


def _gathered(chunks: dict[int, sp.csr_matrix], rows: list[int], n_peaks: int) -> PeaksInMemory:
    """x of these cells, from the chunks that hold them."""
    parts = []
    for row in rows:
        chunk, i = chunks[row // csr_on_disk.CELLS_PER_CHUNK], row % csr_on_disk.CELLS_PER_CHUNK
        parts.append(chunk.indices[chunk.indptr[i] : chunk.indptr[i + 1]])
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    indices = np.concatenate([*parts, np.empty(0, np.int32)]).astype(np.int32, copy=False)
    return PeaksInMemory(indptr, indices, n_peaks)


def read_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items; while one is used, a background thread makes the next."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
