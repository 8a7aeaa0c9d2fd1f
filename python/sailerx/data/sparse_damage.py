"""Refuse sparse matrices whose indices or pointers are damaged: compiled code that trusts them would read foreign memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from mudata import MuData

from sailerx.errors import InputError


def refuse_damaged(matrix: Any, where: str) -> None:
    """Check every index and pointer of a CSR or CSC matrix in memory; other matrices pass.

    Raises
    ------
    InputError
        With the place of the matrix and what is wrong.
    """
    if not (sp.issparse(matrix) and matrix.format in ("csr", "csc")):
        return
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise damaged(where, error) from error


def refuse_damaged_parts(group: Any) -> None:
    """Check that a group on disk holds the three arrays of a sparse matrix.

    Raises
    ------
    InputError
        With the place of the matrix and what is wrong.
    """
    for part in ("data", "indices", "indptr"):
        array = group.get(part)
        if len(getattr(array, "shape", None) or ()) != 1 or array.dtype.kind not in "iufb":
            raise damaged(place_of(group), f"{part!r} must be an array of numbers")
    if group["indices"].dtype.kind not in "iu" or group["indptr"].dtype.kind not in "iu":
        raise damaged(place_of(group), "its indices and pointers must be whole numbers")
    if group["data"].shape != group["indices"].shape:
        raise damaged(place_of(group), "it must have as many values as indices")


def refuse_damaged_pointers(indptr: np.ndarray, n_rows: int, n_values: int, where: str) -> None:
    """Check the row pointers of a CSR matrix of which the rest is still in its file.

    Raises
    ------
    InputError
        With the place of the matrix and what is wrong.
    """
    if indptr.shape != (n_rows + 1,):
        raise damaged(where, f"it must have {n_rows + 1:,} pointers, but has {indptr.size:,}")
    if indptr[0] != 0 or indptr[-1] != n_values or (np.diff(indptr) < 0).any():
        raise damaged(where, f"its pointers must ascend from 0 to its number of values, {n_values:,}")


def refuse_damaged_cells(data: MuData | AnnData, where: str) -> None:
    """Check all matrices of counts that an object holds in memory: X, layers and raw.

    Raises
    ------
    InputError
        With the place of the matrix and what is wrong.
    """
    for name, adata in data.mod.items() if isinstance(data, MuData) else [("", data)]:
        matrices = {"X": adata.X, **{f"layers/{key}": layer for key, layer in adata.layers.items()}}
        if adata.raw is not None:
            matrices["raw/X"] = adata.raw.X
        for key, matrix in matrices.items():
            refuse_damaged(matrix, f"{where}: {f'{name}/' if name else ''}{key}")


def damaged(where: str, reason: object) -> InputError:
    """Make the error that says which matrix is damaged, and how."""
    return InputError(f"{where} is damaged: {reason}. Write or copy the file again.")


def place_of(group: Any) -> str:
    """Name the file and the group of a matrix on disk, for messages."""
    file = getattr(getattr(group, "file", None), "filename", "")
    return f"{file}: matrix {group.name}" if file else f"matrix {group.name}"
