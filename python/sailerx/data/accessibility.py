"""x of all cells, 0/1: in memory as the positions of its ones (4 bytes each), or left in its HDF5 file and read by cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from sailerx.data import csr_on_disk
from sailerx.data.csr_on_disk import CsrOnDisk, canonical

#: open peaks of the chunks whose cells are mixed, in memory together: 134 MB
ONES_PER_BUFFER = 2**25

_CELLS_AT_ONCE = 10_000
_ONES_AT_ONCE = 2**22


@dataclass(frozen=True)
class PeaksInMemory:
    """x, 0/1, as a CSR matrix without data."""

    #: where each cell's open peaks begin, int64, so that there may be more than 2³¹
    indptr: np.ndarray
    #: the open peaks of each cell, ascending, int32
    indices: np.ndarray
    n_peaks: int

    @classmethod
    def of(cls, x: sp.csr_matrix) -> PeaksInMemory:
        """Where the entries of a matrix with sorted indices, each entry once, are."""
        return cls(x.indptr.astype(np.int64), x.indices.astype(np.int32, copy=False), x.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Cells × peaks."""
        return len(self.indptr) - 1, self.n_peaks

    @property
    def depth(self) -> np.ndarray:
        """Open peaks of each cell."""
        return np.diff(self.indptr)

    @property
    def n_open(self) -> np.ndarray:
        """Cells in which each peak is open."""
        n_open = np.zeros(self.n_peaks, np.int64)
        for start in range(0, len(self.indices), _ONES_AT_ONCE):  # for which bincount takes 8 bytes each
            n_open += np.bincount(self.indices[start : start + _ONES_AT_ONCE], minlength=self.n_peaks)
        return n_open

    @property
    def n_bytes(self) -> int:
        """Memory that it takes."""
        return self.indptr.nbytes + self.indices.nbytes

    @property
    def n_buffers(self) -> int:
        """Into how many parts an epoch is divided: it is in memory as a whole."""
        return 1

    def with_peaks(self, columns: np.ndarray) -> PeaksInMemory:
        """These peaks in this order, by their position among those now; -1 stands for a peak that is closed in all cells."""
        there = columns >= 0
        place = np.full(self.n_peaks, -1, np.int32)
        place[columns[there]] = np.flatnonzero(there)
        indices, indptr = placed(self.indices, self.indptr, place)
        return PeaksInMemory(indptr, indices, len(columns))

    def read(self, start: int = 0, end: int | None = None) -> sp.csr_matrix:
        """X of the cells from start to end (exclusive), by default of all: 0/1, sorted."""
        end = self.shape[0] if end is None else end
        first, last = self.indptr[[start, end]]
        return _ones(self.indices[first:last], self.indptr[start : end + 1] - first, self.n_peaks)

    def chunks(self) -> Iterator[sp.csr_matrix]:
        """X of all cells in order, some at a time."""
        for start in range(0, self.shape[0], _CELLS_AT_ONCE):
            yield self.read(start, min(start + _CELLS_AT_ONCE, self.shape[0]))

    def __getitem__(self, rows: np.ndarray) -> sp.csr_matrix:
        """X of some cells."""
        parts = [self.indices[self.indptr[row] : self.indptr[row + 1]] for row in rows]
        indptr = np.concatenate([[0], np.cumsum(self.depth[rows])])
        return _ones(np.concatenate([*parts, np.empty(0, np.int32)]), indptr, self.n_peaks)


def _ones(indices: np.ndarray, indptr: np.ndarray, n_peaks: int) -> sp.csr_matrix:
    shape = (len(indptr) - 1, n_peaks)
    return sp.csr_matrix((np.ones(len(indices), np.uint8), indices, indptr), shape=shape)


def placed(indices: np.ndarray, indptr: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Open peaks by their new place, sorted within each cell, and where each cell's begin.

    Parameters
    ----------
    indices, indptr
        As in a CSR matrix.
    place
        New number of each peak; those with -1 are dropped.
    """
    new = place.take(indices)
    kept = new >= 0
    if not kept.all():
        indptr = np.concatenate([[0], kept.cumsum()])[indptr]
        new = new[kept]
    for start, end in zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True):
        new[start:end].sort()
    return new, indptr


@dataclass(frozen=True)
class PeaksOnDisk:
    """x, 0/1, of which only vectors are in memory."""

    counts: CsrOnDisk
    #: whether the file has sorted indices, each entry once and no stored zeros, so that values need not be read
    is_canonical: bool
    #: open peaks of each cell, over all columns of the file
    depth: np.ndarray
    #: cells in which each peak is open
    n_open: np.ndarray
    #: place of each column of the file among the peaks; -1: not among them
    place: np.ndarray
    #: whether training takes it into memory (of several processes each its share), and shuffles all cells
    to_memory: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Cells × peaks."""
        return self.counts.shape[0], len(self.n_open)

    @property
    def n_buffers(self) -> int:
        """Into how many parts an epoch is divided, each of which is in memory as a whole."""
        return 1 if self.to_memory else max(1, -(-int(self.counts.indptr[-1]) // ONES_PER_BUFFER))

    def with_peaks(self, columns: np.ndarray) -> PeaksOnDisk:
        """These peaks in this order, by their position among those now; -1 stands for a peak that is closed in all cells."""
        there = columns >= 0
        new = np.full(len(self.n_open) + 1, -1, np.int32)  # the last is for columns that were left out before
        new[columns[there]] = np.flatnonzero(there)
        n_open = np.where(there, self.n_open[columns], 0)
        return replace(self, n_open=n_open, place=new[self.place])

    def read(self, start: int = 0, end: int | None = None) -> sp.csr_matrix:
        """X of the cells from start to end (exclusive), by default of all: 0/1, sorted."""
        end = self.shape[0] if end is None else end
        x = self.counts.read(start, end, values=not self.is_canonical)
        x = x if self.is_canonical else canonical(x)
        indices, indptr = placed(x.indices, x.indptr, self.place)
        return sp.csr_matrix(
            (np.ones(len(indices), np.uint8), indices, indptr), shape=(end - start, len(self.n_open))
        )

    def chunk(self, i: int) -> sp.csr_matrix:
        """X of the i-th chunk of cells."""
        start = i * csr_on_disk.CELLS_PER_CHUNK
        return self.read(start, min(start + csr_on_disk.CELLS_PER_CHUNK, self.shape[0]))

    def chunks(self) -> Iterator[sp.csr_matrix]:
        """X of all cells in order, a chunk at a time."""
        return (self.chunk(i) for i in range(-(-self.shape[0] // csr_on_disk.CELLS_PER_CHUNK)))

    def in_memory(self, runs: Sequence[tuple[int, int]] | None = None) -> PeaksInMemory:
        """The same in memory, read a chunk at a time.

        Given runs of neighbouring cells (start, end) in ascending order, only these are read; the others have no open peak.
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
        """X of some cells, in memory."""
        order = np.argsort(rows, kind="stable")
        of_chunk = rows[order] // csr_on_disk.CELLS_PER_CHUNK
        parts = [
            self.chunk(i)[rows[order][of_chunk == i] - i * csr_on_disk.CELLS_PER_CHUNK]
            for i in np.unique(of_chunk)
        ]
        return sp.csr_matrix(sp.vstack(parts, format="csr")[np.argsort(order)])


#: x, in memory or in its file
Accessibility: TypeAlias = PeaksInMemory | PeaksOnDisk
