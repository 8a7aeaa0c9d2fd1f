"""Read Cell Ranger's ``filtered_feature_bc_matrix.h5``: genes and peaks of the same cells in one matrix."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData

from sailerx.data.csr_on_disk import ColumnsOnDisk, CsrOnDisk

#: columns of var and the names of their datasets in the file
_COLUMNS = {"gene_ids": "id", "feature_types": "feature_type", "genome": "genome", "interval": "interval"}


def is_tenx(file: h5py.File) -> bool:
    """Whether an HDF5 file has the layout of Cell Ranger 3 and later."""
    return "matrix" in file and {"barcodes", "features", "data", "indptr"} <= set(file["matrix"])


def read_tenx(file: h5py.File, *, backed: bool = False) -> AnnData:
    """Read all features, genes and peaks, as scanpy's ``read_10x_h5(gex_only=False)`` does.

    Cell Ranger stores features × cells by column, which is cells × features by row: nothing is transposed.

    Parameters
    ----------
    file
        The open file.
    backed
        Whether the matrix stays in the file.

    Returns
    -------
    Cells × features, counts; var has the columns ``gene_ids``, ``feature_types``, ``genome`` and, with peaks, ``interval``.
    """
    matrix = file["matrix"]
    n_features, n_cells = (int(size) for size in matrix["shape"][:])
    stored = CsrOnDisk.in_group(matrix, (n_cells, n_features), np.float32)
    counts = ColumnsOnDisk(stored, np.arange(n_features)) if backed else stored.read(0, n_cells)
    features = matrix["features"]
    columns = {name: _text(features[own]) for name, own in _COLUMNS.items() if own in features}
    var = pd.DataFrame(columns, index=pd.Index(_text(features["name"])))
    return AnnData(counts, obs=pd.DataFrame(index=pd.Index(_text(matrix["barcodes"]))), var=var)


def _text(dataset: h5py.Dataset) -> np.ndarray:
    texts: np.ndarray = dataset.asstr()[:]
    return texts
