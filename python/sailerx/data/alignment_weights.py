"""w: how much each cell borrows from its RNA, from the depths of its two modalities."""

from __future__ import annotations

import warnings

import numpy as np
from mudata import MuData

from sailerx.data.counts import pick_counts, refuse_without_counts, total_counts
from sailerx.errors import InputError

#: obs columns that hold a cell's total RNA count, as Seurat and scanpy name them
_DEPTH_COLUMNS = ("nCount_RNA", "total_counts", "n_counts")


def alignment_weights(
    rna_depth: np.ndarray, atac_depth: np.ndarray, clip: float = 0.0, floor: float = 0.0
) -> np.ndarray:
    """w of each cell: how much it borrows from RNA, more where its ATAC is shallow for its RNA.

    Parameters
    ----------
    rna_depth, atac_depth
        Total RNA count and number of open peaks per cell, positive.
    clip
        Quantiles (clip, 1 - clip) at which r is cut before it is scaled. The paper's w (``clip`` = 0) hangs on the
        two most extreme cells.
    floor
        Lowest weight; the paper's is 0.

    Returns
    -------
    One value per cell in [floor, 1]; all 1 if every cell has the same ratio.
    """
    # r_i = log((RNA depth_i / max) / (ATAC depth_i / max)); the two maxima shift all r_i alike and cancel in w
    r = np.log(rna_depth) - np.log(atac_depth)
    low, high = np.quantile(r, [clip, 1 - clip])
    if high - low < 1e-12:
        return np.ones_like(r)
    return floor + (1 - floor) * (np.clip(r, low, high) - low) / (high - low)


def rna_depth_of(mdata: MuData, rna: str, layer: str | None, rows: np.ndarray) -> np.ndarray | None:
    """Total RNA count per shared cell, from counts, else from a column; None if neither is there."""
    r = mdata.mod[rna]
    picked = pick_counts(r, rna, layer)
    if picked is not None:
        wrong, total = total_counts(picked[1])
        if r.n_vars and wrong is None:
            refuse_without_counts(total[rows], r.obs_names[rows])
            return total[rows]
    for obs, column in (
        (obs, column) for column in _DEPTH_COLUMNS for obs in (r.obs, mdata.obs) if column in obs
    ):
        depth = obs[column].reindex(r.obs_names[rows]).to_numpy(dtype=float)
        if not (depth > 0).all():
            raise InputError(
                f"RNA depth in column {column!r} must be positive for every cell. Drop cells without RNA."
            )
        return depth
    warnings.warn(
        f"no RNA counts and no depth column ({', '.join(_DEPTH_COLUMNS)}) in modality {rna!r}: all alignment weights w are 1.",
        stacklevel=3,
    )
    return None
