"""Combine paired and ATAC-only data sets into one MuData for hybrid training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import anndata as ad
import mudata
import pandas as pd
from mudata import MuData

from sailerx.data.counts import pick_counts, refuse_lost_counts, total
from sailerx.data.match_peaks import REPORT, match_peaks
from sailerx.data.modalities import find_modalities
from sailerx.data.peaks import columns_in_order, peak_table
from sailerx.data.reading import Cells, atac_in_memory, is_path, read_cells
from sailerx.data.stack_columns import stack_obs
from sailerx.errors import InputError


def combine(
    paired: Mapping[str, Cells],
    unpaired: Mapping[str, Cells] | None = None,
    *,
    key: str = "set",
    rna: str = "rna",
    atac: str = "atac",
) -> MuData:
    """Concatenate the cells of paired and ATAC-only data sets into one MuData for hybrid training.

    Parameters
    ----------
    paired
        Name of the data set → MuData with RNA and ATAC, or the path of its file, as for `fit`.
    unpaired
        Name of the data set → AnnData with ATAC counts, cells × peaks, or MuData with them, or the path of a file.
    key
        obs column to write each cell's data set name to; give it to `fit` as ``batch_key``.
    rna, atac
        Names of the modalities.

    Returns
    -------
    MuData. The ATAC modality holds the cells of all sets on the peaks of the first paired set (see `match_peaks`); the RNA
    modality holds the cells of the paired sets on their shared genes. X holds raw counts, from the layer ``counts`` where
    a set has one, else from X. All obs columns are kept, with missing values where a set lacks a column; a column that is text
    in one set and numbers in another becomes text. An obsm entry is kept if every set of the modality has it,
    with the same columns. If a barcode occurs in two sets, every barcode gets the suffix ``-<set>``.
    ``uns['matched_peaks']`` of the ATAC modality holds the report of `match_peaks` for each set with other peaks.

    Raises
    ------
    InputError
        If there is no paired set, a set name is used twice, a modality is missing, the paired sets share no gene, or the
        peaks of a set overlap none of the first paired set.

    Examples
    --------
    >>> import sailerx
    >>> both = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> atac_only = sailerx.simulate(n_cells=40, n_peaks=90, n_genes=100, n_types=3, seed=0)["atac"]
    >>> mdata = sailerx.combine({"multiome": both}, {"atac": atac_only})
    >>> mdata["rna"].n_obs, mdata["atac"].n_obs
    (60, 100)
    """
    _check_names(paired, unpaired or {})
    sets = {
        name: find_modalities(read_cells(data) if is_path(data) else data, rna, atac)
        for name, data in paired.items()
    }
    alone = {name: _alone(name, data, atac) for name, data in (unpaired or {}).items()}
    _check_modalities(sets, rna, atac)
    reference = next(iter(sets.values())).mod[atac]
    atac_sets = {
        name: _with_counts_in_x(mdata.mod[atac], atac, _with_global_columns(mdata, atac))
        for name, mdata in sets.items()
    } | {name: _with_counts_in_x(adata, atac) for name, adata in alone.items()}
    matched = {name: _on_peaks_of(reference, adata) for name, adata in atac_sets.items()}
    rna_sets = {name: _with_counts_in_x(mdata.mod[rna], rna) for name, mdata in sets.items()}
    separator = _suffix_separator([adata.obs_names for adata in atac_sets.values()])
    all_atac = _concatenate(matched, key, separator)
    all_atac.var = matched[next(iter(sets))].var
    all_atac.uns[REPORT] = {name: adata.uns[REPORT] for name, adata in matched.items() if REPORT in adata.uns}
    all_rna = _concatenate(rna_sets, key, separator)
    if all_rna.n_vars == 0:
        raise InputError(f"the paired sets must share genes, but no name is in all of {', '.join(paired)}.")
    _refuse_loss(matched, all_atac)
    _refuse_loss(rna_sets, all_rna)
    with mudata.set_options(pull_on_update=False):
        return MuData({rna: all_rna, atac: all_atac})


def _check_names(paired: Mapping[str, Cells], unpaired: Mapping[str, Cells]) -> None:
    if not paired:
        raise InputError("`paired` must hold at least one MuData: without RNA there is no teacher.")
    twice = sorted(set(paired) & set(unpaired))
    if twice:
        raise InputError(f"every set needs a name of its own; {twice[0]!r} is used twice.")


def _alone(name: str, data: Cells, atac: str) -> ad.AnnData:
    try:
        return atac_in_memory(data, atac)
    except InputError as error:
        raise InputError(f"unpaired set {name!r}: {error}") from error


def _check_modalities(paired: Mapping[str, MuData], rna: str, atac: str) -> None:
    for name, mdata in paired.items():
        missing = [m for m in (rna, atac) if not (isinstance(mdata, MuData) and m in mdata.mod)]
        if missing:
            raise InputError(
                f"paired set {name!r} must be a MuData with modalities {rna!r} and {atac!r}; {missing[0]!r} is missing."
            )


def _on_peaks_of(reference: ad.AnnData, atac: ad.AnnData) -> ad.AnnData:
    """Bring ATAC counts onto the reference's peaks: reorder columns if the peaks are equal, else match by overlap."""
    known, own = peak_table(reference.var), peak_table(atac.var)
    if known is None or own is None:  # no coordinates: compare names
        return atac if atac.var_names.equals(reference.var_names) else match_peaks(atac, reference)
    columns = columns_in_order(own, known)
    if (columns >= 0).all() and len(own) == len(known):
        reordered = atac[:, columns].copy()
        reordered.var = reference.var.copy()
        return reordered
    return match_peaks(atac, reference)


def _with_global_columns(mdata: MuData, modality: str) -> pd.DataFrame:
    """Join the columns of the global obs that the modality's own obs lacks to the latter."""
    adata = mdata.mod[modality]
    more = [column for column in mdata.obs if column not in adata.obs and ":" not in str(column)]
    return adata.obs.join(mdata.obs.loc[adata.obs_names, more])


def _with_counts_in_x(adata: ad.AnnData, modality: str, obs: pd.DataFrame | None = None) -> ad.AnnData:
    """Copy the counts of a modality (layer or X) to X of a new AnnData, so that all sets hold counts in X."""
    picked = pick_counts(adata, modality, None)
    counts = None if picked is None else picked[1]
    return ad.AnnData(counts, obs=adata.obs if obs is None else obs, var=adata.var, obsm=dict(adata.obsm))


def _concatenate(sets: Mapping[str, ad.AnnData], key: str, separator: str | None) -> ad.AnnData:
    """Concatenate cells on shared features and obsm keys, with all obs columns; ``key`` holds the name of the set."""
    keys = _keys_of_all([part.obsm for part in sets.values()])
    bare = {
        name: ad.AnnData(part.X, part.obs[[]], part.var, obsm={key: part.obsm[key] for key in keys})
        for name, part in sets.items()
    }
    adata = ad.concat(bare, join="inner", index_unique=separator, merge="same")
    tables = {name: part.obs.assign(**{key: name}) for name, part in sets.items()}
    adata.obs = stack_obs(tables).set_axis(adata.obs_names)
    return adata


def _keys_of_all(obsms: Sequence[Mapping[str, Any]]) -> list[str]:
    """Find the obsm keys that all sets have, with the same columns; others that all have are left out with a warning."""
    keys = [key for key in obsms[0] if all(key in obsm for obsm in obsms)]
    columns = {key: [_columns_of(obsm[key]) for obsm in obsms] for key in keys}
    unlike = [key for key in keys if any(found != columns[key][0] for found in columns[key])]
    if unlike:
        warnings.warn(
            f"obsm {', '.join(map(repr, unlike))} has other columns in some sets than in others, and is left out.",
            stacklevel=4,
        )
    return [key for key in keys if key not in unlike]


def _columns_of(matrix: Any) -> Any:
    return list(matrix.columns) if isinstance(matrix, pd.DataFrame) else matrix.shape[1:]


def _refuse_loss(sets: Mapping[str, ad.AnnData], together: ad.AnnData) -> None:
    """Refuse to go on if counts on the features of all sets are lost on the way."""
    kept = (total(part[:, part.var_names.isin(together.var_names)].X) for part in sets.values())
    refuse_lost_counts("combine", sum(kept), total(together.X))


def _suffix_separator(barcodes: list[pd.Index]) -> str | None:
    """Return "-" (`ad.concat` then appends the set's name) if a barcode occurs twice over all sets, else None."""
    return None if barcodes[0].append(barcodes[1:]).is_unique else "-"
