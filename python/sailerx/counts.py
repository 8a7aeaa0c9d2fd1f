"""Counts as a model may use them: the right layer, checked, sparse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from sailerx.errors import InputError


def pick_counts(adata: AnnData, modality: str, layer: str | None) -> tuple[str, object] | None:
    """Where a modality's counts are: the named layer, else a layer ``counts``, else X; None without any matrix."""
    if layer is not None and layer != "X":
        if layer not in adata.layers:
            raise InputError(
                f"modality {modality!r} has no layer {layer!r}. It has: {_listed(['X', *adata.layers])}."
            )
        return f"layer {layer!r}", adata.layers[layer]
    if layer is None and "counts" in adata.layers:
        return "layer 'counts'", adata.layers["counts"]
    return None if adata.X is None else ("X", adata.X)


def to_csr(matrix: object) -> sp.csr_matrix:
    """Any matrix AnnData holds, as CSR with sorted indices, each entry once and no stored zeros."""
    x = sp.csr_matrix(matrix)
    if not (x.has_canonical_format and (x.nnz == 0 or x.data.all())):
        x = x.copy()
        x.sum_duplicates()
        x.eliminate_zeros()
    return x


def why_not_counts(x: sp.csr_matrix) -> str | None:
    """What is wrong with a matrix that should hold counts, in a few words; None if nothing is."""
    values = x.data
    if values.dtype == bool or values.size == 0:
        return None
    if not np.isfinite(values).all():
        return "missing or infinite values"
    if values.min() < 0:
        return f"negative values (lowest {values.min():g})"
    whole = values == np.floor(values)
    if not whole.all():
        return f"values that are not whole numbers (for example {values[~whole][0]:g})"
    return None


def refuse_duplicates(names: pd.Index, what: str, modality: str) -> None:
    """Raise if a barcode or feature name occurs twice."""
    repeated = names[names.duplicated()]
    if len(repeated):
        raise InputError(
            f"{what} of modality {modality!r} must be unique: {len(repeated)} occur again, first {repeated[0]!r}. "
            "Rename or drop them (for example `.obs_names_make_unique()` / `.var_names_make_unique()`)."
        )


def binary_accessibility(adata: AnnData, modality: str, layer: str | None = None) -> sp.csr_matrix:
    """x of each cell, 0/1: a peak is open where at least one fragment or insertion was counted.

    Parameters
    ----------
    adata
        The ATAC modality, raw counts or 0/1.
    modality
        Its name, for messages.
    layer
        Layer that holds the counts; by default ``counts`` if there is one, else X.

    Returns
    -------
    Cells × peaks; the data are ones (uint8).

    Raises
    ------
    InputError
        If there is no matrix, it does not hold counts, a barcode or peak occurs twice, or a cell has no open peak.
    """
    refuse_duplicates(adata.obs_names, "barcodes", modality)
    refuse_duplicates(adata.var_names, "peaks", modality)
    picked = pick_counts(adata, modality, layer)
    if picked is None or adata.n_obs == 0 or adata.n_vars == 0:
        raise InputError(
            f"modality {modality!r} must hold counts of cells × peaks, found {adata.n_obs} × {adata.n_vars}."
        )
    where, matrix = picked
    x = to_csr(matrix)
    wrong = why_not_counts(x)
    if wrong:
        raise InputError(
            f"ATAC must be raw counts or 0/1, but {where} of modality {modality!r} holds {wrong}: it looks normalised. "
            f"Put the counts there, or name the layer that has them with `atac_layer`; there are: "
            f"{_listed(['X', *adata.layers])}."
        )
    depth = np.diff(x.indptr)
    if not depth.all():
        empty = adata.obs_names[depth == 0]
        raise InputError(
            f"every cell needs at least one open peak: {len(empty)} of {adata.n_obs} have none ({_listed(empty)}). "
            f"Drop them first, for example: `keep = mdata[{modality!r}].X.sum(1).A1 > 0` and `mdata = mdata[keep]`; in "
            "Seurat: `subset(object, cells = names(which(colSums(counts) > 0)))`."
        )
    return sp.csr_matrix((np.ones(x.nnz, np.uint8), x.indices, x.indptr), shape=x.shape)


def _listed(names: object, most: int = 5) -> str:
    names = [str(name) for name in names]  # type: ignore[attr-defined]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
