"""w, the alignment weight of each cell: high where its ATAC is shallow relative to its RNA."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from mudata import MuData

from sailerx.data.counts import pick_counts, refuse_without_counts, total_counts
from sailerx.errors import InputError

#: obs columns that hold a cell's total RNA count, as Seurat and scanpy name them
_DEPTH_COLUMNS = ("nCount_RNA", "total_counts", "n_counts")


def alignment_weights(
    rna_depth: np.ndarray, atac_depth: np.ndarray, clip: float = 0.0, floor: float = 0.0
) -> np.ndarray:
    """Compute w, the weight of each cell in the alignment term, from log(RNA depth / ATAC depth).

    Parameters
    ----------
    rna_depth, atac_depth
        Total RNA count and number of open peaks per cell, both positive.
    clip
        r = log(RNA depth / ATAC depth) is clipped to its quantiles (clip, 1 - clip) before it is scaled to [floor, 1].
        With ``clip`` = 0, as in the paper, the two most extreme cells set the scale.
    floor
        Lowest weight; 0 in the paper.

    Returns
    -------
    w, one value per cell in [floor, 1]; all 1 if all cells have equal r.
    """
    # r_i = log((RNA depth_i / max) / (ATAC depth_i / max)); the two maxima shift all r_i alike and cancel in w
    r = np.log(rna_depth) - np.log(atac_depth)
    low, high = np.quantile(r, [clip, 1 - clip])
    if high - low < 1e-12:
        return np.ones_like(r)
    return floor + (1 - floor) * (np.clip(r, low, high) - low) / (high - low)


def rna_depth_of(mdata: MuData, rna: str, layer: str | None, rows: np.ndarray) -> np.ndarray | None:
    """Find the RNA depth (total counts) of the cells with both modalities: from RNA counts, else from an obs column.

    Parameters
    ----------
    mdata
        Holds the modality ``rna``.
    rna
        Name of the RNA modality.
    layer
        Layer of RNA counts; by default ``counts`` if there is one, else X.
    rows
        Positions of the cells in the RNA modality.

    Returns
    -------
    One positive value per position, float64; ``None``, with a warning, without RNA counts and depth column.

    Raises
    ------
    InputError
        If a cell has depth 0, or a depth column holds missing or non-positive values.
    """
    r = mdata.mod[rna]
    picked = pick_counts(r, rna, layer)
    if picked is not None:
        wrong, total = total_counts(picked[1])
        if r.n_vars and wrong is None:
            refuse_without_counts(total[rows], r.obs_names[rows])
            return total[rows]
    for column in _DEPTH_COLUMNS:
        for obs in (r.obs, mdata.obs):
            if column in obs:
                return _depth_column(obs[column], r.obs_names[rows])
    warnings.warn(
        f"no RNA counts and no depth column ({', '.join(_DEPTH_COLUMNS)}) in modality {rna!r}: all alignment weights w are 1.",
        stacklevel=3,
    )
    return None


def _depth_column(column: pd.Series, cells: pd.Index) -> np.ndarray:
    depth = column.reindex(cells).to_numpy(dtype=float)
    if not (depth > 0).all():
        raise InputError(
            f"RNA depth in column {column.name!r} must be positive for every cell. Drop cells without RNA."
        )
    return depth
