"""Convert small data sets between plain dictionaries (see v1/content.json) and MuData.

``content.R`` does the same for Seurat objects. Neither calls code of sailerx; a file is read correctly if it gives the
dictionary that it was written from.
"""

from __future__ import annotations

from typing import Any

import mudata
import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData
from scipy.sparse import csr_matrix, issparse

Content = dict[str, Any]
PANDAS_KIND = {"logical": "boolean", "integer": "Int64"}


def without_pulling() -> None:
    """Make mudata 0.3 leave the metadata of modalities in their own obs and var, as 0.4 does."""
    if hasattr(mudata, "set_options"):
        mudata.set_options(pull_on_update=False)


# Dictionaries to MuData


def to_mudata(content: Content) -> MuData:
    """Build MuData from a dictionary."""
    mdata = MuData({name: to_anndata(modality) for name, modality in content["modalities"].items()})
    assert list(mdata.obs_names) == content["cells"], "the cells must be in the order of their modalities"
    for name, column in content["obs"].items():
        mdata.obs[name] = to_series(column, mdata.obs_names)
    for reduction in content["reductions"]:
        add_reduction(mdata, reduction)
    for graph in content["graphs"]:
        home = mdata[graph["modality"]] if graph["modality"] else mdata
        home.obsp[graph["name"]] = csr_matrix(np.array(graph["edges"], dtype=float))
    return mdata


def to_anndata(modality: Content) -> AnnData:
    """Build one modality, without reductions and graphs."""
    cells, features = modality["cells"], modality["features"]
    counts = np.array(modality["counts"], dtype="float32").reshape(len(cells), len(features))
    adata = AnnData(
        csr_matrix(counts), obs=to_frame(modality["obs"], cells), var=to_frame(modality["var"], features)
    )
    ranges = modality.get("ranges")
    if ranges:
        adata.var["chrom"] = pd.Categorical(ranges["chrom"], categories=list(dict.fromkeys(ranges["chrom"])))
        adata.var["start"], adata.var["end"] = ranges["start"], ranges["end"]
    for key in ("genome", "fragments"):
        if modality.get(key):
            adata.uns[key] = modality[key]
    if modality.get("seqinfo"):
        adata.uns["seqinfo"] = to_seqinfo(modality["seqinfo"])
    return adata


def to_seqinfo(seqinfo: Content) -> pd.DataFrame:
    """Build the table of contigs: length, circular, genome."""
    columns = {
        "length": pd.array(seqinfo["length"], "Int64"),
        "circular": pd.array(seqinfo["circular"], "boolean"),
    }
    frame = pd.DataFrame(columns, index=pd.Index(seqinfo["contigs"], dtype=object))
    frame["genome"] = pd.Categorical(seqinfo["genome"])
    return frame


def to_frame(columns: Content, index: list[str]) -> pd.DataFrame:
    """Build a data frame from columns by name."""
    frame = pd.DataFrame(index=pd.Index(index, dtype=object))
    for name, column in columns.items():
        frame[name] = to_series(column, frame.index)
    return frame


def to_series(column: Content, index: pd.Index) -> pd.Series:
    """Build one column with the pandas type of its kind."""
    kind, values = column["kind"], column["values"]
    if kind in ("factor", "ordered"):
        categories = pd.Index(column["levels"], dtype=object)
        return pd.Series(
            pd.Categorical(values, categories=categories, ordered=kind == "ordered"), index=index
        )
    if kind == "double":
        return pd.Series(
            [np.nan if value is None else float(value) for value in values], index=index, dtype=float
        )
    if kind in PANDAS_KIND and None in values:
        return pd.Series(pd.array(values, PANDAS_KIND[kind]), index=index)
    return pd.Series(values, index=index, dtype={"logical": bool, "integer": "int64"}.get(kind, object))


def add_reduction(mdata: MuData, reduction: Content) -> None:
    """Add an embedding to obsm, its loadings to varm and its variances to uns, as scanpy stores them."""
    home = mdata[reduction["modality"]] if reduction["modality"] else mdata
    rows = pd.DataFrame(np.array(reduction["embedding"], dtype=float), index=reduction["cells"])
    home.obsm["X_" + reduction["name"]] = rows.reindex(home.obs_names).to_numpy()
    if reduction["loadings"]:
        key = {"pca": "PCs", "lsi": "LSI"}.get(reduction["name"], reduction["name"] + "_loadings")
        loadings = pd.DataFrame(
            np.array(reduction["loadings"]["values"]), index=reduction["loadings"]["features"]
        )
        home.varm[key] = loadings.reindex(home.var_names).fillna(0).to_numpy()
    if reduction["stdev"]:
        home.uns[reduction["name"]] = {"variance": np.array(reduction["stdev"]) ** 2}


# MuData to dictionaries


def describe(mdata: MuData) -> Content:
    """Convert MuData to a dictionary."""
    places = [(None, mdata), *mdata.mod.items()]
    return {
        "cells": list(mdata.obs_names),
        "obs": describe_frame(mdata.obs, text_columns(mdata, "obs")),
        "modalities": {name: describe_modality(adata) for name, adata in mdata.mod.items()},
        "reductions": [
            describe_reduction(name, home, key)
            for name, home in places
            for key in home.obsm
            if not (name is None and key in mdata.mod)
        ],
        "graphs": [
            {"name": key, "modality": name, "edges": np.asarray(home.obsp[key].todense()).tolist()}
            for name, home in places
            for key in home.obsp
        ],
    }


def text_columns(home: AnnData | MuData, axis: str) -> list[str]:
    """List the columns that were text in R, though they are categories here."""
    return list(home.uns.get("seurat", {}).get("columns", {}).get(f"{axis}_character", []))


def describe_modality(adata: AnnData) -> Content:
    """Convert one modality to a dictionary, without reductions and graphs."""
    matrix = adata.X.toarray() if issparse(adata.X) else np.asarray(adata.X)
    var = adata.var
    ranges = {key: plain_list(var[key]) for key in ("chrom", "start", "end") if key in var}
    return {
        "cells": list(adata.obs_names),
        "features": list(adata.var_names),
        "counts": matrix.astype(float).tolist(),
        "obs": describe_frame(adata.obs, text_columns(adata, "obs")),
        "var": describe_frame(var.drop(columns=list(ranges)), text_columns(adata, "var")),
        "ranges": ranges or None,
        "genome": adata.uns.get("genome"),
        "seqinfo": describe_seqinfo(adata.uns.get("seqinfo")),
        "fragments": {
            number: {key: value if key == "path" else list(value) for key, value in entry.items()}
            for number, entry in adata.uns.get("fragments", {}).items()
        },
    }


def describe_seqinfo(frame: pd.DataFrame | None) -> Content | None:
    """Convert the table of contigs to a dictionary."""
    if frame is None:
        return None
    return {"contigs": list(frame.index), **{column: plain_list(frame[column]) for column in frame}}


def describe_frame(frame: pd.DataFrame, text: list[str]) -> Content:
    """Convert a data frame to columns by name."""
    return {name: describe_column(frame[name], name in text) for name in frame}


def describe_column(column: pd.Series, text: bool) -> Content:
    """Convert a column to its kind, levels and values; missing values become None."""
    if isinstance(column.dtype, pd.CategoricalDtype) and not text:
        kind = "ordered" if column.cat.ordered else "factor"
        return {"kind": kind, "levels": list(column.cat.categories), "values": plain_list(column)}
    kinds = {"b": "logical", "i": "integer", "u": "integer", "f": "double"}
    dtype = getattr(column.dtype, "numpy_dtype", column.dtype)
    kind = "character" if text else kinds.get(getattr(dtype, "kind", "O"), "character")
    return {"kind": kind, "values": plain_list(column)}


def plain_list(column: pd.Series) -> list[Any]:
    """Convert a column to a list of plain Python values; missing values become None."""
    return [
        None if pd.isna(value) else getattr(value, "item", lambda value=value: value)() for value in column
    ]


def describe_reduction(modality: str | None, home: AnnData | MuData, key: str) -> Content:
    """Convert an embedding (cells without NaN rows), its loadings and standard deviations to a dictionary."""
    name = key.removeprefix("X_")
    notes = home.uns.get("seurat", {}).get("reductions", {}).get(key, {})
    embedding = np.asarray(home.obsm[key], dtype=float)
    there = ~np.isnan(embedding).all(axis=1)
    loadings = home.varm.get({"pca": "PCs", "lsi": "LSI"}.get(name, name + "_loadings"))
    stdev = notes.get("stdev", np.sqrt(home.uns.get(name, {}).get("variance", np.array([]))))
    return {
        "name": name,
        "modality": modality,
        "cells": list(home.obs_names[there]),
        "embedding": embedding[there].tolist(),
        "loadings": None if loadings is None else describe_loadings(loadings, home.var_names, notes),
        "stdev": list(map(float, stdev)),
    }


def describe_loadings(loadings: np.ndarray, features: pd.Index, notes: Content) -> Content:
    """Convert loadings: all rows of varm, or those in ``loading_features``."""
    rows = np.asarray(notes.get("loading_features", np.arange(len(features))), dtype=int)
    return {"features": list(features[rows]), "values": np.asarray(loadings)[rows].tolist()}
