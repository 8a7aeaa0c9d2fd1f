"""Open .h5mu and .h5ad files: into memory, or with their matrices left on disk."""

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

#: in memory, or the path of an .h5mu or .h5ad file
Cells: TypeAlias = "MuData | AnnData | str | os.PathLike[str]"
#: what else of a modality is read; neither pairwise matrices nor `raw`
_TABLES = ("obs", "var", "obsm", "uns")


def read(path: str | os.PathLike[str], *, backed: bool = False) -> MuData:
    """Read an .h5mu file after checking that it is whole and understood.

    Parameters
    ----------
    path
        The file.
    backed
        Whether sparse matrices, in X and layers, stay in the file, which then is open until the result is gone.

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
        return _modalities(h5py.File(path, "r"))
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        return mudata.read_h5mu(path)


def is_path(data: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether these data are still in a file."""
    return isinstance(data, str | os.PathLike)


@contextmanager
def opened(data: Cells) -> Iterator[Any]:
    """The data themselves; of a path, what is in the file, sparse matrices left there; it is closed when the block ends."""
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
            yield _modalities(file)


def _modalities(file: h5py.File) -> MuData:
    """Modalities whose sparse matrices, X and layers, are read only when they are asked for.

    Where mudata's own ``backed="r"`` leaves X in the file and reads the layers, both stay in the file here.
    """
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        order = file["mod"].attrs.get("mod-order", list(file["mod"]))
        mdata = MuData({name: _modality(file["mod"][name]) for name in order})
        obs = read_elem(file["obs"])
        if obs.index.is_unique:  # if not, what is wrong is said where the barcodes are matched
            mdata.obs = obs.reindex(mdata.obs_names)
    return mdata


def _modality(group: h5py.Group) -> AnnData:
    tables = {name: read_elem(group[name]) for name in _TABLES if name in group}
    layers = {name: _matrix(node) for name, node in group.get("layers", {}).items()}
    x = _matrix(group["X"]) if "X" in group else None
    return AnnData(x, layers=layers, **tables)


def _matrix(node: h5py.Group | h5py.Dataset) -> Any:
    kind = node.attrs.get("encoding-type")
    return sparse_dataset(node) if kind in ("csr_matrix", "csc_matrix") else read_elem(node)
