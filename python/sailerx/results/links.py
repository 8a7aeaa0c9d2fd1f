"""Peak-to-gene links of a trained model: imputed accessibility against RNA over metacells of its embedding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from mudata import MuData
from sklearn.cluster import MiniBatchKMeans

from sailerx.config import checked_number
from sailerx.data.counts import pick_counts, to_csr, why_not_counts
from sailerx.data.names import listed
from sailerx.errors import InputError
from sailerx.regulators.annotation import AnnotationLike, gene_starts
from sailerx.regulators.links import FEWEST_BACKGROUND, link_statistics, near_pairs
from sailerx.results.embed import embed
from sailerx.results.impute import impute
from sailerx.results.selection import Batch
from sailerx.results.trained import TrainedModel, atac_of

#: cells per metacell, on average, and the largest number of metacells by default
_CELLS_PER_METACELL, _MOST_METACELLS = 20, 500
_FEWEST_METACELLS = 10


def links(
    model: TrainedModel,
    mdata: MuData,
    annotation: AnnotationLike,
    *,
    genes: Sequence[str] | None = None,
    distance: int = 500_000,
    n_metacells: int | None = None,
    n_background: int = 200,
    fdr: float = 0.05,
    depth: float | None = None,
    batch: Batch = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute `sailerx.Model.links`; parameters as there, and the trained model."""
    _refuse_numbers(model, distance, fdr)
    n_background = checked_number("n_background", n_background, FEWEST_BACKGROUND)
    rna, rows = _cells_with_rna(model, mdata)
    starts = _chosen_genes(gene_starts(annotation), rna, genes)
    pairs = near_pairs(model.peaks, starts, distance)
    if not len(pairs):
        raise InputError(
            f"at least one peak must lie within {distance:,} bases of a gene's start, but none does. Peaks are on "
            f"{listed(model.peaks['chrom'].unique())}, genes on {listed(starts['chrom'].unique())}: do their names agree?"
        )
    atac = atac_of(mdata, model.record["atac"])
    label = metacells(embed(model, mdata).rows[rows], n_metacells, seed)
    groups = pd.Series(pd.Categorical(label), atac.obs_names[rows], name="metacell").reindex(atac.obs_names)
    imputed = impute(model, atac, cells=atac.obs_names[rows], groups=groups, depth=depth, batch=batch)
    assert imputed is not None
    expression = _expression(rna, starts.index, label)
    gc = atac.var["gc"].reindex(model.peaks.index).to_numpy(float) if "gc" in atac.var else None
    found = link_statistics(
        pairs,
        expression,
        np.asarray(imputed.X),
        model.peaks["chrom"].to_numpy(str),
        gc,
        n_background=n_background,
        seed=seed,
    )
    return _table(model.peaks, starts, pairs, found, fdr)


def _refuse_numbers(model: TrainedModel, distance: int, fdr: float) -> None:
    if distance < 1:
        raise InputError(f"`distance` must be at least 1 base, got {distance!r}.")
    if not 0 < fdr < 1:
        raise InputError(f"`fdr` must be between 0 and 1, got {fdr!r}.")
    if not len(model.peaks.columns):
        raise InputError("links need peaks with coordinates, which this model was trained without.")


def _cells_with_rna(model: TrainedModel, mdata: MuData) -> tuple[AnnData, np.ndarray]:
    """The RNA of the cells that have both, in the order of the ATAC cells, and their positions among these."""
    name = model.record["rna"]
    if not isinstance(mdata, MuData) or name not in mdata.mod:
        there = ", ".join(mdata.mod) if isinstance(mdata, MuData) else type(mdata).__name__
        raise InputError(f"links need RNA and ATAC: MuData with a modality {name!r}, found {there}.")
    rna, cells = mdata.mod[name], atac_of(mdata, model.record["atac"]).obs_names
    place = rna.obs_names.get_indexer(cells)
    rows = np.flatnonzero(place >= 0)
    if len(rows) < 2 * _FEWEST_METACELLS:
        raise InputError(
            f"links need at least {2 * _FEWEST_METACELLS} cells with both RNA and ATAC, but {len(rows)} have both."
        )
    picked = pick_counts(rna, name, model.record["rna_layer"])
    counts = None if picked is None else to_csr(picked[1])
    if counts is None or why_not_counts(counts):
        raise InputError(
            f"links need RNA counts, which modality {name!r} does not hold. Put them into its layer 'counts'."
        )
    return AnnData(counts[place[rows]], obs=pd.DataFrame(index=cells[rows]), var=rna.var[[]].copy()), rows


def _chosen_genes(starts: pd.DataFrame, rna: AnnData, genes: Sequence[str] | None) -> pd.DataFrame:
    """The genes asked for, by default all that are in the RNA, with their starts."""
    if genes is None:
        known = starts[starts.index.isin(rna.var_names)]
        if not len(known):
            raise InputError(
                f"the annotation must have genes of the RNA, but shares none: its names are like {str(starts.index[0])!r}, the RNA's "
                f"like {str(rna.var_names[0])!r}. Are one names and the other identifiers?"
            )
        return known
    asked = [genes] if isinstance(genes, str) else list(genes)
    for where, names in (("the RNA", rna.var_names), ("the annotation", starts.index)):
        missing = [gene for gene in asked if gene not in names]
        if missing:
            raise InputError(
                f"`genes` must be in {where}: {len(missing)} of {len(asked)} are not, first {missing[0]!r}."
            )
    return starts.loc[asked]


def metacells(z: np.ndarray, n: int | None, seed: int) -> np.ndarray:
    """Group like cells by k-means of their embedding.

    Parameters
    ----------
    z
        Embedding, cells × dimensions.
    n
        Number of groups; by default one per 20 cells, at most 500.
    seed
        Seed of the k-means.

    Returns
    -------
    Group of each cell, 0 to the number of groups that have cells.

    Raises
    ------
    InputError
        If ``n`` is below 10 or above the number of cells.
    """
    if n is None:
        n = max(_FEWEST_METACELLS, min(_MOST_METACELLS, len(z) // _CELLS_PER_METACELL))
    if not _FEWEST_METACELLS <= n <= len(z):
        raise InputError(
            f"`n_metacells` must be at least {_FEWEST_METACELLS} and at most the number of cells, {len(z):,}; got {n}."
        )
    found = MiniBatchKMeans(n, n_init=1, random_state=seed, batch_size=4096).fit_predict(z.astype(np.float64))
    return np.unique(found, return_inverse=True)[1]


def _expression(rna: AnnData, genes: pd.Index, label: np.ndarray) -> np.ndarray:
    """log(1 + counts per 10,000) of the genes in each metacell, metacells × genes."""
    member = sp.csr_matrix((np.ones(len(label)), (label, np.arange(len(label)))))
    total = np.maximum(np.asarray(member @ rna.X.sum(axis=1)).ravel(), 1)
    sums = (member @ rna[:, list(genes)].X).toarray()
    return np.log1p(1e4 * sums / total[:, None])


def _table(
    peaks: pd.DataFrame, starts: pd.DataFrame, pairs: pd.DataFrame, found: pd.DataFrame, fdr: float
) -> pd.DataFrame:
    gene, peak = pairs["gene"].to_numpy(), pairs["peak"].to_numpy()
    table = pd.DataFrame({"gene": starts.index[gene], "peak": peaks.index[peak]})
    for name in ("chrom", "start", "end"):
        table[name] = peaks[name].to_numpy()[peak]
    table["tss"], table["distance"] = starts["tss"].to_numpy()[gene], pairs["distance"].to_numpy()
    table = pd.concat([table, found], axis=1).assign(linked=found["fdr"] <= fdr)
    return table.iloc[np.lexsort([-table["z"].abs(), table["p_value"]])].reset_index(drop=True)
