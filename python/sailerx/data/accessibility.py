"""x, the 0/1 matrix cells × peaks: in memory as CSR without values, or left in its HDF5 file and read in chunks of cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from sailerx.data import csr_on_disk
from sailerx.data.column_order import ColumnOrder
from sailerx.data.csr_on_disk import CsrOnDisk, canonical

#: stored entries (int32) of x per shuffle buffer when training from disk: 134 MB
ONES_PER_BUFFER = 2**25

_CELLS_AT_ONCE = 10_000
_ONES_AT_ONCE = 2**22


@dataclass(frozen=True)
class PeaksInMemory:
    """x in memory: a CSR matrix of 0/1 without its array of values."""

    #: CSR row pointers, one per cell and one more; int64, so x may have more than 2³¹ ones
    indptr: np.ndarray
    #: CSR column indices: the open peaks of each cell, ascending, int32
    indices: np.ndarray
    #: number of columns
    n_peaks: int

    @classmethod
    def of(cls, x: sp.csr_matrix) -> PeaksInMemory:
        """Keep the indices of a canonical CSR matrix (sorted, no duplicates, no stored zeros); every stored entry becomes a 1."""
        return cls(x.indptr.astype(np.int64), x.indices.astype(np.int32, copy=False), x.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Cells × peaks."""
        return len(self.indptr) - 1, self.n_peaks

    @property
    def depth(self) -> np.ndarray:
        """ATAC depth: number of open peaks per cell, int64."""
        return np.diff(self.indptr)

    @property
    def n_open(self) -> np.ndarray:
        """Number of cells in which each peak is open, int64."""
        n_open = np.zeros(self.n_peaks, np.int64)
        for start in range(0, len(self.indices), _ONES_AT_ONCE):  # bincount copies to int64
            n_open += np.bincount(self.indices[start : start + _ONES_AT_ONCE], minlength=self.n_peaks)
        return n_open

    @property
    def n_bytes(self) -> int:
        """Memory of the two arrays, in bytes."""
        return self.indptr.nbytes + self.indices.nbytes

    @property
    def n_buffers(self) -> int:
        """Number of shuffle buffers per epoch: 1, all cells are shuffled together."""
        return 1

    def with_peaks(self, columns: np.ndarray) -> PeaksInMemory:
        """Select peaks by position, in the given order; -1 inserts a peak that is closed in every cell."""
        found = columns >= 0
        new_column = np.full(self.n_peaks, -1, np.int32)
        new_column[columns[found]] = np.flatnonzero(found)
        indices, indptr = ColumnOrder.of(new_column).renumber(self.indices, self.indptr)
        return PeaksInMemory(indptr, indices, len(columns))

    def read(self, start: int = 0, end: int | None = None) -> sp.csr_matrix:
        """Read cells start to end (exclusive; default all) as CSR, 0/1 (uint8), sorted indices."""
        end = self.shape[0] if end is None else end
        first, last = self.indptr[[start, end]]
        return _csr_of_ones(self.indices[first:last], self.indptr[start : end + 1] - first, self.n_peaks)

    def chunks(self) -> Iterator[sp.csr_matrix]:
        """Yield x of consecutive cells as CSR, 10,000 cells at a time."""
        for start in range(0, self.shape[0], _CELLS_AT_ONCE):
            yield self.read(start, min(start + _CELLS_AT_ONCE, self.shape[0]))

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        """Take the given cells (positions, any order) as CSR, 0/1 (uint8)."""
        parts = [self.indices[self.indptr[row] : self.indptr[row + 1]] for row in rows]
        indptr = np.concatenate([[0], np.cumsum(self.depth[rows])])
        return _csr_of_ones(np.concatenate([*parts, np.empty(0, np.int32)]), indptr, self.n_peaks)


def _csr_of_ones(indices: np.ndarray, indptr: np.ndarray, n_peaks: int) -> sp.csr_matrix:
    shape = (len(indptr) - 1, n_peaks)
    return sp.csr_matrix((np.ones(len(indices), np.uint8), indices, indptr), shape=shape)


@dataclass(frozen=True)
class PeaksOnDisk:
    """x in its HDF5 file; in memory are only vectors with one entry per cell, per peak or per column of the file."""

    #: the counts as stored: cells × columns of the file
    counts: CsrOnDisk
    #: whether the file has sorted indices, no duplicates and no stored zeros: then its values need not be read
    is_canonical: bool
    #: ATAC depth: open peaks per cell over all columns of the file, int64
    depth: np.ndarray
    #: number of cells in which each peak is open, int64
    n_open: np.ndarray
    #: column of x for each column of the file; -1 = dropped
    new_column: np.ndarray
    #: whether training reads x into memory first (each process its own cells) and shuffles all cells together
    to_memory: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Cells × peaks."""
        return self.counts.shape[0], len(self.n_open)

    @property
    def n_buffers(self) -> int:
        """Number of shuffle buffers per epoch; one at a time is in memory."""
        return 1 if self.to_memory else max(1, -(-int(self.counts.indptr[-1]) // ONES_PER_BUFFER))

    def with_peaks(self, columns: np.ndarray) -> PeaksOnDisk:
        """Select peaks by position, in the given order; -1 inserts a peak that is closed in every cell."""
        found = columns >= 0
        new = np.full(
            len(self.n_open) + 1, -1, np.int32
        )  # the last entry keeps columns dropped earlier at -1
        new[columns[found]] = np.flatnonzero(found)
        n_open = np.where(found, self.n_open[columns], 0)
        return replace(self, n_open=n_open, new_column=new[self.new_column])

    @cached_property
    def _order(self) -> ColumnOrder:
        return ColumnOrder.of(self.new_column)

    def read(self, start: int = 0, end: int | None = None) -> sp.csr_matrix:
        """Read cells start to end (exclusive; default all) as CSR, 0/1 (uint8), sorted indices."""
        end = self.shape[0] if end is None else end
        x = self.counts.read(start, end, values=not self.is_canonical)
        x = x if self.is_canonical else canonical(x)
        indices, indptr = self._order.renumber(x.indices, x.indptr)
        return _csr_of_ones(indices, indptr, len(self.n_open))

    def chunk(self, i: int) -> sp.csr_matrix:
        """Read the i-th chunk of `CELLS_PER_CHUNK` consecutive cells as CSR."""
        return self.read(*self._cells_of(i))

    def announce_chunk(self, i: int) -> None:
        """Say that the i-th chunk is read soon; without effect if there is none."""
        self.counts.announce(*self._cells_of(i), values=not self.is_canonical)

    def _cells_of(self, i: int) -> tuple[int, int]:
        start, n_cells = i * csr_on_disk.CELLS_PER_CHUNK, self.shape[0]
        return min(start, n_cells), min(start + csr_on_disk.CELLS_PER_CHUNK, n_cells)

    def chunks(self) -> Iterator[sp.csr_matrix]:
        """Yield x of consecutive cells as CSR, one chunk at a time."""
        for i in range(-(-self.shape[0] // csr_on_disk.CELLS_PER_CHUNK)):
            self.announce_chunk(i + 1)
            yield self.chunk(i)

    def in_memory(self, runs: Sequence[tuple[int, int]] | None = None) -> PeaksInMemory:
        """Read x into memory, chunk by chunk.

        Parameters
        ----------
        runs
            Ranges (start, end) of consecutive cells to read, ascending; default all cells. Cells outside the ranges keep
            their rows, which are empty.
        """
        n_cells, stored = self.shape[0], self.counts.indptr
        if runs is None:
            starts = range(0, n_cells, csr_on_disk.CELLS_PER_CHUNK)
            runs = [(start, min(start + csr_on_disk.CELLS_PER_CHUNK, n_cells)) for start in starts]
        indices = np.empty(sum(int(stored[end] - stored[start]) for start, end in runs), np.int32)
        length, filled = np.zeros(n_cells, np.int64), 0
        for start, end in runs:
            x = self.read(start, end)
            length[start:end] = np.diff(x.indptr)
            indices[filled : filled + x.nnz] = x.indices
            filled += x.nnz
        return PeaksInMemory(np.concatenate([[0], np.cumsum(length)]), indices[:filled], self.shape[1])

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        """Take the given cells (positions, any order) as CSR, 0/1 (uint8); each chunk is read once."""
        order = np.argsort(rows, kind="stable")
        of_chunk = rows[order] // csr_on_disk.CELLS_PER_CHUNK
        parts = [
            self.chunk(i)[rows[order][of_chunk == i] - i * csr_on_disk.CELLS_PER_CHUNK]
            for i in np.unique(of_chunk)
        ]
        return sp.csr_matrix(sp.vstack(parts, format="csr")[np.argsort(order)])


#: x: 0/1, cells × peaks, in memory or in its file
Accessibility: TypeAlias = PeaksInMemory | PeaksOnDisk


@dataclass(frozen=True)
class StackedCells:
    """x of several sets of cells with the same peaks, one set after the other."""

    parts: tuple[Accessibility, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Cells × peaks."""
        return sum(part.shape[0] for part in self.parts), self.parts[0].shape[1]

    @property
    def depth(self) -> np.ndarray:
        """ATAC depth: number of open peaks per cell, int64."""
        return np.concatenate([part.depth for part in self.parts])

    def read(self) -> sp.csr_matrix:
        """Read all cells as CSR, 0/1 (uint8)."""
        return sp.vstack([part.read() for part in self.parts], format="csr")

    def chunks(self) -> Iterator[sp.csr_matrix]:
        """Yield x of consecutive cells as CSR."""
        return (chunk for part in self.parts for chunk in part.chunks())

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        """Take the given cells (positions, ascending) as CSR, 0/1 (uint8)."""
        ends = np.cumsum([part.shape[0] for part in self.parts])
        within = np.split(rows, np.searchsorted(rows, ends[:-1]))
        starts = ends - [part.shape[0] for part in self.parts]
        drawn = zip(self.parts, within, starts, strict=True)
        return sp.vstack([part[some - start] for part, some, start in drawn if len(some)], format="csr")
