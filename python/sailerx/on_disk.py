"""Matrices that stay in their HDF5 file: what is per cell or per peak is in memory, the rest is read by cells."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import h5py
import numpy as np
import scipy.sparse as sp
from anndata.abc import CSCDataset, CSRDataset

from sailerx.in_memory import PeaksInMemory, placed

#: neighbouring cells that are read together; the unit that block-shuffled order moves about
CELLS_PER_BLOCK = 256
#: open peaks that are in memory together, of some blocks whose cells are mixed: 134 MB
ONES_PER_BUFFER = 2**25


def is_on_disk(matrix: object) -> bool:
    """Whether a matrix of an AnnData object is still in its file."""
    return isinstance(matrix, CSRDataset | CSCDataset | h5py.Dataset)


def canonical(x: sp.csr_matrix) -> sp.csr_matrix:
    """The same with sorted indices, each entry once and no stored zeros; itself if it is so already."""
    if not (x.has_canonical_format and (x.nnz == 0 or x.data.all())):
        x = x.copy()
        x.sum_duplicates()
        x.eliminate_zeros()
    return x


@dataclass(frozen=True)
class RowsOnDisk:
    """A CSR matrix of cells × features in a file. Row pointers are 64-bit, so there may be more than 2³¹ non-zeros."""

    #: holds `data` and `indices`
    group: Any
    #: where each cell's entries begin, int64
    indptr: np.ndarray
    #: cells × features
    shape: tuple[int, int]

    @classmethod
    def of(cls, matrix: CSRDataset) -> RowsOnDisk:
        """What a backed AnnData holds, as anndata wrote it."""
        group = matrix.group
        n_cells, n_features = (int(size) for size in matrix.shape)
        return cls(group, group["indptr"][:].astype(np.int64), (n_cells, n_features))

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: the file is opened again there."""
        file, name = os.path.abspath(self.group.file.filename), self.group.name
        return _reopened, (file, name, self.indptr, self.shape)

    def read(self, start: int, end: int, *, values: bool = True) -> sp.csr_matrix:
        """Cells from start to end (exclusive) as they are stored; without their values, ones (uint8) stand for these."""
        first, last = int(self.indptr[start]), int(self.indptr[end])
        indices = self.group["indices"][first:last]
        data = self.group["data"][first:last] if values else np.ones(len(indices), np.uint8)
        return sp.csr_matrix(
            (data, indices, self.indptr[start : end + 1] - first), shape=(end - start, self.shape[1])
        )

    def blocks(self) -> Iterator[tuple[slice, sp.csr_matrix]]:
        """All cells in order, some at a time."""
        for start in range(0, self.shape[0], CELLS_PER_BLOCK):
            end = min(start + CELLS_PER_BLOCK, self.shape[0])
            yield slice(start, end), self.read(start, end)


def _reopened(file: str, name: str, indptr: np.ndarray, shape: tuple[int, int]) -> RowsOnDisk:
    return RowsOnDisk(h5py.File(file, "r")[name], indptr, shape)


@dataclass(frozen=True)
class PeaksOnDisk:
    """x, 0/1, of which only vectors are in memory."""

    counts: RowsOnDisk
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

    def block(self, i: int) -> sp.csr_matrix:
        """X of the i-th block of cells."""
        start = i * CELLS_PER_BLOCK
        return self.read(start, min(start + CELLS_PER_BLOCK, self.shape[0]))

    def blocks(self) -> Iterator[sp.csr_matrix]:
        """X of all cells in order, a block at a time."""
        return (self.block(i) for i in range(-(-self.shape[0] // CELLS_PER_BLOCK)))

    def in_memory(self, runs: Sequence[tuple[int, int]] | None = None) -> PeaksInMemory:
        """The same in memory, read a block at a time.

        Given runs of neighbouring cells (start, end) in ascending order, only these are read; the others have no open peak.
        """
        n_cells, stored = self.shape[0], self.counts.indptr
        if runs is None:
            starts = range(0, n_cells, CELLS_PER_BLOCK)
            runs = [(start, min(start + CELLS_PER_BLOCK, n_cells)) for start in starts]
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
        of_block = rows[order] // CELLS_PER_BLOCK
        parts = [self.block(i)[rows[order][of_block == i] - i * CELLS_PER_BLOCK] for i in np.unique(of_block)]
        return sp.csr_matrix(sp.vstack(parts, format="csr")[np.argsort(order)])


#: x, in memory or in its file
Accessibility: TypeAlias = PeaksInMemory | PeaksOnDisk
