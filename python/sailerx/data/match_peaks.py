"""Transfer ATAC counts from one peak set to another by overlap."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from sailerx.data.counts import pick_counts, refuse_lost_counts, to_csr, total, why_not_counts
from sailerx.data.csr_on_disk import in_storage_of, widened
from sailerx.data.names import completed
from sailerx.data.peaks import FORMS, peak_table, same_names
from sailerx.data.reading import Cells, atac_in_memory, peaks_of
from sailerx.errors import InputError

#: key of the report of `match_peaks` in uns
REPORT = "matched_peaks"


def match_peaks(
    atac: Cells,
    reference: Cells | pd.DataFrame,
    *,
    min_overlap: int = 1,
    layer: str | None = None,
    modality: str = "atac",
) -> ad.AnnData:
    """Transfer ATAC counts to the peaks of another data set by overlap.

    The counts of each peak are added to the one reference peak with the longest overlap (the first on ties), so that no
    fragment is counted twice; a peak without overlap goes to the reference peak of the same name, if names are coordinates.
    Counts in peaks without overlap are lost; with fragment files at hand, counting fragments on the reference's peaks loses
    nothing.

    Parameters
    ----------
    atac
        Cells × peaks, raw counts or 0/1: AnnData, MuData with a modality of them, or the path of a file.
    reference
        Data with the target peaks, as ``atac``, or a table with columns ``chrom``, ``start``, ``end``, such as ``model.peaks``.
    min_overlap
        Smallest overlap of two peaks, in bases.
    layer
        Layer of counts; by default a layer ``counts`` if there is one, else X.
    modality
        Name of the ATAC modality of MuData.

    Returns
    -------
    AnnData of the same cells × the reference's peaks, CSR, with obs and obsm of ``atac``. ``uns['matched_peaks']`` reports
    ``peaks`` and ``counts`` before, ``peaks_kept`` and ``counts_kept`` after, ``reference_peaks``, those that received counts
    from at least one peak (``reference_peaks_reached``), and ``cells_left_empty`` (cells that lost all their counts).

    Raises
    ------
    InputError
        If either side lacks coordinates, ``atac`` does not hold counts, or no peak overlaps one of the reference.

    Examples
    --------
    >>> import sailerx
    >>> here = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)["atac"]
    >>> there = here[:, 10:].copy()  # lacks some of the peaks
    >>> matched = sailerx.match_peaks(here, there)
    >>> matched.shape, matched.uns["matched_peaks"]["peaks_kept"]
    ((60, 80), 80)
    """
    atac = atac_in_memory(atac, modality, layer)
    table = _coordinates(reference if isinstance(reference, pd.DataFrame) else peaks_of(reference, modality))
    picked = pick_counts(atac, modality, layer)
    if picked is None:
        raise InputError(f"`atac` must hold counts of {atac.n_obs} cells, but it has no matrix.")
    counts = to_csr(picked[1])
    wrong = why_not_counts(counts)
    if wrong:
        raise InputError(f"`atac` must hold counts, but {picked[0]} holds {wrong}. Name a layer of counts.")
    target_of = _best_overlap(_coordinates(atac), table, min_overlap)
    kept = np.flatnonzero(target_of >= 0)
    assignment = sp.csr_matrix(  # peaks × reference peaks, 0/1
        (np.ones(len(kept), np.int64), (kept, target_of[kept])), shape=(counts.shape[1], len(table))
    )
    matched = in_storage_of(sp.csr_matrix(widened(counts) @ assignment), counts.dtype)
    refuse_lost_counts("match_peaks", total(counts[:, kept]), total(matched))
    result = ad.AnnData(matched, obs=atac.obs.copy(), var=table.copy(), obsm=dict(atac.obsm))
    result.uns[REPORT] = _report(counts, matched, target_of)
    _warn_of_losses(result.uns[REPORT], atac.n_obs)
    return result


def _coordinates(data: ad.AnnData | pd.DataFrame) -> pd.DataFrame:
    var = data if isinstance(data, pd.DataFrame) else data.var
    table = peak_table(var)
    if table is None:
        first = repr(var.index[0]) if len(var) else "none"
        raise InputError(f"peaks need coordinates, found names such as {first}. {FORMS}")
    return table


def _best_overlap(peaks: pd.DataFrame, reference: pd.DataFrame, min_overlap: int) -> np.ndarray:
    """Find the reference peak with the longest overlap for each peak: its position, −1 if there is none."""
    import bioframe

    tables = [
        table.reset_index(drop=True).assign(position=np.arange(len(table))) for table in (peaks, reference)
    ]
    pairs = bioframe.overlap(*tables, how="inner", suffixes=("", "_reference"))
    start, end = pairs[["start", "start_reference"]].max(axis=1), pairs[["end", "end_reference"]].min(axis=1)
    pairs = pairs.assign(length=(end - start).astype(np.int64))
    pairs = pairs[pairs["length"] >= max(1, min_overlap)]
    best = pairs.sort_values(
        ["position", "length", "position_reference"], ascending=[True, False, True]
    ).drop_duplicates("position")
    target_of = np.full(len(peaks), -1)
    target_of[best["position"].to_numpy(dtype=np.int64)] = best["position_reference"].to_numpy(dtype=np.int64)
    target_of = completed(target_of, same_names(reference.index, peaks.index))
    _refuse_other_chrom_names(peaks["chrom"], reference["chrom"], target_of < 0)
    if (target_of < 0).all():
        _refuse_apart(peaks, reference)
    return target_of


def _refuse_other_chrom_names(here: pd.Series, there: pd.Series, is_lost: np.ndarray) -> None:
    """Refuse peaks if most are lost because the reference calls their chromosomes otherwise: 1 and chr1."""
    here, known = here.astype(str), set(there.astype(str))
    bare = {name.removeprefix("chr"): name for name in known}
    other = {
        name: bare[short]
        for name in here.unique()
        if (short := name.removeprefix("chr")) in bare and name not in known
    }
    if (here.isin(list(other)).to_numpy() & is_lost).mean() > 0.5:
        name = next(iter(other))
        raise InputError(
            f"chromosomes must have the same names as in the reference: {name!r}, … here is {other[name]!r}, … there. "
            "Rename one of the two, in names of peaks or in the column `chrom`."
        )


def _refuse_apart(peaks: pd.DataFrame, reference: pd.DataFrame) -> None:
    chroms = [", ".join(sorted(table["chrom"].unique())[:3]) for table in (peaks, reference)]
    raise InputError(
        f"no peak overlaps a peak of the reference (chromosomes: {chroms[0]}, … and {chroms[1]}, …). Both must be of "
        "the same genome and name chromosomes alike."
    )


def _report(counts: sp.csr_matrix, matched: sp.csr_matrix, target_of: np.ndarray) -> dict[str, int]:
    kept = target_of >= 0
    emptied = (np.diff(matched.indptr) == 0) & (np.diff(counts.indptr) > 0)
    return {
        "peaks": len(kept),
        "peaks_kept": int(kept.sum()),
        "counts": int(total(counts)),
        "counts_kept": int(total(matched)),
        "reference_peaks": matched.shape[1],
        "reference_peaks_reached": len(np.unique(target_of[kept])),
        "cells_left_empty": int(emptied.sum()),
    }


def _warn_of_losses(report: dict[str, int], n_cells: int) -> None:
    lost = 1 - report["counts_kept"] / max(report["counts"], 1)
    if lost > 0.5 or report["cells_left_empty"]:
        warnings.warn(
            f"{lost:.0%} of the counts are in peaks without counterpart and are lost; {report['cells_left_empty']} of "
            f"{n_cells} cells have none left. Count fragments on the reference's peaks if you have them.",
            stacklevel=3,
        )
