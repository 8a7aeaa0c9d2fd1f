"""Collect the rows of a large result as they are computed: in memory, or in an .h5ad file or .zarr folder.

Results come as `ResultRows`, some consecutive rows at a time; a file needs no more memory than those. Files hold the old, stable
encodings of anndata alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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

#: consecutive rows × all columns: the values, and their standard deviation where it was asked for
ResultRows = tuple[np.ndarray, ...]
_PLACES = ("X", "layers/std")
#: values in one chunk of a dense matrix on disk: 1 MB, so that reading cells and reading peaks are both fair
_CHUNK_VALUES = 2**18


def sparsify(rows: ResultRows, threshold: float) -> tuple[sp.csr_matrix, ...]:
    """Rows as CSR where the first matrix exceeds the threshold; the second has the same places."""
    row, column = np.nonzero(rows[0] > threshold)
    indptr = np.concatenate([[0], np.bincount(row, minlength=len(rows[0])).cumsum()])
    return tuple(sp.csr_matrix((m[row, column], column, indptr), shape=m.shape) for m in rows)


def collect(parts: Iterable[ResultRows], frame: AnnData, threshold: float | None = None) -> AnnData:
    """All rows in memory.

    Parameters
    ----------
    parts
        Rows in order.
    frame
        Names and metadata of the result, without a matrix.
    threshold
        Keep what exceeds it, as CSR; without it the result is dense.

    Returns
    -------
    ``frame`` with float32 X, and with two matrices the second as layer ``std``.
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
        for matrix, some in zip(whole, rows, strict=True):
            matrix[start : start + len(some)] = some
        start += len(rows[0])
    return whole


def _sparse(parts: Iterable[ResultRows], threshold: float) -> list[sp.csr_matrix]:
    sparse = [sparsify(rows, threshold) for rows in parts]
    return [sp.vstack(matrices, format="csr") for matrices in zip(*sparse, strict=True)]


def refuse_path(path: str | os.PathLike[str]) -> None:
    """Raise, before anything is computed, if results cannot go there.

    Raises
    ------
    InputError
        For another ending than .h5ad or .zarr, an existing .zarr, or where zarr is missing or too old.
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
    """All rows on disk, as anndata reads it; the file or folder appears under its name once it is whole.

    Parameters
    ----------
    path
        Ends in .h5ad (an existing one is replaced) or .zarr.
    parts, frame, threshold
        As for `collect`.
    n_matrices
        Matrices per part: 1, or 2 with standard deviations.
    """
    with _root(Path(path), frame) as root:
        writers = [_writer(root, place, frame.shape, threshold) for place in _PLACES[:n_matrices]]
        for rows in parts:
            written = rows if threshold is None else sparsify(rows, threshold)
            for writer, matrix in zip(writers, written, strict=True):
                writer.append(matrix)


@contextmanager
def _root(path: Path, frame: AnnData) -> Iterator[Any]:
    """The open file or folder with all but the matrices in it."""
    frame = AnnData(obs=plain(frame.obs), var=plain(frame.var), uns=dict(frame.uns))
    if path.suffix == ".h5ad":
        with new_file(path) as part, h5py.File(part, "w") as file:
            _write_frame(file, frame)
            yield file
        return
    zarr = _zarr()
    with new_folder(path) as folder:
        root = zarr.open_group(str(folder), mode="w", zarr_format=2)  # what zarr 2 and 3 read
        _write_frame(root, frame)
        yield root
        zarr.consolidate_metadata(str(folder))


def _write_frame(root: Any, frame: AnnData) -> None:
    write_elem(root, "/", frame)
    for name in list(root):  # newer anndata mark what is absent, which older ones and R do not understand
        if root[name].attrs.get("encoding-type") == "null":
            del root[name]


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """A table of numbers, truth values and categories of text under text names: what every reader understands.

    Text becomes categories; nullable numbers become floats with NaN; all else becomes categories of its text.
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
        column = column.astype("category")
    return column.cat.rename_categories([str(name) for name in column.cat.categories])


def _writer(root: Any, place: str, shape: tuple[int, int], threshold: float | None) -> Any:
    group, name = (root, place) if "/" not in place else (root[place.split("/")[0]], place.split("/")[1])
    if threshold is None:
        return _DenseWriter(group, name, shape)
    is_file = isinstance(group, h5py.Group)
    return CsrWriter(group, name, shape, None) if is_file else _ZarrCsrWriter(group, name, shape)


class _DenseWriter:
    """A dense float32 matrix that is filled by rows."""

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
    """The same CSR matrix in a zarr folder."""

    def __init__(self, group: Any, name: str, shape: tuple[int, int]) -> None:
        self.group = group.create_group(name)
        self.group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(shape)}
        )
        for part, dtype in (("data", "float32"), ("indices", "int32")):
            self.group.create_array(part, shape=(0,), dtype=dtype, chunks=(_CHUNK_VALUES,))
        self.group.create_array("indptr", shape=(shape[0] + 1,), dtype="int64")
        self.rows = 0
