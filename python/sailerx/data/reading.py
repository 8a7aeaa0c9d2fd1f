"""Open single-cell data: .h5mu, .h5ad, .zarr and Cell Ranger's .h5, in memory or backed (matrices stay on disk)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

import anndata
import h5py
import mudata
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset
from mudata import MuData

from sailerx.data import contract
from sailerx.data.modalities import find_modalities, split_features
from sailerx.data.obs_columns import joined_obs
from sailerx.data.sparse_damage import refuse_damaged_cells
from sailerx.data.tenx import is_tenx, read_tenx
from sailerx.errors import InputError
from sailerx.files.trouble import reading, unreadable

#: single-cell data: an object in memory, or the path of an .h5mu, .h5ad or Cell Ranger .h5 file or of a .zarr folder
Cells: TypeAlias = MuData | AnnData | str | os.PathLike[str]
#: elements of a modality read besides X, layers and raw; obsp, varp and varm are not
_TABLES = ("obs", "var", "obsm", "uns")

Kind = Literal["mudata", "anndata", "tenx"]


def read(path: str | os.PathLike[str], *, backed: bool = False) -> MuData:
    """Read a file or .zarr folder with RNA and ATAC after checking that it is complete and of a known format version.

    Parameters
    ----------
    path
        An .h5mu file or .zarr folder of MuData; or one matrix of genes and peaks, told apart by ``feature_types``: Cell Ranger's
        ``filtered_feature_bc_matrix.h5``, or AnnData as an .h5ad file or .zarr folder.
    backed
        Whether sparse matrices (X and layers) stay in the file, which remains open as long as the result exists.

    Returns
    -------
    MuData with the columns of each modality left in its own obs and var.

    Raises
    ------
    InputError
        For a file that is missing, truncated, of another kind, or of a newer format version.

    Examples
    --------
    >>> import sailerx, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sailerx.simulate_to_file(f"{folder}/cells.h5mu", 60, 100, 90, 3)
    ...     sailerx.read(f"{folder}/cells.h5mu").n_obs
    60
    """
    found = read_cells(path) if not backed else _backed(_root(path), kind_of(path))
    found = split_features(found, "rna", "atac") if isinstance(found, AnnData) else found
    if isinstance(found, AnnData):
        contract.refuse_one_modality(Path(path))
    return found


def read_cells(path: str | os.PathLike[str]) -> MuData | AnnData:
    """Read a file or .zarr folder into memory, whatever it holds.

    Raises
    ------
    InputError
        As `read`.
    """
    kind = kind_of(path)
    if kind == "mudata" and not Path(path).is_dir():
        contract.check_file(Path(path))
    with reading(path), warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        found = _in_memory(path, kind)
    refuse_damaged_cells(found, os.fspath(path))
    return found


def atac_in_memory(data: Cells, atac: str, layer: str | None = None) -> AnnData:
    """Take the ATAC of data, in memory or in a file: AnnData as it is, or the modality of this name.

    ``layer`` is the layer of counts that the user has named, if any.

    Raises
    ------
    InputError
        As `read`; or if there is no such modality.
    """
    found = find_modalities(read_cells(data) if is_path(data) else data, "rna", atac, atac_layer=layer)
    adata = _modality_of(found, atac)
    if isinstance(found, MuData):  # columns of the global obs are the cells' too
        obs = joined_obs(found, atac)
        own = [
            name for name in obs if name in adata.obs or ":" not in str(name)
        ]  # not those of other modalities
        adata = AnnData(adata.X, obs[own], adata.var, obsm=dict(adata.obsm), layers=dict(adata.layers))
    return adata


def peaks_of(data: Cells, atac: str) -> pd.DataFrame:
    """Take the table of peaks of data, var of the ATAC; sparse matrices stay in their file.

    Raises
    ------
    InputError
        As `atac_in_memory`.
    """
    with opened(data) as there:
        parts = split_features(there, "rna", atac) if isinstance(there, AnnData) else there
        if isinstance(parts, MuData) and atac not in parts.mod:
            parts = find_modalities(parts, "rna", atac)
        return _modality_of(parts, atac).var.copy()


def _modality_of(found: Any, atac: str) -> AnnData:
    if isinstance(found, MuData) and atac in found.mod:
        return found.mod[atac]
    if isinstance(found, AnnData):
        return found
    there = ", ".join(found.mod) if isinstance(found, MuData) else type(found).__name__
    raise InputError(
        f"the data must be AnnData or MuData with a modality {atac!r}, or the path of such a file; found {there}."
    )


def _in_memory(path: str | os.PathLike[str], kind: Kind) -> MuData | AnnData:
    if kind == "tenx":
        with h5py.File(path, "r") as file:
            return read_tenx(file)
    if Path(path).is_dir():
        return mudata.read_zarr(path) if kind == "mudata" else anndata.read_zarr(path)
    return mudata.read_h5mu(path) if kind == "mudata" else anndata.read_h5ad(path)


def is_path(data: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether data are given as a path."""
    return isinstance(data, str | os.PathLike)


@contextmanager
def opened(data: Cells) -> Iterator[Any]:
    """Yield data in memory as they are; open a path backed, and close the file at the end of the ``with`` statement.

    Raises
    ------
    InputError
        As `read`; or if the file turns out to be damaged while its matrices are read.
    """
    if not is_path(data):
        yield data
        return
    kind = kind_of(data)
    root = _root(data)
    try:
        yield _backed(root, kind)
    except (OSError, RuntimeError, KeyError) as error:
        if not _is_of_hdf5(error):
            raise
        raise unreadable(data, error) from error
    finally:
        if isinstance(root, h5py.File):
            root.close()


def _is_of_hdf5(error: Exception) -> bool:
    """Whether the HDF5 library has raised an error: of a type of Python's, but without the number of a system's error."""
    if isinstance(error, InputError):
        return False
    return isinstance(error, OSError) and error.errno is None or "nable to synchronously" in str(error)


def kind_of(path: str | os.PathLike[str]) -> Kind:
    """Tell by its content what a file or .zarr folder holds.

    Raises
    ------
    InputError
        If there is none, it cannot be opened, or it is neither HDF5 nor zarr.
    """
    with reading(path):  # a folder above it may not be entered
        is_folder = Path(path).is_dir()
    if is_folder:
        root = _zarr_root(Path(path))
        return "mudata" if "mod" in root else "anndata"
    with contract.open_hdf5(Path(path)) as file, reading(path):
        if "mod" in file:
            return "mudata"
        if is_tenx(file):
            return "tenx"
        is_anndata = file.attrs.get("encoding-type") == "anndata" or {"X", "obs", "var"} <= set(file)
        return "anndata" if is_anndata else "mudata"


def _root(path: str | os.PathLike[str]) -> Any:
    """Open the root group; an .h5mu is checked first."""
    if Path(path).is_dir():
        return _zarr_root(Path(path))
    if kind_of(path) == "mudata":
        contract.check_file(Path(path))
    with reading(path):
        return h5py.File(path, "r")


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a zarr group, of format 2 or 3."""
    return any((folder / name).exists() for name in (".zgroup", "zarr.json"))


def _zarr_root(folder: Path) -> Any:
    if not is_zarr(folder):
        raise InputError(
            f"{folder} must be a file or a .zarr folder with cells, but it is another folder. Name the file inside it."
        )
    try:
        import zarr
    except ImportError as error:
        raise InputError(f"reading {folder} needs zarr. Install it: pip install zarr.") from error
    with reading(folder):
        root = zarr.open_group(str(folder), mode="r")
        if not {"obs", "var"} & set(root):
            raise InputError(
                f"{folder} must hold AnnData or MuData, but has neither `obs` nor `var`. Write it again."
            )
        return root


def _backed(root: Any, kind: Kind) -> MuData | AnnData:
    """Build an object whose sparse matrices, X and layers, stay in the file."""
    where = root.filename if isinstance(root, h5py.File) else str(root.store_path)
    with reading(where):
        if kind == "tenx":
            return read_tenx(root, backed=True)
        return _backed_mudata(root) if kind == "mudata" else _backed_anndata(root)


def _backed_mudata(root: Any) -> MuData:
    """Unlike mudata's own ``backed="r"``, which reads layers into memory."""
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        order = root["mod"].attrs.get("mod-order", list(root["mod"]))
        mdata = MuData({name: _backed_anndata(root["mod"][name]) for name in order})
        obs = read_elem(root["obs"])
        if obs.index.is_unique:  # duplicates are refused later, where barcodes are matched
            mdata.obs = obs.reindex(mdata.obs_names)
    return mdata


def _backed_anndata(group: Any) -> AnnData:
    tables = {name: read_elem(group[name]) for name in _TABLES if name in group}
    layers = {name: _backed_matrix(node) for name, node in _members(group, "layers")}
    x = _backed_matrix(group["X"]) if "X" in group else None
    return AnnData(x, layers=layers, raw=_backed_raw(group), **tables)


def _members(group: Any, name: str) -> list[tuple[str, Any]]:
    """Names and nodes of a group in the file; none if there is no such group."""
    return [(key, group[name][key]) for key in group[name]] if name in group else []


def _backed_raw(group: Any) -> dict[str, Any] | None:
    if "raw" not in group or group["raw"].attrs.get("encoding-type") == "null":
        return None
    return {"X": _backed_matrix(group["raw"]["X"]), "var": read_elem(group["raw"]["var"])}


def _backed_matrix(node: Any) -> Any:
    kind = node.attrs.get("encoding-type")
    return sparse_dataset(node) if kind in ("csr_matrix", "csc_matrix") else read_elem(node)
