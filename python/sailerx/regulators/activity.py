"""Motif activity of cells from counts, or from any other accessibility that can be read in blocks of cells."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from mudata import MuData

from sailerx.config import Style, checked_seed
from sailerx.data.counts import pick_counts, to_csr, why_not_counts
from sailerx.data.obs_columns import joined_obs
from sailerx.data.peaks import columns_in_order, peak_table
from sailerx.data.reading import Cells, opened
from sailerx.errors import InputError
from sailerx.regulators.background import MatchedPeaks
from sailerx.regulators.deviations import Reader, Totals, deviations
from sailerx.regulators.threads import number_of_threads
from sailerx.versions import versions

#: peaks × motifs, not zero where a peak holds a motif: AnnData as of `scan`, or a data frame
MatchesLike: TypeAlias = AnnData | pd.DataFrame


def motif_activity(
    mdata: Cells,
    matches: MatchesLike,
    *,
    n_background: int = 50,
    seed: int = 0,
    atac: str = "atac",
    layer: str | None = None,
    threads: int | None = None,
    progress: Style = "auto",
) -> AnnData:
    """Compute motif activity from counts: how much more open than expected a motif's peaks are in a cell.

    Deviations and z-scores are those of chromVAR (Schep et al. 2017, doi:10.1038/nmeth.4401; the formulas are in
    `sailerx.regulators.deviations`). `sailerx.Model.motif_activity` computes them from imputed accessibility.

    Parameters
    ----------
    mdata
        MuData, its ATAC modality as AnnData, or the path of an .h5mu or .h5ad file; raw counts.
    matches
        Peaks × motifs: from `sailerx.motifs.scan`, or any matrix of your own as AnnData or data frame, not zero where a
        peak holds a motif. Peaks are matched by coordinates, else by name; all of the data's must be there. If its obs (or
        the data's var) has a column ``gc``, background peaks are matched on it, else on accessibility alone.
    n_background
        Number of background peaks drawn for each peak.
    seed
        Seed of the draw.
    atac
        Name of the ATAC modality.
    layer
        Layer of counts; by default a layer ``counts`` if there is one, else X.
    threads
        CPU threads; by default all. Their number does not change the result.
    progress
        As for `sailerx.fit`.

    Returns
    -------
    Cells × motifs, float32: X holds z-scores, layer ``deviations`` the bias-corrected deviations; obs is that of ATAC, with
    the columns of the global obs; var has
    ``name`` and the number of peaks (``n_peaks``).

    Raises
    ------
    InputError
        If the data do not hold counts, a cell has none, or the motifs do not fit the peaks.

    Examples
    --------
    >>> import numpy as np, pandas as pd, sailerx
    >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> hits = np.random.default_rng(0).random((90, 2)) < 0.3
    >>> matches = pd.DataFrame(hits, mdata["atac"].var_names, ["motif1", "motif2"]).assign(gc=0.5)
    >>> sailerx.motifs.activity(mdata, matches, progress="none").shape
    (60, 2)
    """
    with opened(mdata) as data:
        counts, adata = _counts(data, atac, layer)

        def reader() -> Iterator[sp.csr_matrix]:
            yield counts

        return activity_of(
            reader, joined_obs(data, atac), adata.var, matches,
            n_background=n_background, seed=checked_seed(seed), threads=threads, progress=progress,
        )  # fmt: skip


def _counts(data: MuData | AnnData, atac: str, layer: str | None) -> tuple[sp.csr_matrix, AnnData]:
    if isinstance(data, MuData) and atac not in data.mod:
        raise InputError(
            f"the data must have a modality {atac!r}, found {', '.join(data.mod)}. Name it by `atac`."
        )
    adata = data.mod[atac] if isinstance(data, MuData) else data
    picked = pick_counts(adata, atac, layer)
    if picked is None or not adata.n_obs or not adata.n_vars:
        raise InputError(
            f"modality {atac!r} must hold counts of cells × peaks, found {adata.n_obs} × {adata.n_vars}."
        )
    counts = to_csr(picked[1])
    wrong = why_not_counts(counts)
    if wrong:
        raise InputError(f"motif activity needs counts, but {picked[0]} holds {wrong}. Name their `layer`.")
    return counts.astype(np.float32), adata


def activity_of(
    reader: Reader,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    matches: MatchesLike,
    *,
    n_background: int,
    seed: int,
    threads: int | None,
    progress: Style,
) -> AnnData:
    """Compute motif activity of accessibility that ``reader`` reads.

    Parameters
    ----------
    reader
        Reads cells × peaks, in blocks of cells.
    obs, var
        Tables of the cells and of the peaks.
    matches, n_background, seed, threads, progress
        As for `motif_activity`.
    """
    if isinstance(n_background, bool) or n_background != int(n_background) or n_background < 2:
        raise InputError(f"`n_background` must be a whole number of at least 2, got {n_background!r}.")
    motifs = aligned_matches(matches, var)
    totals = Totals.of(reader)
    hits = sp.csr_matrix(motifs.X)
    counted = np.asarray((totals.of_peak > 0) @ hits).ravel() > 0
    if not counted.any():
        raise InputError(
            "at least one motif must be in a peak with counts, but none is. Check that the peaks fit."
        )
    if not counted.all():
        warnings.warn(
            f"{(~counted).sum()} of {len(counted)} motifs are in no peak with counts and are left out.",
            stacklevel=4,
        )
    motifs, hits = motifs[:, counted], sp.csr_matrix(hits[:, counted])
    gc = motifs.obs["gc"].to_numpy(float) if "gc" in motifs.obs else None
    background = MatchedPeaks.of(totals.of_peak, gc).draw(int(n_background), seed)
    d, z = deviations(
        reader, totals, hits, background, n_threads=number_of_threads(threads), progress=progress
    )
    result = AnnData(z, obs=obs.copy(), var=motifs.var.assign(n_peaks=np.diff(hits.tocsc().indptr)))
    result.layers["deviations"] = d
    about = {"n_background": int(n_background), "seed": seed, "matched_on_gc": gc is not None}
    result.uns["sailerx"] = {"motifs": json.dumps(about), "versions": json.dumps(versions())}
    return result


def aligned_matches(matches: MatchesLike, var: pd.DataFrame) -> AnnData:
    """Bring peaks × motifs into the order of the data's peaks, as 0/1, with GC content from either side.

    Parameters
    ----------
    matches
        As for `motif_activity`.
    var
        Table of the data's peaks.

    Raises
    ------
    InputError
        If a peak of the data is missing, or no peak holds a motif.
    """
    found = _as_anndata(matches)
    here, there = _keys(var), _keys(found.obs)
    if not len(here.columns) or not len(there.columns):
        here, there = here[[]], there[[]]
    rows = columns_in_order(there, here)
    if (rows < 0).any():
        first = str(var.index[int((rows < 0).argmax())])
        raise InputError(
            f"`matches` must have a row for every peak of the data, but lacks {(rows < 0).sum():,} of {len(rows):,}, first {first!r}; "
            f"its own are like {str(found.obs_names[0])!r}. Scan the data's peaks for motifs."
        )
    hits = (sp.csr_matrix(found.X)[rows] != 0).astype(np.float32)
    if not hits.nnz:
        raise InputError("`matches` must have a motif in at least one peak, but is zero everywhere.")
    gc = found.obs["gc"].iloc[rows].to_numpy() if "gc" in found.obs else var.get("gc")
    obs = pd.DataFrame(index=var.index.astype(str))
    if gc is not None:
        obs["gc"] = np.asarray(gc, float)
    else:
        warnings.warn(
            "the GC content of the peaks is not known (no column `gc`), so background peaks are matched on accessibility alone.",
            stacklevel=5,
        )
    names = found.var if "name" in found.var else found.var.assign(name=found.var_names.astype(str))
    return AnnData(sp.csr_matrix(hits), obs=obs, var=names[["name"]].copy())


def _keys(table: pd.DataFrame) -> pd.DataFrame:
    coordinates = peak_table(table)
    return pd.DataFrame(index=table.index.astype(str)) if coordinates is None else coordinates


def _as_anndata(matches: MatchesLike) -> AnnData:
    if isinstance(matches, AnnData):
        return matches
    if not isinstance(matches, pd.DataFrame):
        raise InputError(
            f"`matches` must be AnnData or a data frame, peaks × motifs, got {type(matches).__name__}."
        )
    about = [name for name in ("chrom", "start", "end", "gc") if name in matches]
    values = matches.drop(columns=about)
    return AnnData(
        sp.csr_matrix(values.to_numpy(float)),
        obs=matches[about].copy(),
        var=pd.DataFrame(index=values.columns),
    )
