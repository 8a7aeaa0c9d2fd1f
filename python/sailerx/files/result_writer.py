"""Gather the rows of a large result as they are computed: in memory, or in an .h5ad file or .zarr folder.

A result arrives as a sequence of `ResultRows`; writing it to disk needs the memory of one of them. Files use only the old,
stable encodings of anndata.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from anndata.io import write_elem

from sailerx.errors import InputError
from sailerx.files.atomic import new_file, new_folder
from sailerx.files.h5mu_writer import CsrWriter

#: consecutive rows × all columns, dense: (values,) or (values, standard deviations)
ResultRows = tuple[np.ndarray, ...]
#: where the matrices of `ResultRows` are in the file
_PATHS = ("X", "layers/std")
#: values per HDF5 or zarr chunk of a dense matrix: 1 MB, so that rows and columns can both be read at fair speed
_CHUNK_VALUES = 2**18


def sparsify(rows: ResultRows, threshold: float) -> tuple[sp.csr_matrix, ...]:
    """Convert rows to CSR, keeping entries whose value (first matrix) exceeds the threshold, in every matrix."""
    row, column = np.nonzero(rows[0] > threshold)
    indptr = np.concatenate([[0], np.bincount(row, minlength=len(rows[0])).cumsum()])
    return tuple(sp.csr_matrix((m[row, column], column, indptr), shape=m.shape) for m in rows)


def collect(parts: Iterable[ResultRows], frame: AnnData, threshold: float | None = None) -> AnnData:
    """Gather all rows in memory.

    Parameters
    ----------
    parts
        Consecutive rows, in order.
    frame
        obs, var and uns of the result, without a matrix; it is filled in place.
    threshold
        Store values above it as CSR; ``None`` = dense.

    Returns
    -------
    ``frame`` with float32 X, and standard deviations, if there are any, as layer ``std``.
    """
    matrices = _dense(parts, frame.shape) if threshold is None else _sparse(parts, threshold)
    frame.X = matrices[0]
    if len(matrices) > 1:
        frame.layers["std"] = matrices[1]
    return frame


def _dense(parts: Iterable[ResultRows], shape: tuple[int, int]) -> list[np.ndarray]:
    whole: list[np.ndarray] = []
    start = 0
    for rows in parts:
        whole = whole or [np.empty(shape, np.float32) for _ in rows]
        for matrix, new in zip(whole, rows, strict=True):
            matrix[start : start + len(new)] = new
        start += len(rows[0])
    return whole


def _sparse(parts: Iterable[ResultRows], threshold: float) -> list[sp.csr_matrix]:
    sparse = [sparsify(rows, threshold) for rows in parts]
    return [sp.vstack(matrices, format="csr") for matrices in zip(*sparse, strict=True)]


def refuse_path(path: str | os.PathLike[str]) -> None:
    """Check, before anything is computed, that a result can be written to ``path``.

    Raises
    ------
    InputError
        If ``path`` does not end in .h5ad or .zarr, its folder does not exist, a .zarr exists already, or zarr is missing or
        older than 3.
    """
    path = Path(path)
    if path.suffix not in (".h5ad", ".zarr"):
        raise InputError(f"`out` must end in .h5ad or .zarr, got {str(path)!r}.")
    if not path.parent.is_dir():
        raise InputError(f"the folder of {path} must exist. Make it first, or choose another place.")
    if path.suffix == ".zarr" and path.exists():
        raise InputError(f"{path} exists already. Remove it or choose another name.")
    if path.suffix == ".zarr":
        _zarr()


def _zarr() -> Any:
    try:
        import zarr

        zarr.Group.create_array  # noqa: B018
    except (ImportError, AttributeError) as error:
        raise InputError(
            "writing .zarr needs zarr 3 (`pip install 'zarr>=3'`). Install it, or write an .h5ad file."
        ) from error
    return zarr


def write(
    path: str | os.PathLike[str],
    parts: Iterable[ResultRows],
    frame: AnnData,
    *,
    n_matrices: int = 1,
    threshold: float | None = None,
) -> None:
    """Write all rows to disk as AnnData; the file or folder appears under its name once it is complete.

    Parameters
    ----------
    path
        Ends in .h5ad (an existing one is replaced) or .zarr.
    parts, frame, threshold
        As for `collect`.
    n_matrices
        Matrices of each `ResultRows`: 1, or 2 with standard deviations.
    """
    with _root(Path(path), frame) as root:
        writers = [_writer(root, path, frame.shape, threshold) for path in _PATHS[:n_matrices]]
        for rows in parts:
            written = rows if threshold is None else sparsify(rows, threshold)
            for writer, matrix in zip(writers, written, strict=True):
                writer.append(matrix)


@contextmanager
def _root(path: Path, frame: AnnData) -> Iterator[Any]:
    """Open the file or folder atomically, with everything but the matrices written."""
    frame = AnnData(obs=plain(frame.obs), var=plain(frame.var), uns=dict(frame.uns))
    if path.suffix == ".h5ad":
        with new_file(path) as part, h5py.File(part, "w") as file:
            _write_frame(file, frame)
            yield file
        return
    zarr = _zarr()
    with new_folder(path) as folder:
        root = zarr.open_group(str(folder), mode="w", zarr_format=2)  # format 2 is read by zarr 2 and 3
        _write_frame(root, frame)
        yield root
        zarr.consolidate_metadata(str(folder))


def _write_frame(root: Any, frame: AnnData) -> None:
    write_elem(root, "/", frame)
    for name in list(root):  # newer anndata writes "null" for absent elements, which older readers refuse
        if root[name].attrs.get("encoding-type") == "null":
            del root[name]


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Convert a data frame to numeric, boolean and categorical columns with text names, which every reader understands.

    Nullable numbers become floats with NaN; text and all other types become categories of text.
    """
    columns = {str(name): _plain_column(column) for name, column in table.items()}
    return pd.DataFrame(columns, index=table.index).set_axis(
        pd.Index(table.index.astype(str), dtype=object, name=None)
    )


def _plain_column(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(float)
    if not isinstance(column.dtype, pd.CategoricalDtype):
        if not column.map(lambda value: isinstance(value, Hashable)).all():  # lists, say
            column = column.map(str, na_action="ignore")
        column = column.astype("category")
    return column.cat.rename_categories([str(name) for name in column.cat.categories])


def _writer(root: Any, path: str, shape: tuple[int, int], threshold: float | None) -> Any:
    group, name = (root, path) if "/" not in path else (root[path.split("/")[0]], path.split("/")[1])
    if threshold is None:
        return _DenseWriter(group, name, shape)
    is_file = isinstance(group, h5py.Group)
    return CsrWriter(group, name, shape, None) if is_file else _ZarrCsrWriter(group, name, shape)


class _DenseWriter:
    """Write a dense float32 matrix by appending rows."""

    def __init__(self, group: Any, name: str, shape: tuple[int, int]) -> None:
        n_rows, n_columns = max(1, min(shape[0], 64)), max(1, shape[1])
        chunks = n_rows, min(n_columns, max(1, _CHUNK_VALUES // n_rows))
        create = group.create_dataset if isinstance(group, h5py.Group) else group.create_array
        self.data = create(name, shape=shape, dtype="float32", chunks=chunks)
        self.data.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        self.rows = 0

    def append(self, rows: np.ndarray) -> None:
        self.data[self.rows : self.rows + len(rows)] = rows
        self.rows += len(rows)


class _ZarrCsrWriter(CsrWriter):
    """Write a CSR matrix to a zarr folder by appending rows."""

    def __init__(self, group: Any, name: str, shape: tuple[int, int]) -> None:
        self.group = group.create_group(name)
        self.group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(shape)}
        )
        for part, dtype in (("data", "float32"), ("indices", "int32")):
            self.group.create_array(part, shape=(0,), dtype=dtype, chunks=(_CHUNK_VALUES,))
        self.group.create_array("indptr", shape=(shape[0] + 1,), dtype="int64")
        self.rows = 0
