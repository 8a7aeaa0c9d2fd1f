"""Write an .h5mu file row by row, in the old, stable encodings of anndata; memory does not grow with the number of cells."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from sailerx.files.atomic import new_file

USER_BLOCK = 512  # bytes before the HDF5 signature, for the signature of mudata
ROWS_PER_HDF5_CHUNK = 100_000
_UTF8 = h5py.string_dtype()


@contextmanager
def atomic_h5mu(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a new .h5mu for writing under a temporary name; rename it to ``path`` if the ``with`` body succeeds.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.

    Yields
    ------
    The open HDF5 file.

    Raises
    ------
    InputError
        If the folder of ``path`` does not exist, or ``path`` is a folder.
    """
    with new_file(path) as part:
        with h5py.File(part, "w", userblock_size=USER_BLOCK) as file:
            yield file
        with open(part, "r+b") as raw:
            raw.write(b"MuData (format-version=0.1.0;creator=sailerx)".ljust(USER_BLOCK, b"\0"))


def write_array(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Write an array of numbers or text with the encoding attributes of anndata."""
    text = values.dtype.kind in "OU"
    dataset = group.create_dataset(
        name, data=values.astype(object) if text else values, dtype=_UTF8 if text else None
    )
    _mark(dataset, "string-array" if text else "array", "0.2.0")


def write_dict(group: h5py.Group, name: str, arrays: Mapping[str, np.ndarray] | None = None) -> h5py.Group:
    """Write a dictionary of arrays, empty by default; return its HDF5 group."""
    inner = group.create_group(name)
    _mark(inner, "dict", "0.1.0")
    for key, values in (arrays or {}).items():
        write_array(inner, key, values)
    return inner


def write_frame(group: h5py.Group, name: str, frame: pd.DataFrame) -> None:
    """Write a data frame with numeric and categorical columns."""
    FrameWriter(group, name, frame, len(frame)).append(frame)


def write_anndata(
    group: h5py.Group, name: str, var: pd.DataFrame, uns: Mapping[str, Mapping[str, np.ndarray]]
) -> h5py.Group:
    """Write everything of a modality that has no axis of cells, and return its group; the caller adds ``X`` and ``obs``."""
    inner = group.create_group(name)
    _mark(inner, "anndata", "0.1.0")
    write_frame(inner, "var", var)
    for key in ("obsm", "varm", "obsp", "varp", "layers"):
        write_dict(inner, key)
    for key, arrays in uns.items():
        write_dict(inner.require_group("uns"), key, arrays)
    _mark(inner.require_group("uns"), "dict", "0.1.0")
    return inner


def _mark(item: h5py.Group | h5py.Dataset, encoding: str, version: str) -> None:
    item.attrs["encoding-type"] = encoding
    item.attrs["encoding-version"] = version


class CsrWriter:
    """Write a CSR matrix (float32) by appending rows; row pointers are int64, so it may have more than 2³¹ non-zeros."""

    def __init__(self, group: h5py.Group, name: str, shape: tuple[int, int], compression: str | None) -> None:
        """Create the empty matrix with its final shape, cells × features; ``compression`` is ``"gzip"``, ``"lzf"`` or None."""
        self.group = group.create_group(name)
        self.group.attrs["shape"] = np.array(shape, dtype=np.int64)
        _mark(self.group, "csr_matrix", "0.1.0")
        options = {"maxshape": (None,), "chunks": (ROWS_PER_HDF5_CHUNK,), "shuffle": compression is not None}
        if compression == "gzip":
            options["compression_opts"] = 1
        for part, dtype in (("data", np.float32), ("indices", np.int32)):
            self.group.create_dataset(part, (0,), dtype, compression=compression, **options)
        self.group.create_dataset("indptr", (shape[0] + 1,), np.int64)
        self.rows = 0

    def append(self, rows: sp.csr_matrix) -> None:
        """Append rows (consecutive cells × all features)."""
        start = self.group["data"].shape[0]
        for part in ("data", "indices"):
            self.group[part].resize((start + rows.nnz,))
            self.group[part][start:] = getattr(rows, part)
        end = self.rows + rows.shape[0]
        self.group["indptr"][self.rows + 1 : end + 1] = rows.indptr[1:].astype(np.int64) + start
        self.rows = end


class FrameWriter:
    """Write a data frame with numeric and categorical columns by appending rows."""

    def __init__(self, group: h5py.Group, name: str, like: pd.DataFrame, n_rows: int) -> None:
        """Create the empty data frame with the columns, dtypes and categories of ``like`` and its final number of rows."""
        self.group = group.create_group(name)
        _mark(self.group, "dataframe", "0.2.0")
        self.group.attrs["_index"] = "_index"
        columns = np.array(list(like.columns), dtype=object)
        self.group.attrs.create("column-order", columns, dtype=_UTF8)
        _mark(self.group.create_dataset("_index", (n_rows,), _UTF8), "string-array", "0.2.0")
        for column, values in like.items():
            self._create(str(column), values, n_rows)
        self.rows = 0

    def _create(self, name: str, values: pd.Series, n_rows: int) -> None:
        if not isinstance(values.dtype, pd.CategoricalDtype):
            _mark(self.group.create_dataset(name, (n_rows,), values.dtype), "array", "0.2.0")
            return
        column = self.group.create_group(name)
        _mark(column, "categorical", "0.2.0")
        column.attrs["ordered"] = bool(values.cat.ordered)
        write_array(column, "categories", values.cat.categories.to_numpy(dtype=object))
        _mark(column.create_dataset("codes", (n_rows,), values.cat.codes.dtype), "array", "0.2.0")

    def append(self, rows: pd.DataFrame) -> None:
        """Append rows with the columns of the first."""
        new = slice(self.rows, self.rows + len(rows))
        self.group["_index"][new] = rows.index.to_numpy(dtype=object)
        for column, values in rows.items():
            if isinstance(values.dtype, pd.CategoricalDtype):
                self.group[column]["codes"][new] = values.cat.codes.to_numpy()
            else:
                self.group[column][new] = values.to_numpy()
        self.rows = new.stop


def finish_h5mu(file: h5py.File, n_obs: int, var_names: Mapping[str, pd.Index]) -> None:
    """Write the top level of an .h5mu whose modalities share all cells: var, obsmap, varmap and the MuData attributes.

    Parameters
    ----------
    file
        Already holds ``obs``, and the modalities under ``mod``.
    n_obs
        Number of cells.
    var_names
        Modality → names of its features, in the order of the modalities.
    """
    names = np.concatenate([index.to_numpy(dtype=object) for index in var_names.values()])
    write_frame(file, "var", pd.DataFrame(index=pd.Index(names, dtype=object)))
    obsmap, varmap = write_dict(file, "obsmap"), write_dict(file, "varmap")
    first = 0
    for modality, index in var_names.items():
        position = np.zeros(len(names), np.uint32)  # in the modality, from 1; 0 = not in it
        position[first : first + len(index)] = np.arange(1, len(index) + 1)
        write_array(varmap, modality, position)
        _write_one_to_n(obsmap, modality, n_obs)
        first += len(index)
    for key in ("obsm", "varm", "obsp", "varp", "uns"):
        write_dict(file, key)
    file["mod"].attrs["mod-order"] = list(var_names)
    file.attrs["axis"] = 0
    _mark(file, "MuData", "0.1.0")


def _write_one_to_n(group: h5py.Group, name: str, n: int) -> None:
    """Write the integers 1 to n (uint32) in slices, so that memory does not grow with n."""
    dataset = group.create_dataset(name, (n,), np.uint32)
    _mark(dataset, "array", "0.2.0")
    for start in range(0, n, ROWS_PER_HDF5_CHUNK):
        dataset[start : start + ROWS_PER_HDF5_CHUNK] = np.arange(
            start + 1, min(start + ROWS_PER_HDF5_CHUNK, n) + 1
        )
