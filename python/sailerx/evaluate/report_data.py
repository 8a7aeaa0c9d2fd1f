"""Everything the HTML report shows, computed once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

from sailerx.data.levels import level_text, value_text
from sailerx.data.lsi import lsi
from sailerx.data.multiome import Multiome
from sailerx.data.names import listed
from sailerx.data.obs_columns import obs_columns
from sailerx.data.quality_warnings import Finding, quality_findings
from sailerx.errors import InputError
from sailerx.evaluate import umap_plots
from sailerx.evaluate.clustering import leiden_clusters
from sailerx.evaluate.leakage import batch_leakage, depth_leakage
from sailerx.evaluate.neighbors import chance_agreement, neighbor_agreement
from sailerx.evaluate.scores import COLUMNS, best_score
from sailerx.results.embed import embed
from sailerx.results.trained import TrainedModel
from sailerx.training.jumps import jumps

#: largest number of cells in figures and scores; of more, a random subset is used
MOST_CELLS = 20_000
RESULT, REFERENCE, ATAC_ALONE = "SAILERX", "RNA reference", "ATAC LSI"
CLUSTER, OPEN_PEAKS, RNA_COUNTS, MODALITIES = "Leiden cluster", "open peaks", "RNA counts", "modalities"
KEPT = "RNA neighbours kept"


@dataclass(frozen=True)
class ReportData:
    """Everything the report shows. Values per cell are of the shown cells: all, or a random subset."""

    #: data of all cells, validated as in training
    data: Multiome
    #: UMAP of the embedding, cells × 2
    layout: np.ndarray
    #: columns that colour the UMAP, cells × columns
    obs: pd.DataFrame
    #: share of RNA neighbours kept, per cell; NaN for cells without RNA
    agreement: np.ndarray
    #: mean of `agreement` expected by chance
    chance: float
    #: share of ATAC in the squared length of each row; 0 if the embedding has no part of RNA
    atac_weight: np.ndarray
    #: alignment weight w, per cell; NaN for cells without RNA
    weight: np.ndarray
    #: one row per embedding of the cells with RNA (of all, if none has): RNA neighbours kept and, with labels, scores
    scores: pd.DataFrame
    #: confounders × embeddings: leakage of each confounder within a cell type or cluster
    leakage: pd.DataFrame
    #: warnings about the data and the run, but for the findings
    warnings: tuple[str, ...]
    #: what the checks of the data have found, and the batches that they are about, of all cells
    findings: tuple[Finding, ...]
    batches: pd.DataFrame

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        mdata: MuData | AnnData,
        *,
        labels: str | None = None,
        drop: Sequence[str] = (),
        seed: int = 0,
    ) -> ReportData:
        """Embed the data and compute everything the report shows.

        Parameters
        ----------
        model
            A trained model.
        mdata
            RNA and ATAC, as for training; or ATAC alone.
        labels
            Column of obs with cell types.
        drop
            Labels whose cells are not scored.
        seed
            Seed of clustering, layout and the random subset of cells.

        Raises
        ------
        InputError
            If the data cannot be used as in training, or the labels do not form groups of cells.
        """
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            data, batch_columns = _training_data(model, mdata)
            kinds, named = (None, None) if labels is None else _kinds(mdata, model, labels, drop)
            embedded = embed(model, mdata)
        z = embedded.rows
        shown = choose_cells(data.n_cells, seed)
        paired = data.has_rna[shown]
        scored = shown[paired] if paired.any() else shown
        embeddings = {RESULT: z[scored]}
        if paired.any():
            embeddings[REFERENCE] = data.g[scored]
        embeddings[ATAC_ALONE] = lsi(data.x[scored], seed=seed)
        kept = {
            name: neighbor_agreement(embeddings[REFERENCE], embeddings[name])
            for name in (RESULT, ATAC_ALONE)
            if paired.any()
        }
        obs = _colours(data, batch_columns, z, seed)
        if kinds is not None:
            obs = pd.concat([kinds, obs.drop(columns=str(labels), errors="ignore")], axis=1)
        named = None if named is None else named[scored]
        return cls(
            data=data,
            layout=umap_plots.umap_layout(z[shown], seed=seed),
            obs=obs.iloc[shown],
            agreement=_spread(kept.get(RESULT, np.empty(0)), paired),
            chance=chance_agreement(len(scored)),
            atac_weight=embedded.atac_weight[shown] if model.joint is not None else np.zeros(len(shown)),
            weight=np.where(paired, data.w[shown], np.nan),
            scores=_scores(embeddings, kept, named, seed),
            leakage=_leakage(embeddings, named, data.depth[scored], batch_columns.iloc[scored], seed),
            warnings=(
                *texts_of(raised),
                *_differences(model, data),
                *jumps(model.history, model.settings),
            ),
            findings=tuple(quality_findings(data, batch_columns)),
            batches=batch_columns,
        )


def _training_data(model: TrainedModel, mdata: MuData | AnnData) -> tuple[Multiome, pd.DataFrame]:
    """Validate the data as in training, and read the batch columns of the run."""
    record = model.record
    names = {name: record[name] for name in ("rna", "atac", "rna_layer", "atac_layer", "seed")}
    keys = {name: record[name] for name in ("rna_embedding", "batch_key", "continuous_key")}
    data = Multiome.from_mudata(mdata, model.settings, **names, **keys)
    return data, obs_columns(mdata, record["atac"], record["batch_key"])


def _kinds(
    mdata: MuData | AnnData, model: TrainedModel, labels: str, drop: Sequence[str]
) -> tuple[pd.Series, np.ndarray]:
    """Read the label of each ATAC cell twice: to colour by; and to score with, None for labels in ``drop``."""
    found = obs_columns(mdata, model.record["atac"], [labels])[labels].reset_index(drop=True)
    as_text, drop = level_text(found), [value_text(label) for label in drop]
    unknown = [label for label in drop if not (as_text == label).any()]
    if unknown:
        raise InputError(
            f"`drop` must name labels of column {labels!r}: there is no {unknown[0]!r}. There are: "
            f"{listed(as_text.dropna().unique())}."
        )
    named = found.astype(object).where(found.notna() & ~as_text.isin(drop), None)
    n_named, n_kinds = int(named.notna().sum()), named.nunique()
    if not 2 <= n_kinds <= n_named / 2:
        raise InputError(
            f"`labels` must form at least two groups, of two cells or more on average, but {labels!r} gives {n_kinds} different "
            f"values to {n_named} cells. Name a column of cell types."
        )
    return found.astype("category"), named.to_numpy(dtype=object)


def choose_cells(n_cells: int, seed: int) -> np.ndarray:
    """Choose the positions of the cells to show, ascending: all, or `MOST_CELLS` at random."""
    if n_cells <= MOST_CELLS:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).choice(n_cells, MOST_CELLS, replace=False))


def _colours(data: Multiome, batch_columns: pd.DataFrame, z: np.ndarray, seed: int) -> pd.DataFrame:
    """Make the columns that colour the UMAP: Leiden cluster, batches, modalities of the cell, and depths."""
    obs = batch_columns.reset_index(drop=True).astype(str).astype("category")
    obs.insert(0, CLUSTER, pd.Series(leiden_clusters(z, seed=seed)))
    if not data.has_rna.all():
        obs[MODALITIES] = np.where(data.has_rna, "RNA + ATAC", "ATAC alone")
    obs[OPEN_PEAKS] = data.depth
    if np.isfinite(data.rna_depth).any():
        obs[RNA_COUNTS] = data.rna_depth
    return obs


def _spread(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Put values at the positions where the mask is true, NaN elsewhere."""
    everywhere = np.full(len(where), np.nan)
    everywhere[where] = values
    return everywhere


def _scores(
    embeddings: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    named: np.ndarray | None,
    seed: int,
) -> pd.DataFrame:
    """Make the table of scores: RNA neighbours kept and, with labels, clustering and kNN scores."""
    shares = {name: kept[name].mean() if name in kept else np.nan for name in embeddings}
    table = pd.DataFrame({KEPT: shares}) if kept else pd.DataFrame(index=list(embeddings))
    if named is None:
        return table
    tried = {ATAC_ALONE: ("euclidean", "cosine")}  # in the other embeddings rows have unit length
    found = pd.DataFrame(
        {
            name: best_score(z, named, metrics=tried.get(name, ("euclidean",)), seed=seed)
            for name, z in embeddings.items()
        }
    )
    scores = found.T[[key for key in COLUMNS if key in found.index and key != "metric"]]
    return table.join(scores.astype({"clusters": int}).rename(columns=COLUMNS).convert_dtypes())


def _leakage(
    embeddings: Mapping[str, np.ndarray],
    named: np.ndarray | None,
    depth: np.ndarray,
    batch_columns: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    """Measure leakage of depth and batches within each label; without labels, within each cluster of the RNA reference (or of z)."""
    if named is None:
        within = embeddings.get(REFERENCE, embeddings[RESULT])
        named = np.asarray(leiden_clusters(within, seed=seed), dtype=object)
    known = pd.notna(named)
    kinds = named[known].astype(str)
    rows = {
        "log ATAC depth (R²)": {
            name: depth_leakage(z[known], kinds, depth[known]) for name, z in embeddings.items()
        }
    }
    for key, column in batch_columns.items():
        batch = column.astype(str).to_numpy()[known]
        rows[f"{key} (accuracy above chance)"] = {
            name: batch_leakage(z[known], kinds, batch) for name, z in embeddings.items()
        }
    return pd.DataFrame(rows).T


def texts_of(raised: Sequence[warnings.WarningMessage]) -> list[str]:
    """Collect the messages that are for users."""
    return [str(one.message) for one in raised if issubclass(one.category, UserWarning)]


def _differences(model: TrainedModel, data: Multiome) -> list[str]:
    """Describe how these data differ from the training data, by number of cells and RNA reference."""
    record, found = model.record, []
    if data.n_cells != record["n_cells"]:
        found.append(
            f"The model was trained on {record['n_cells']:,} cells, but these data have {data.n_cells:,}: other data, or a part."
        )
    if data.source != record["reference"]:
        found.append(
            f"The model was taught by {record['reference']}, but these data give {data.source}; neighbours and scores of the "
            "RNA reference in this report are of the latter."
        )
    return found
