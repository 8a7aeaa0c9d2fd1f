"""Find RNA and ATAC in what a user hands over: one matrix of genes and peaks, modalities under other names, counts in ``.raw``."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import mudata
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.abc import CSRDataset
from mudata import MuData

from sailerx.data.counts import pick_counts, to_csr, why_not_counts
from sailerx.data.csr_on_disk import ColumnsOnDisk, CsrOnDisk, is_on_disk
from sailerx.errors import InputError

#: values of the column ``feature_types`` that Cell Ranger and others give to genes and to peaks
GENES, PEAKS = ("Gene Expression", "GEX"), ("Peaks", "ATAC", "Chromatin Accessibility")
#: names of modalities, in lower case, that say what they hold
_RNA_NAMES = ("rna", "gex", "gene expression", "gene_expression", "genes", "expression")
_ATAC_NAMES = ("atac", "peaks", "chromatin accessibility", "chromatin_accessibility", "accessibility")
#: cells that tell whether a matrix holds counts
_N_LOOKED_AT = 200


def find_modalities(
    data: Any,
    rna: str,
    atac: str,
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    *,
    asked: Collection[str] = (),
) -> Any:
    """Give RNA and ATAC the names that are asked for; says in a warning what was taken for what.

    Parameters
    ----------
    data
        MuData; or AnnData, which is the ATAC alone, or both if ``var["feature_types"]`` tells genes from peaks.
    rna, atac
        Names of the modalities. One that is missing is found by ``feature_types`` or by its name, if there is only one candidate.
    rna_layer, atac_layer
        Layers of counts that the user has named. Without, counts are taken from ``.raw`` where they are in no other place.
    asked
        Names that the user has typed: they must be there, nothing else is taken for them.

    Returns
    -------
    The data themselves, unless something was found; matrices are never copied, except to part genes from peaks.
    """
    if isinstance(data, AnnData):
        if _has_both(data.var) and rna_layer is None and atac_layer is None:
            data = _with_counts(data, f"{rna} and {atac}", None)
        data = split_features(data, rna, atac)
    if not isinstance(data, MuData):
        return _with_counts(data, atac, atac_layer) if isinstance(data, AnnData) else data
    names = _names(data, rna, atac, asked)
    layers = {rna: rna_layer, atac: atac_layer}
    mods = {new: data.mod[old] for new, old in names.items()}
    mods = {
        name: _with_counts(adata, name, layers[name]) if name in layers else adata
        for name, adata in mods.items()
    }
    if all(data.mod.get(name) is adata for name, adata in mods.items()):
        return data
    return _together(mods, data.obs)


def split_features(adata: AnnData, rna: str, atac: str) -> MuData | AnnData:
    """Part genes from peaks by ``var["feature_types"]``, as MuData; data without both are returned as they are."""
    if not _has_both(adata.var):
        return adata
    kinds = adata.var["feature_types"]
    genes, peaks = kinds.isin(GENES).to_numpy(), kinds.isin(PEAKS).to_numpy()
    if all(isinstance(matrix, CSRDataset) for matrix in (adata.X, *adata.layers.values())):
        return _together({rna: _columns_of(adata, genes), atac: _columns_of(adata, peaks)}, adata.obs)
    whole = adata.to_memory() if adata.isbacked or is_on_disk(adata.X) else adata
    return _together({rna: whole[:, genes].copy(), atac: whole[:, peaks].copy()}, adata.obs)


def _has_both(var: pd.DataFrame) -> bool:
    """Whether ``feature_types`` names genes as well as peaks."""
    kinds = var.get("feature_types")
    return kinds is not None and bool(kinds.isin(GENES).any() and kinds.isin(PEAKS).any())


def _columns_of(adata: AnnData, chosen: np.ndarray) -> AnnData:
    """Take some features of matrices that stay in their file."""
    columns = np.flatnonzero(chosen)
    x, *layers = (
        ColumnsOnDisk(CsrOnDisk.of(matrix), columns) for matrix in (adata.X, *adata.layers.values())
    )
    return AnnData(
        x,
        obs=adata.obs,
        var=adata.var[chosen],
        obsm=dict(adata.obsm),
        uns=dict(adata.uns),
        layers=dict(zip(adata.layers, layers, strict=True)),
    )


def refuse_features_on_disk(adata: AnnData) -> None:
    """Refuse to stream one matrix of genes and peaks from its file unless it is stored by cell.

    Raises
    ------
    InputError
        If ``var["feature_types"]`` has both, and a matrix is not CSR.
    """
    stay = all(isinstance(matrix, CSRDataset) for matrix in (adata.X, *adata.layers.values()))
    if _has_both(adata.var) and not stay:
        raise InputError(
            "to stay in the file, a matrix of genes and peaks must be stored by cell (CSR), and this one is not. Write it again once "
            '(`sailerx.read(path).write("file.h5mu")`), or leave `backed` off.'
        )


def _names(mdata: MuData, rna: str, atac: str, asked: Collection[str]) -> dict[str, str]:
    """Name asked for → name in the data, for all modalities."""
    names = {name: name for name in mdata.mod}
    kinds = {name: _kind(name, adata) for name, adata in mdata.mod.items()}
    taken = {}
    for wanted, kind in ((rna, "rna"), (atac, "atac")):
        candidates = [name for name in mdata.mod if kinds[name] == kind and name not in (rna, atac)]
        if wanted not in mdata.mod and wanted not in asked and len(candidates) == 1:
            taken[candidates[0]] = wanted
    if taken:
        said = " and ".join(f"{old!r} is taken as {wanted!r}" for old, wanted in taken.items())
        warnings.warn(f"modality {said}.", stacklevel=4)
    return {taken.get(new, new): old for new, old in names.items()}


def _kind(name: str, adata: AnnData) -> str | None:
    kinds = adata.var.get("feature_types")
    for kind, types, known in (("rna", GENES, _RNA_NAMES), ("atac", PEAKS, _ATAC_NAMES)):
        if kinds.isin(types).all() if kinds is not None and len(kinds) else name.lower() in known:
            return kind
    return None


def _with_counts(adata: AnnData, name: str, layer: str | None) -> AnnData:
    """Take the matrix of ``.raw`` if it holds counts and neither X nor a layer ``counts`` does."""
    if layer is not None or adata.isbacked or adata.raw is None or "counts" in adata.layers:
        return adata
    if _has_both(adata.var) and not _has_both(adata.raw.var):  # the rest of the features is not in it
        return adata
    picked = pick_counts(adata, name, None)
    if picked is not None and _why_not(picked[1]) is None or _why_not(adata.raw.X) is not None:
        return adata
    warnings.warn(f"counts of modality {name!r} are taken from `.raw`: X holds none.", stacklevel=4)
    return AnnData(
        adata.raw.X, obs=adata.obs, var=adata.raw.var, obsm=dict(adata.obsm), uns=dict(adata.uns), layers={}
    )


def _why_not(matrix: Any) -> str | None:
    """Look at the first cells: why they do not hold counts, None if they do."""
    return why_not_counts(to_csr(matrix[:_N_LOOKED_AT]))


def _together(mods: dict[str, AnnData], obs: Any) -> MuData:
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        mdata = MuData(mods)
        if obs.index.is_unique:
            mdata.obs = obs.reindex(mdata.obs_names)
    return mdata
