"""Open an .h5mu file and leave its matrices there."""

from __future__ import annotations

import os
import warnings
from typing import Any

import h5py
import mudata
from anndata import AnnData
from anndata.io import read_elem, sparse_dataset
from mudata import MuData

#: what else of a modality is read; neither pairwise matrices nor `raw`
_TABLES = ("obs", "var", "obsm", "uns")


def open_h5mu(path: str | os.PathLike[str]) -> MuData:
    """Modalities whose sparse matrices, X and layers, are read only when they are asked for.

    Where mudata's own ``backed="r"`` leaves X in the file and reads the layers, both stay in the file here. The file is
    open until the object is gone.
    """
    file = h5py.File(path, "r")
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        mdata = MuData({name: _modality(group) for name, group in file["mod"].items()})
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
