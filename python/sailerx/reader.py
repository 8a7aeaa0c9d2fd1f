"""Mini-batches from where the device's memory does not hold x: they are read in the background while the network trains."""

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

from sailerx import on_disk, padded
from sailerx.in_memory import PeaksInMemory
from sailerx.minibatch import OpenPeaks, SparseRows
from sailerx.on_disk import PeaksOnDisk
from sailerx.padded import PaddedRows

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class _Streamed(ABC):
    """A 0/1 matrix of cells × peaks elsewhere, with the methods of `SparseRows`."""

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
        """The open peaks of one mini-batch after the other; a group of them is held in memory, and the next read meanwhile."""
        for group in read_ahead(self._groups(batches)):
            while group:
                yield self._whole(group.pop(0))

    def _whole(self, rows: SparseRows) -> OpenPeaks:
        """All cells of a mini-batch, on the device."""
        every = torch.arange(len(rows.indptr) - 1)
        if padded.wanted(self.device):
            return next(PaddedRows.of(rows, self.device).minibatches([every]))
        return rows.take(every)

    @abstractmethod
    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[SparseRows]]:
        """The cells of the mini-batches, in the host's memory, some mini-batches at a time."""


@dataclass(frozen=True)
class HostRows(_Streamed):
    """In the host's memory, where a GPU does not hold it."""

    x: PeaksInMemory

    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[SparseRows]]:
        for rows in batches:
            yield [SparseRows.of(PeaksInMemory.of(self.x[rows.numpy()]))]


@dataclass(frozen=True)
class FileRows(_Streamed):
    """In its file."""

    x: PeaksOnDisk

    def _groups(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[list[SparseRows]]:
        """Mini-batches, together as large as a buffer, in memory.

        Each block is read once where a cell's neighbours in the file are in the same or the next of these groups, as
        block-shuffled order has it.
        """
        size = -(-self.x.shape[0] // self.x.n_buffers)
        ends = np.cumsum([len(rows) for rows in batches])
        cuts = [0, *np.flatnonzero(np.diff(ends // size)) + 1, len(batches)]
        blocks: dict[int, sp.csr_matrix] = {}
        for first, last in pairwise(cuts):
            group = batches[first:last]
            needed = (
                torch.cat(list(group)).div(on_disk.CELLS_PER_BLOCK, rounding_mode="floor").unique().tolist()
            )
            blocks = {i: blocks[i] for i in needed if i in blocks}
            blocks |= {i: self.x.block(i) for i in needed if i not in blocks}
            yield [_gathered(blocks, rows.tolist(), self.n_peaks) for rows in group]


def _gathered(blocks: dict[int, sp.csr_matrix], rows: list[int], n_peaks: int) -> SparseRows:
    """These cells, from the blocks that they are in."""
    parts = []
    for row in rows:
        block, i = blocks[row // on_disk.CELLS_PER_BLOCK], row % on_disk.CELLS_PER_BLOCK
        parts.append(block.indices[block.indptr[i] : block.indptr[i + 1]])
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    indices = np.concatenate([*parts, np.empty(0, np.int32)]).astype(np.int32, copy=False)
    return SparseRows(torch.from_numpy(indptr), torch.from_numpy(indices), n_peaks)


def read_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items; while one is used, the next is made in a background thread."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
