"""Find the layer of raw counts of a modality, check it, and convert it to CSR or 0/1."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset

from sailerx.data.accessibility import Accessibility, PeaksInMemory, PeaksOnDisk
from sailerx.data.csr_on_disk import CsrOnDisk, canonical, is_on_disk
from sailerx.data.names import listed
from sailerx.data.sparse_damage import refuse_damaged
from sailerx.errors import InputError

#: why values of that kind are no counts
NOT_FINITE = "missing or infinite values"


def pick_counts(adata: AnnData, modality: str, layer: str | None) -> tuple[str, object] | None:
    """Pick a modality's counts: the named layer, else a layer ``counts``, else X.

    Returns
    -------
    Where the matrix is, for messages ("layer 'counts'", "X"), and the matrix; ``None`` if the modality has no matrix.

    Raises
    ------
    InputError
        If there is no such layer.
    """
    if layer is not None and layer != "X":
        if layer not in adata.layers:
            raise InputError(
                f"modality {modality!r} has no layer {layer!r}. It has: {listed(['X', *adata.layers])}."
            )
        return f"layer {layer!r}", adata.layers[layer]
    if layer is None and "counts" in adata.layers:
        return "layer 'counts'", adata.layers["counts"]
    return None if adata.X is None else ("X", adata.X)


def to_csr(matrix: object) -> sp.csr_matrix:
    """Convert a matrix of an AnnData object (sparse, dense or on disk) to canonical CSR in memory."""
    if isinstance(matrix, CSRDataset):
        stored = CsrOnDisk.of(matrix)
        matrix = stored.read(0, stored.shape[0])
    elif isinstance(matrix, CSCDataset):
        matrix = matrix.to_memory()
    elif isinstance(matrix, h5py.Dataset):
        matrix = matrix[:]
    refuse_damaged(matrix, "a sparse matrix of the data")
    return canonical(sp.csr_matrix(matrix))


def total(counts: Any) -> float:
    """Sum all values of a matrix in memory, in double precision: exact for counts below 2⁵³."""
    values = counts.data if sp.issparse(counts) else np.asarray(counts)
    return float(values.sum(dtype=np.float64))


def refuse_lost_counts(what: str, before: float, after: float) -> None:
    """Raise `InputError` if a step that moves or copies counts does not keep their total."""
    if not math.isfinite(before):  # refused where counts are checked
        return
    rounding = 0.0 if before == math.floor(before) else 1e-6  # sums of fractions depend on their order
    if not math.isclose(before, after, rel_tol=rounding):
        raise InputError(
            f"{what} must keep all counts, but of {before:,.0f} there are {after:,.0f} afterwards, so nothing is written. "
            "Please report this with a small example of the data."
        )


def why_not_counts(counts: sp.csr_matrix) -> str | None:
    """Say in a few words why the values cannot be raw counts (not finite, negative, fractional); None if they can."""
    values = counts.data
    if values.dtype == bool or values.size == 0:
        return None
    if not np.isfinite(values).all():
        return NOT_FINITE
    if values.min() < 0:
        return f"negative values (lowest {values.min():g})"
    whole = values == np.floor(values)
    if not whole.all():
        return f"values that are not whole numbers (for example {values[~whole][0]:g})"
    return None


def refuse_duplicates(names: pd.Index, what: str, modality: str) -> None:
    """Raise `InputError` if a barcode or feature name occurs twice."""
    repeated = names[names.duplicated()]
    if len(repeated):
        raise InputError(
            f"{what} of modality {modality!r} must be unique: {len(repeated)} occur again, first {repeated[0]!r}. "
            "Rename or drop them (for example `.obs_names_make_unique()` / `.var_names_make_unique()`)."
        )


def refuse_without_counts(depth: np.ndarray, cells: pd.Index) -> None:
    """Raise `InputError` if the RNA depth (total counts) of a cell is 0."""
    empty = depth == 0
    if empty.any():
        raise InputError(
            f"every cell needs RNA counts: {empty.sum()} of {len(cells)} have depth 0, first {cells[empty][0]!r}. Drop them."
        )


def binary_accessibility(
    adata: AnnData, modality: str, layer: str | None = None, *, in_memory: bool = False
) -> Accessibility:
    """Binarise ATAC counts to x: 1 where at least one fragment or insertion was counted.

    Parameters
    ----------
    adata
        The ATAC modality, cells × peaks, raw counts or 0/1.
    modality
        Its name, for messages.
    layer
        Layer that holds the counts; by default ``counts`` if there is one, else X.
    in_memory
        Whether a backed matrix that is not stored as CSR (but as CSC or dense) is read into memory; if not, it is refused.

    Returns
    -------
    x, cells × peaks, 0/1. A backed CSR matrix stays in its file (`PeaksOnDisk`); any other is in memory.

    Raises
    ------
    InputError
        If there is no matrix, it does not hold counts, a barcode or peak occurs twice, or a cell has no open peak.
    """
    refuse_duplicates(adata.obs_names, "barcodes", modality)
    refuse_duplicates(adata.var_names, "peaks", modality)
    picked = pick_counts(adata, modality, layer)
    if picked is None or adata.n_obs == 0 or adata.n_vars == 0:
        found = (
            "no matrix (neither X nor a layer 'counts')"
            if picked is None
            else f"{adata.n_obs} × {adata.n_vars}"
        )
        raise InputError(f"modality {modality!r} must hold counts of cells × peaks, found {found}.")
    where, matrix = picked
    stays = is_on_disk(matrix) and (isinstance(matrix, CSRDataset) or not in_memory)
    x, wrong = _on_disk(_require_csr(matrix, where, modality)) if stays else _in_memory(to_csr(matrix))
    if wrong:
        cause = "" if wrong == NOT_FINITE else ": it looks normalised"
        raise InputError(
            f"ATAC must be raw counts or 0/1, but {where} of modality {modality!r} holds {wrong}{cause}. "
            f"Put the counts there, or name the layer that has them with `atac_layer`; there are: "
            f"{listed(['X', *adata.layers])}."
        )
    depth = x.depth
    if not depth.all():
        empty = adata.obs_names[depth == 0]
        raise InputError(
            f"every cell needs at least one open peak: {len(empty)} of {adata.n_obs} have none ({listed(empty)}). "
            f"Drop them first, for example: `keep = mdata[{modality!r}].X.sum(1).A1 > 0` and `mdata = mdata[keep]`; in "
            "Seurat: `subset(object, cells = names(which(colSums(counts) > 0)))`."
        )
    return x


def _in_memory(counts: sp.csr_matrix) -> tuple[PeaksInMemory, str | None]:
    """Binarise counts; also return why they are not counts, None if they are."""
    return PeaksInMemory.of(counts), why_not_counts(counts)


def _on_disk(counts: CsrOnDisk) -> tuple[PeaksOnDisk, str | None]:
    """Scan counts in a file once for depth and openness; stop at the first chunk that does not hold counts."""
    n_cells, n_peaks = counts.shape
    depth, n_open = np.zeros(n_cells, np.int64), np.zeros(n_peaks, np.int64)
    wrong, is_canonical = None, True
    for cells, stored in counts.chunks():
        chunk = canonical(stored)
        is_canonical &= chunk is stored
        depth[cells] = np.diff(chunk.indptr)
        n_open += np.bincount(chunk.indices, minlength=n_peaks)
        wrong = why_not_counts(chunk)
        if wrong:
            break
    return PeaksOnDisk(counts, is_canonical, depth, n_open, np.arange(n_peaks, dtype=np.int32)), wrong


def _require_csr(matrix: object, where: str, modality: str) -> CsrOnDisk:
    if isinstance(matrix, CSRDataset):
        return CsrOnDisk.of(matrix)
    kind = "is stored by peak (CSC)" if isinstance(matrix, CSCDataset) else "is a dense array"
    raise InputError(
        f"to stay in the file, ATAC must be stored by cell (CSR), but {where} of modality {modality!r} {kind}. "
        f"Convert it once where memory allows (`mdata[{modality!r}].X = scipy.sparse.csr_matrix(mdata[{modality!r}].X)`, "
        "then `mdata.write(...)`), or read the file into memory (without `backed`)."
    )


def total_counts(matrix: object) -> tuple[str | None, np.ndarray]:
    """Sum the counts of each cell, chunk by chunk if the matrix is on disk.

    Returns
    -------
    Why the values are not counts (None if they are), and the total per cell, float64; with a reason, the totals are incomplete.
    """
    n_cells = matrix.shape[0]  # type: ignore[attr-defined]
    on_disk = isinstance(matrix, CSRDataset)
    chunks = CsrOnDisk.of(matrix).chunks() if on_disk else iter([(slice(n_cells), to_csr(matrix))])
    total = np.zeros(n_cells)
    for cells, stored in chunks:
        counts = canonical(stored)
        wrong = why_not_counts(counts)
        if wrong:
            return wrong, total
        total[cells] = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    return None, total
