"""Sets of cells in one embedding, for the report: with and without RNA, trained on and new."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

from sailerx.data.accessibility import StackedCells
from sailerx.data.levels import level_text
from sailerx.data.lsi import lsi
from sailerx.data.obs_columns import obs_column
from sailerx.errors import InputError
from sailerx.evaluate.mixing import clisi, ilisi
from sailerx.results.embed import embed
from sailerx.results.trained import TrainedModel, atac_of

#: the two kinds of cells, by their modalities
BOTH, ALONE = "RNA + ATAC", "ATAC alone"
#: scores of mixing: of sets, the same where sets are shuffled within labels, of labels
MIXED, SHUFFLED, APART = "iLISI of sets", "iLISI, sets shuffled", "cLISI of labels"


@dataclass(frozen=True)
class CellSets:
    """Cells of all sets that are shown, those of the first file before those of the second."""

    #: cells × dimensions of the embedding
    rows: np.ndarray
    #: open peaks of these cells, of which rows of ``x`` are named by ``shown``
    x: StackedCells
    shown: np.ndarray
    #: set of each cell
    set: np.ndarray
    #: label of each cell, None where it has none
    label: np.ndarray

    @classmethod
    def of(
        cls,
        model: TrainedModel,
        files: Sequence[tuple[MuData | AnnData, np.ndarray]],
        labels: str | None,
        drop: Sequence[str] = (),
    ) -> CellSets:
        """Embed the cells of one file, or of the training data and of new cells.

        Parameters
        ----------
        model
            The trained model.
        files
            Data, and the positions of the cells to show. Of two files, the first is called "trained", the second "new".
        labels
            Column of obs with cell types; a file may lack it.
        drop
            Labels of cells that count as cells without a label.
        """
        atac = model.record["atac"]
        embedded = [embed(model, data) for data, _ in files]
        prefixes = ("",) if len(files) == 1 else ("trained, ", "new, ")
        named = [_set_names(found.has_rna, prefix) for found, prefix in zip(embedded, prefixes, strict=True)]
        label = [own_labels(data, atac, labels, drop) for data, _ in files]
        x = StackedCells(tuple(model.accessibility(data) for data, _ in files))
        starts = np.cumsum([0, *(part.shape[0] for part in x.parts[:-1])])
        shown = np.concatenate([start + cells for start, (_, cells) in zip(starts, files, strict=True)])
        rows = np.concatenate([found.rows for found in embedded])
        return cls(rows[shown], x, shown, np.concatenate(named)[shown], np.concatenate(label)[shown])

    def mixing(self, seed: int = 0) -> pd.DataFrame:
        """Measure how well sets mix and labels stay apart, in the embedding and in an LSI of the ATAC of all cells.

        Returns
        -------
        Embeddings × scores: iLISI of the sets, also after sets are shuffled among the cells of each label, which tells how high it
        can be with sets and labels of these sizes; and cLISI if there are labels.

        Raises
        ------
        InputError
            If scib-metrics is not installed.
        """
        embeddings = {"SAILERX": self.rows, "ATAC LSI": lsi(self.x[self.shown], seed=seed)}
        return pd.DataFrame({name: self._mixing(z, seed) for name, z in embeddings.items()}).T

    def _mixing(self, z: np.ndarray, seed: int) -> dict[str, float]:
        best = shuffled_within(self.set, self.label, seed)
        found = {MIXED: ilisi(z, self.set), SHUFFLED: ilisi(z, best)}
        known = pd.notna(self.label)
        return found | (
            {APART: clisi(z[known], self.label[known])} if len(set(self.label[known])) > 1 else {}
        )


def _set_names(has_rna: np.ndarray, prefix: str) -> np.ndarray:
    return np.where(has_rna, prefix + BOTH, prefix + ALONE).astype(object)


def own_labels(data: MuData | AnnData, atac: str, labels: str | None, drop: Sequence[str] = ()) -> np.ndarray:
    """Read each ATAC cell's label as text; None without one, for those in ``drop``, and for all if there is no such column."""
    column = pd.Series(np.nan, range(atac_of(data, atac).n_obs), dtype=object)
    if labels is not None:
        with suppress(InputError):
            column = level_text(obs_column(data, atac, labels))
    return column.where(column.notna() & ~column.isin(list(drop)), None).to_numpy(dtype=object)


def shuffled_within(values: np.ndarray, label: np.ndarray, seed: int) -> np.ndarray:
    """Shuffle values among the cells of each label; those of cells without a label among themselves."""
    rng, result = np.random.default_rng(seed), values.copy()
    codes = pd.factorize(label)[0]
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        result[own] = values[rng.permutation(own)]
    return result
