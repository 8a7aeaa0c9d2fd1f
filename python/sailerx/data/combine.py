"""Several data sets as one MuData, for training on all of them."""

from __future__ import annotations

from collections.abc import Mapping

import anndata as ad
import mudata
import pandas as pd
from mudata import MuData

from sailerx.data.counts import pick_counts
from sailerx.data.match_peaks import REPORT, match_peaks
from sailerx.data.peaks import peak_table
from sailerx.errors import InputError


def combine(
    paired: Mapping[str, MuData],
    unpaired: Mapping[str, ad.AnnData] | None = None,
    *,
    key: str = "set",
    rna: str = "rna",
    atac: str = "atac",
) -> MuData:
    """Paired and ATAC-only data sets side by side, ready for hybrid training.

    Parameters
    ----------
    paired
        MuData objects by name, each with RNA and ATAC.
    unpaired
        ATAC alone, by name.
    key
        obs column that names the set of each cell; give it to `fit` as ``batch_key``.
    rna, atac
        Names of the modalities.

    Returns
    -------
    MuData whose ATAC modality holds the cells of all sets on the peaks of the first paired one (see `match_peaks`), and
    whose RNA modality those of the paired sets on the genes that they share. X holds counts: the layer ``counts`` where a
    set has one. obsm that all paired sets have stay, obs columns all, missing where a set lacks them. Where two sets have
    the same barcode, all barcodes get the set's name behind a dash.
    ``uns['matched_peaks']`` of the ATAC modality says for each set that was matched what was lost.

    Raises
    ------
    InputError
        If there is no paired set, a name is used twice, or modalities, genes or peaks do not fit together.

    Examples
    --------
    >>> import sailerx
    >>> both = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> atac_only = sailerx.simulate(n_cells=40, n_peaks=90, n_genes=100, n_types=3, seed=0)["atac"]
    >>> mdata = sailerx.combine({"multiome": both}, {"atac": atac_only})
    >>> mdata["rna"].n_obs, mdata["atac"].n_obs
    (60, 100)
    """
    unpaired = dict(unpaired or {})
    _refuse(paired, unpaired, rna, atac)
    reference = next(iter(paired.values())).mod[atac]
    parts = {
        name: _counts_alone(mdata.mod[atac], atac, _with_own_columns(mdata, atac))
        for name, mdata in paired.items()
    } | {name: _counts_alone(part, atac) for name, part in unpaired.items()}
    matched = {name: _on_peaks_of(reference, part) for name, part in parts.items()}
    suffix = _suffix([part.obs_names for part in parts.values()])
    together = ad.concat(matched, join="inner", index_unique=suffix, merge="same")
    together.var = matched[next(iter(paired))].var
    together.uns[REPORT] = {name: part.uns[REPORT] for name, part in matched.items() if REPORT in part.uns}
    together.obs = _all_columns(matched, key, together.obs_names)
    taught = {name: _counts_alone(mdata.mod[rna], rna) for name, mdata in paired.items()}
    genes = ad.concat(taught, join="inner", index_unique=suffix, merge="same")
    genes.obs = _all_columns(taught, key, genes.obs_names)
    if genes.n_vars == 0:
        raise InputError(f"the paired sets must share genes, but no name is in all of {', '.join(paired)}.")
    with mudata.set_options(pull_on_update=False):
        return MuData({rna: genes, atac: together})


def _refuse(paired: Mapping[str, MuData], unpaired: Mapping[str, ad.AnnData], rna: str, atac: str) -> None:
    if not paired:
        raise InputError("`paired` must hold at least one MuData: without RNA there is no teacher.")
    twice = sorted(set(paired) & set(unpaired))
    if twice:
        raise InputError(f"every set needs a name of its own; {twice[0]!r} is used twice.")
    for name, mdata in paired.items():
        missing = [m for m in (rna, atac) if not (isinstance(mdata, MuData) and m in mdata.mod)]
        if missing:
            raise InputError(
                f"paired set {name!r} must be a MuData with modalities {rna!r} and {atac!r}; {missing[0]!r} is missing."
            )
    for name, part in unpaired.items():
        if not isinstance(part, ad.AnnData):
            raise InputError(
                f"unpaired set {name!r} must be an AnnData of accessibility, got {type(part).__name__}."
            )


def _on_peaks_of(reference: ad.AnnData, part: ad.AnnData) -> ad.AnnData:
    """The same cells on the reference's peaks: as they are where these are the same, else by overlap."""
    known, own = peak_table(reference.var), peak_table(part.var)
    if known is None or own is None:  # nothing but names to go by
        return part if part.var_names.equals(reference.var_names) else match_peaks(part, reference)
    places = pd.MultiIndex.from_frame(own).get_indexer(pd.MultiIndex.from_frame(known))
    if (places >= 0).all() and len(own) == len(known):
        same = part[:, places].copy()
        same.var = reference.var.copy()
        return same
    return match_peaks(part, reference)


def _with_own_columns(mdata: MuData, name: str) -> pd.DataFrame:
    """The obs of a modality with the columns that only the whole's obs has."""
    part = mdata.mod[name]
    more = [column for column in mdata.obs if column not in part.obs and ":" not in str(column)]
    return part.obs.join(mdata.obs.loc[part.obs_names, more])


def _counts_alone(part: ad.AnnData, modality: str, obs: pd.DataFrame | None = None) -> ad.AnnData:
    """The same cells with their counts in X, wherever they were, so that sets do not mix counts and other values."""
    picked = pick_counts(part, modality, None)
    counts = None if picked is None else picked[1]
    return ad.AnnData(counts, obs=part.obs if obs is None else obs, var=part.var, obsm=dict(part.obsm))


def _all_columns(parts: Mapping[str, ad.AnnData], key: str, cells: pd.Index) -> pd.DataFrame:
    """The obs columns of all parts, one below the other, missing where a part lacks them; text is categorical."""
    obs = pd.concat([part.obs.assign(**{key: name}) for name, part in parts.items()]).set_axis(cells)
    text = [column for column in obs if obs[column].dtype == object]
    return obs.astype(dict.fromkeys(text, "category"))


def _suffix(names: list[pd.Index]) -> str | None:
    every = names[0].append(names[1:])
    return None if every.is_unique else "-"
