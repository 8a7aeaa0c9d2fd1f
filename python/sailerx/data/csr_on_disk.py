"""CSR matrices that stay in their HDF5 file: row pointers are in memory, the rest is read by chunks of consecutive cells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp
from anndata.abc import CSCDataset, CSRDataset

#: consecutive cells that are read together; training from disk shuffles these chunks, and cells within a buffer of them
CELLS_PER_CHUNK = 256


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
class CsrOnDisk:
    """A CSR matrix of cells × features in a file. Row pointers are 64-bit, so there may be more than 2³¹ non-zeros."""

    #: holds `data` and `indices`
    group: Any
    #: where each cell's entries begin, int64
    indptr: np.ndarray
    #: cells × features
    shape: tuple[int, int]

    @classmethod
    def of(cls, matrix: CSRDataset) -> CsrOnDisk:
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

    def chunks(self) -> Iterator[tuple[slice, sp.csr_matrix]]:
        """All cells in order, some at a time."""
        for start in range(0, self.shape[0], CELLS_PER_CHUNK):
            end = min(start + CELLS_PER_CHUNK, self.shape[0])
            yield slice(start, end), self.read(start, end)


def _reopened(file: str, name: str, indptr: np.ndarray, shape: tuple[int, int]) -> CsrOnDisk:
    return CsrOnDisk(h5py.File(file, "r")[name], indptr, shape)
