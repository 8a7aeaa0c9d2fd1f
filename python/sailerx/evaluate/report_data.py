"""Everything the HTML report shows, computed once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mudata import MuData

from sailerx.data.lsi import lsi
from sailerx.data.multiome import Multiome
from sailerx.data.obs_columns import obs_columns
from sailerx.data.quality_warnings import quality_warnings
from sailerx.errors import InputError
from sailerx.evaluate import umap_plots
from sailerx.evaluate.clustering import leiden_clusters
from sailerx.evaluate.leakage import batch_leakage, depth_leakage
from sailerx.evaluate.neighbors import chance_agreement, neighbor_agreement
from sailerx.evaluate.scores import COLUMNS, best_score
from sailerx.results.embed import embed
from sailerx.results.trained import TrainedModel

#: of more cells, as many are drawn at random
MOST_CELLS = 20_000
RESULT, REFERENCE, ATAC_ALONE = "SAILERX", "RNA reference", "ATAC LSI"
CLUSTER, OPEN_PEAKS, RNA_COUNTS, MODALITIES = "Leiden cluster", "open peaks", "RNA counts", "modalities"
KEPT = "RNA neighbours kept"


@dataclass(frozen=True)
class ReportData:
    """Everything the report shows. Values per cell are of the cells shown: all, or a random part."""

    #: the data of all cells, validated as in training
    data: Multiome
    #: cells × 2, UMAP of the embedding
    layout: np.ndarray
    #: what colours the layout, cells × columns
    obs: pd.DataFrame
    #: share of RNA neighbours kept, NaN for cells without RNA
    agreement: np.ndarray
    #: `agreement` expected by chance
    chance: float
    #: w, NaN for cells without RNA
    weight: np.ndarray
    #: one row per embedding, of the cells with RNA: neighbours kept and, with labels, scores
    scores: pd.DataFrame
    #: confounders × embeddings: what each embedding knows of each confounder within a kind of cells
    leakage: pd.DataFrame
    #: warnings about the data
    warnings: tuple[str, ...]

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        mdata: MuData,
        *,
        labels: str | None = None,
        drop: Sequence[str] = (),
        seed: int = 0,
    ) -> ReportData:
        """Embed the data and compute everything.

        Parameters
        ----------
        model
            A trained model.
        mdata
            RNA and ATAC, as for training.
        labels
            Column of obs with cell types.
        drop
            Labels whose cells are not scored.
        seed
            Of clustering, layout and the choice of cells where there are too many.

        Raises
        ------
        InputError
            If the data cannot be used as in training, or the labels do not group cells.
        """
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            data, batches = _training_data(model, mdata)
            kinds, named = (None, None) if labels is None else _kinds(mdata, model, labels, drop)
            z = embed(model.vae, model.accessibility(mdata))
        shown = _choose(data.n_cells, seed)
        paired = data.has_rna[shown]
        some = shown[paired]
        embeddings = {RESULT: z[some], REFERENCE: data.g[some], ATAC_ALONE: lsi(data.x[some], seed=seed)}
        kept = {
            name: neighbor_agreement(embeddings[REFERENCE], embeddings[name]) for name in (RESULT, ATAC_ALONE)
        }
        obs = _colours(data, batches, z, seed)
        if kinds is not None:
            obs = pd.concat([kinds, obs.drop(columns=str(labels), errors="ignore")], axis=1)
        named = None if named is None else named[some]
        return cls(
            data=data,
            layout=umap_plots.umap_layout(z[shown], seed=seed),
            obs=obs.iloc[shown],
            agreement=_spread(kept[RESULT], paired),
            chance=chance_agreement(len(some)),
            weight=np.where(paired, data.w[shown], np.nan),
            scores=_scores(embeddings, kept, named, seed),
            leakage=_leakage(embeddings, named, data.depth[some], batches.iloc[some], seed),
            warnings=(*_texts(raised), *_differences(model, data), *quality_warnings(data, batches)),
        )


def _training_data(model: TrainedModel, mdata: MuData) -> tuple[Multiome, pd.DataFrame]:
    """The data as in training, and the columns that were hidden as batches."""
    record = model.record
    names = {name: record[name] for name in ("rna", "atac", "rna_layer", "atac_layer", "seed")}
    keys = {name: record[name] for name in ("rna_embedding", "batch_key", "continuous_key")}
    data = Multiome.from_mudata(mdata, model.settings, **names, **keys)
    return data, obs_columns(mdata, record["atac"], record["batch_key"])


def _kinds(
    mdata: MuData, model: TrainedModel, labels: str, drop: Sequence[str]
) -> tuple[pd.Series, np.ndarray]:
    """The label of each ATAC cell, to colour by; and to score with, missing where it is dropped."""
    found = obs_columns(mdata, model.record["atac"], [labels])[labels].reset_index(drop=True)
    named = found.astype(object).where(found.notna() & ~found.isin(list(drop)), None)
    n_named, n_kinds = int(named.notna().sum()), named.nunique()
    if not 2 <= n_kinds <= n_named / 2:
        raise InputError(
            f"`labels` must put cells into at least two groups of cells, but {labels!r} gives {n_kinds} different "
            f"values to {n_named} cells. Name a column of cell types."
        )
    return found.astype("category"), named.to_numpy(dtype=object)


def _choose(n_cells: int, seed: int) -> np.ndarray:
    """Positions of the cells that are shown, ascending."""
    if n_cells <= MOST_CELLS:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).choice(n_cells, MOST_CELLS, replace=False))


def _colours(data: Multiome, batches: pd.DataFrame, z: np.ndarray, seed: int) -> pd.DataFrame:
    """What colours the layout: clusters, batches, which modalities a cell has, and depths."""
    obs = batches.reset_index(drop=True).astype(str).astype("category")
    obs.insert(0, CLUSTER, pd.Series(leiden_clusters(z, seed=seed)))
    if not data.has_rna.all():
        obs[MODALITIES] = np.where(data.has_rna, "RNA + ATAC", "ATAC alone")
    obs[OPEN_PEAKS] = data.depth
    if np.isfinite(data.rna_depth).any():
        obs[RNA_COUNTS] = data.rna_depth
    return obs


def _spread(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    everywhere = np.full(len(where), np.nan)
    everywhere[where] = values
    return everywhere


def _scores(
    embeddings: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    named: np.ndarray | None,
    seed: int,
) -> pd.DataFrame:
    """Neighbours kept and, where there are labels, how well these are recovered."""
    table = pd.DataFrame({KEPT: {name: kept[name].mean() if name in kept else np.nan for name in embeddings}})
    if named is None:
        return table
    tried = {ATAC_ALONE: ("euclidean", "cosine")}  # rows of the others have length 1
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
    batches: pd.DataFrame,
    seed: int,
) -> pd.DataFrame:
    """What each embedding knows of depth and batches within cells of one label, else of one cluster of the reference."""
    if named is None:
        named = np.asarray(leiden_clusters(embeddings[REFERENCE], seed=seed), dtype=object)
    known = pd.notna(named)
    kinds = named[known].astype(str)
    rows = {
        "log ATAC depth (R²)": {
            name: depth_leakage(z[known], kinds, depth[known]) for name, z in embeddings.items()
        }
    }
    for key, column in batches.items():
        batch = column.astype(str).to_numpy()[known]
        rows[f"{key} (accuracy above chance)"] = {
            name: batch_leakage(z[known], kinds, batch) for name, z in embeddings.items()
        }
    return pd.DataFrame(rows).T


def _texts(raised: Sequence[warnings.WarningMessage]) -> list[str]:
    return [str(one.message) for one in raised if issubclass(one.category, UserWarning)]


def _differences(model: TrainedModel, data: Multiome) -> list[str]:
    """How these data differ from those the model was trained on, as far as its record tells."""
    record, found = model.record, []
    if data.n_cells != record["n_cells"]:
        found.append(
            f"The model was trained on {record['n_cells']:,} cells, these are {data.n_cells:,}: not the same data, or not all."
        )
    if data.reference != record["reference"]:
        found.append(
            f"The model was taught by {record['reference']}, but these data give {data.reference}; what is said of the RNA "
            "reference here is about the latter."
        )
    return found
