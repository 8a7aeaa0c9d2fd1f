"""CSR matrices, or some of their columns, left in their file: row pointers are in memory, the rest is read in chunks of cells."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp
from anndata.abc import CSCDataset, CSRDataset

from sailerx.data.read_soon import ReadSoon
from sailerx.data.sparse_damage import place_of, refuse_damaged, refuse_damaged_parts, refuse_damaged_pointers

#: NumPy kind → types of that kind, ascending; sums of True and False are small numbers
_ASCENDING = {
    "b": ("uint8", "uint16", "uint32"),
    "u": ("uint16", "uint32"),
    "i": ("int16", "int32"),
    "f": ("float32",),
}
#: consecutive cells read together; training from disk shuffles chunks between buffers, and cells within a buffer
CELLS_PER_CHUNK = 256


def is_on_disk(matrix: object) -> bool:
    """Whether a matrix of a backed AnnData object is still in its file."""
    return isinstance(matrix, CSRDataset | CSCDataset | h5py.Dataset)


def canonical(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Sort indices, sum duplicates and drop stored zeros; return the argument itself if there is nothing to do."""
    if matrix.has_canonical_format and (matrix.nnz == 0 or matrix.data.all()):
        return matrix
    ordered = matrix.sorted_indices()
    parts = sp.csr_matrix((ordered.data, ordered.indices, ordered.indptr), shape=matrix.shape)
    if not parts.has_canonical_format:  # an entry is stored in several parts
        parts = widened(parts)
        parts.sum_duplicates()
        parts = in_storage_of(parts, matrix.dtype)
    parts.eliminate_zeros()
    return parts


def widened(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Copy counts to 64-bit numbers, to compute with: a byte holds 255 at most, a float32 no odd number above 2²⁴."""
    return matrix.astype(np.float64 if matrix.dtype.kind == "f" else np.int64)


def in_storage_of(matrix: sp.csr_matrix, dtype: np.dtype) -> sp.csr_matrix:
    """Convert 64-bit counts to the type that they had, or to the next wider one that holds them exactly."""
    wider = [np.dtype(name) for name in _ASCENDING.get(dtype.kind, ())]
    for kind in (dtype, *(kind for kind in wider if kind.itemsize >= dtype.itemsize)):
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = matrix.astype(kind)
        if (narrow.data == matrix.data).all():
            return narrow
    return matrix


@dataclass(frozen=True)
class CsrOnDisk:
    """A CSR matrix of cells × features in a file. Row pointers are 64-bit, so there may be more than 2³¹ non-zeros."""

    #: HDF5 or zarr group with the arrays ``data`` and ``indices``
    group: Any
    #: row pointers, one per cell and one more, int64
    indptr: np.ndarray
    #: cells × features of the file
    stored_shape: tuple[int, int]
    #: the columns that are meant, ascending; None for all
    columns: np.ndarray | None = None
    #: type to which values are converted; None for that of the file
    dtype: type[np.generic] | None = None

    @classmethod
    def of(cls, matrix: CSRDataset) -> CsrOnDisk:
        """Wrap a backed CSR matrix and read its row pointers."""
        if isinstance(matrix, ColumnsOnDisk):
            return matrix.stored
        return cls.in_group(matrix.group, matrix.shape)

    @classmethod
    def in_group(cls, group: Any, shape: Sequence[int], dtype: type[np.generic] | None = None) -> CsrOnDisk:
        """Take the arrays ``data``, ``indices`` and ``indptr`` of a group as cells × features."""
        n_cells, n_features = (int(size) for size in shape)
        refuse_damaged_parts(group)
        indptr, n_values = group["indptr"][:].astype(np.int64), int(group["data"].shape[0])
        refuse_damaged_pointers(indptr, n_cells, n_values, place_of(group))
        return cls(group, indptr, (n_cells, n_features), dtype=dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells × features that are meant."""
        return self.stored_shape[0], self.stored_shape[1] if self.columns is None else len(self.columns)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the names of the file or .zarr folder and of the group; another process opens it again."""
        rest = (self.indptr, self.stored_shape, self.columns, self.dtype)
        if isinstance(self.group, h5py.Group):
            return _reopened, (os.path.abspath(self.group.file.filename), self.group.name, *rest)
        return _reopened_zarr, (str(self.group.store.root), self.group.path, *rest)

    def read(self, start: int, end: int, *, values: bool = True) -> sp.csr_matrix:
        """Read cells start to end (exclusive) as stored; with ``values=False`` every stored entry is 1 (uint8)."""
        first, last = int(self.indptr[start]), int(self.indptr[end])
        indices = self.group["indices"][first:last]
        data = self.group["data"][first:last] if values else np.ones(len(indices), np.uint8)
        data = data.astype(self.dtype, copy=False) if values and self.dtype else data
        stored = sp.csr_matrix(
            (data, indices, self.indptr[start : end + 1] - first), shape=(end - start, self.stored_shape[1])
        )
        refuse_damaged(stored, place_of(self.group))
        return stored if self.columns is None else stored[:, self.columns]

    @cached_property
    def _parts(self) -> list[ReadSoon]:
        found = [ReadSoon.of(self.group[name]) for name in ("indices", "data")]
        return [part for part in found if part is not None]

    def announce(self, start: int, end: int, *, values: bool = True) -> None:
        """Say that cells start to end are read soon, so that the operating system may fetch them from disk meanwhile."""
        for part in self._parts if values else self._parts[:1]:
            part.announce(int(self.indptr[start]), int(self.indptr[end]))

    def chunks(self) -> Iterator[tuple[slice, sp.csr_matrix]]:
        """Yield (range of cells, their rows) for all cells in order, `CELLS_PER_CHUNK` at a time."""
        n_cells = self.shape[0]
        for start in range(0, n_cells, CELLS_PER_CHUNK):
            end = min(start + CELLS_PER_CHUNK, n_cells)
            self.announce(end, min(end + CELLS_PER_CHUNK, n_cells))
            yield slice(start, end), self.read(start, end)


def _reopened(file: str, name: str, *rest: Any) -> CsrOnDisk:
    return CsrOnDisk(h5py.File(file, "r")[name], *rest)


def _reopened_zarr(folder: str, name: str, *rest: Any) -> CsrOnDisk:
    import zarr

    return CsrOnDisk(zarr.open_group(folder, mode="r")[name], *rest)


class ColumnsOnDisk(CSRDataset):
    """Some columns of a CSR matrix in a file, as the X of an AnnData object of their own.

    Parameters
    ----------
    stored
        The whole matrix.
    columns
        Positions of the columns, ascending.
    """

    format = "csr"

    def __init__(self, stored: CsrOnDisk, columns: np.ndarray) -> None:
        self.stored = replace(stored, columns=columns)
        self.shape = self.stored.shape
        self.dtype = np.dtype(stored.dtype or stored.group["data"].dtype)
        self.backend = "hdf5" if isinstance(stored.group, h5py.Group) else "zarr"

    def __getitem__(self, index: Any) -> sp.csr_matrix:
        """Read cells, or cells and columns, into memory; each chunk of cells is read once."""
        rows, *columns = index if isinstance(index, tuple) else (index,)
        wanted = np.arange(self.shape[0])[rows].ravel()
        order = np.argsort(wanted, kind="stable")
        of_chunk = wanted[order] // CELLS_PER_CHUNK
        parts = [
            self._chunk(i)[wanted[order][of_chunk == i] - i * CELLS_PER_CHUNK] for i in np.unique(of_chunk)
        ]
        none = sp.csr_matrix((0, self.shape[1]), dtype=self.dtype)
        found = sp.csr_matrix(sp.vstack([none, *parts], format="csr")[np.argsort(order)])
        return found[:, np.arange(self.shape[1])[columns[0]].ravel()] if columns else found

    def _chunk(self, i: int) -> sp.csr_matrix:
        start = i * CELLS_PER_CHUNK
        return self.stored.read(start, min(start + CELLS_PER_CHUNK, self.shape[0]))

    def to_memory(self) -> sp.csr_matrix:
        """Read all cells."""
        return self[:]
