"""Open .h5mu and .h5ad files, in memory or backed (matrices stay on disk)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import anndata
import h5py
import mudata
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset
from mudata import MuData

from sailerx.data import contract

#: single-cell data: an object in memory, or the path of an .h5mu or .h5ad file
Cells: TypeAlias = MuData | AnnData | str | os.PathLike[str]
#: elements of a modality read besides X and layers; obsp, varp, varm and raw are not
_TABLES = ("obs", "var", "obsm", "uns")


def read(path: str | os.PathLike[str], *, backed: bool = False) -> MuData:
    """Read an .h5mu file after checking that it is complete and of a known format version.

    Parameters
    ----------
    path
        The file.
    backed
        Whether sparse matrices (X and layers) stay in the file, which remains open as long as the result exists.

    Returns
    -------
    MuData with the columns of each modality left in its own obs and var.

    Raises
    ------
    InputError
        For a file that is missing, truncated, not HDF5, or of a newer format version.

    Examples
    --------
    >>> import sailerx, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sailerx.simulate_to_file(f"{folder}/cells.h5mu", 60, 100, 90, 3)
    ...     sailerx.read(f"{folder}/cells.h5mu").n_obs
    60
    """
    contract.check_file(Path(path))
    if backed:
        return _backed_mudata(h5py.File(path, "r"))
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        return mudata.read_h5mu(path)


def is_path(data: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether data are given as a path."""
    return isinstance(data, str | os.PathLike)


@contextmanager
def opened(data: Cells) -> Iterator[Any]:
    """Yield data in memory as they are; open a path backed, and close the file at the end of the ``with`` statement.

    Raises
    ------
    InputError
        For an .h5mu file that is missing, truncated, not HDF5, or of a newer format version.
    """
    if not is_path(data):
        yield data
    elif Path(data).suffix == ".h5ad":
        adata = anndata.read_h5ad(data, backed="r")
        try:
            yield adata
        finally:
            adata.file.close()
    else:
        contract.check_file(Path(data))
        with h5py.File(data, "r") as file:
            yield _backed_mudata(file)


def _backed_mudata(file: h5py.File) -> MuData:
    """Build MuData whose sparse matrices, X and layers, stay in the file.

    Unlike mudata's own ``backed="r"``, which reads layers into memory.
    """
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        order = file["mod"].attrs.get("mod-order", list(file["mod"]))
        mdata = MuData({name: _backed_modality(file["mod"][name]) for name in order})
        obs = read_elem(file["obs"])
        if obs.index.is_unique:  # duplicates are refused later, where barcodes are matched
            mdata.obs = obs.reindex(mdata.obs_names)
    return mdata


def _backed_modality(group: h5py.Group) -> AnnData:
    tables = {name: read_elem(group[name]) for name in _TABLES if name in group}
    layers = {name: _backed_matrix(node) for name, node in group.get("layers", {}).items()}
    x = _backed_matrix(group["X"]) if "X" in group else None
    return AnnData(x, layers=layers, **tables)


def _backed_matrix(node: h5py.Group | h5py.Dataset) -> Any:
    kind = node.attrs.get("encoding-type")
    return sparse_dataset(node) if kind in ("csr_matrix", "csc_matrix") else read_elem(node)
