"""Counts on one set of peaks, brought onto another by overlap."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from mudata import MuData

from sailerx.data.counts import pick_counts, to_csr, why_not_counts
from sailerx.data.peaks import FORMS, peak_table
from sailerx.errors import InputError

#: where the report of `match_peaks` is kept in uns
REPORT = "matched_peaks"


def match_peaks(
    atac: ad.AnnData,
    reference: ad.AnnData | MuData | pd.DataFrame,
    *,
    min_overlap: int = 1,
    layer: str | None = None,
    modality: str = "atac",
) -> ad.AnnData:
    """Counts of some cells on the peaks of another data set.

    Each peak gives its counts to the reference peak that it shares most bases with (the first of several that it shares
    as many with), so that no fragment counts twice. Peaks without overlap are lost; counting fragments anew on the
    reference's peaks, where fragment files are at hand, loses nothing.

    Parameters
    ----------
    atac
        Cells × peaks, raw counts or 0/1.
    reference
        Whose peaks are wanted: AnnData, MuData, or a table with columns ``chrom``, ``start``, ``end``, such as
        ``model.peaks``.
    min_overlap
        Bases that two peaks must share.
    layer
        Layer of counts; by default a layer ``counts`` if there is one, else X.
    modality
        Modality of a MuData reference.

    Returns
    -------
    Same cells × the reference's peaks, CSR, with obs and obsm of ``atac``. ``uns['matched_peaks']`` says what was lost:
    ``peaks`` and ``counts`` there were, ``peaks_kept`` and ``counts_kept``, ``reference_peaks`` and how many of them
    were reached (``reference_peaks_reached``), and ``cells_left_empty``.

    Raises
    ------
    InputError
        If coordinates or counts are missing, or no peak overlaps.

    Examples
    --------
    >>> import sailerx
    >>> here = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)["atac"]
    >>> there = here[:, 10:].copy()  # lacks some of the peaks
    >>> matched = sailerx.match_peaks(here, there)
    >>> matched.shape, matched.uns["matched_peaks"]["peaks_kept"]
    ((60, 80), 80)
    """
    table = _coordinates(reference.mod[modality] if isinstance(reference, MuData) else reference)
    picked = pick_counts(atac, modality, layer)
    if picked is None:
        raise InputError(f"`atac` must hold counts of {atac.n_obs} cells, but it has no matrix.")
    counts = to_csr(picked[1])
    wrong = why_not_counts(counts)
    if wrong:
        raise InputError(f"`atac` must hold counts, but {picked[0]} holds {wrong}. Name a layer of counts.")
    target_of = _best_overlap(_coordinates(atac), table, min_overlap)
    kept = np.flatnonzero(target_of >= 0)
    place = sp.csr_matrix(
        (np.ones(len(kept), counts.dtype), (kept, target_of[kept])), shape=(counts.shape[1], len(table))
    )
    matched = sp.csr_matrix(counts @ place)
    result = ad.AnnData(matched, obs=atac.obs.copy(), var=table.copy(), obsm=dict(atac.obsm))
    result.uns[REPORT] = _report(counts, matched, target_of)
    _warn(result.uns[REPORT], atac.n_obs)
    return result


def _coordinates(of: ad.AnnData | pd.DataFrame) -> pd.DataFrame:
    var = of if isinstance(of, pd.DataFrame) else of.var
    table = peak_table(var)
    if table is None:
        first = repr(var.index[0]) if len(var) else "none"
        raise InputError(f"peaks need coordinates, found names such as {first}. {FORMS}")
    return table


def _best_overlap(peaks: pd.DataFrame, reference: pd.DataFrame, min_overlap: int) -> np.ndarray:
    """Position of the reference peak with the longest overlap for each peak, −1 for none."""
    import bioframe

    tables = [
        table.reset_index(drop=True).assign(position=np.arange(len(table))) for table in (peaks, reference)
    ]
    pairs = bioframe.overlap(*tables, how="inner", suffixes=("", "_reference"))
    ends, starts = (
        pairs[["end", "end_reference"]].min(axis=1),
        pairs[["start", "start_reference"]].max(axis=1),
    )
    pairs = pairs.assign(length=(ends - starts).astype(np.int64))
    pairs = pairs[pairs["length"] >= max(1, min_overlap)]
    if pairs.empty:
        chroms = [", ".join(sorted(table["chrom"].unique())[:3]) for table in (peaks, reference)]
        raise InputError(
            f"no peak overlaps a peak of the reference (chromosomes: {chroms[0]}, … and {chroms[1]}, …). Both must be of "
            "the same genome and name chromosomes alike."
        )
    best = pairs.sort_values(
        ["position", "length", "position_reference"], ascending=[True, False, True]
    ).drop_duplicates("position")
    target_of = np.full(len(peaks), -1)
    target_of[best["position"].to_numpy(dtype=np.int64)] = best["position_reference"].to_numpy(dtype=np.int64)
    return target_of


def _report(counts: sp.csr_matrix, matched: sp.csr_matrix, target_of: np.ndarray) -> dict[str, int]:
    kept = target_of >= 0
    emptied = (np.diff(matched.indptr) == 0) & (np.diff(counts.indptr) > 0)
    return {
        "peaks": len(kept),
        "peaks_kept": int(kept.sum()),
        "counts": int(counts.sum()),
        "counts_kept": int(matched.sum()),
        "reference_peaks": matched.shape[1],
        "reference_peaks_reached": len(np.unique(target_of[kept])),
        "cells_left_empty": int(emptied.sum()),
    }


def _warn(report: dict[str, int], n_cells: int) -> None:
    lost = 1 - report["counts_kept"] / max(report["counts"], 1)
    if lost > 0.5 or report["cells_left_empty"]:
        warnings.warn(
            f"{lost:.0%} of the counts are in peaks without counterpart and are lost; {report['cells_left_empty']} of "
            f"{n_cells} cells have none left. Count fragments on the reference's peaks if you have them.",
            stacklevel=3,
        )
