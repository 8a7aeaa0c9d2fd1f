"""Labels of new cells, from the labelled cells that are most like them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

from sailerx.data.obs_columns import obs_column
from sailerx.errors import InputError
from sailerx.results.comparison import CellSet, Comparison, compare
from sailerx.results.label_caller import LabelCaller
from sailerx.results.selection import labels_of
from sailerx.results.trained import TrainedModel, atac_of

#: label of a cell whose most probable label is not probable enough
UNKNOWN = "unknown"
#: labelled cells that are needed
_FEWEST = 3


def transfer_labels(
    model: TrainedModel,
    data: MuData | AnnData,
    new: MuData | AnnData,
    labels: str,
    *,
    threshold: float = 0.5,
    seed: int = 0,
) -> pd.DataFrame:
    """Label new cells: `sailerx.Model.transfer_labels`, given the data in memory or opened."""
    if not 0 <= threshold <= 1:
        raise InputError(f"`threshold` must be a probability, from 0 to 1, got {threshold!r}.")
    rows, given = _labelled(obs_column(data, model.record["atac"], labels))
    known = CellSet.of(model, data, "known").take(rows)
    cells = CellSet.of(model, new, "new")
    best, confidence = np.zeros(len(cells.g), int), np.zeros(len(cells.g), np.float32)
    for space in compare(model, known, cells, seed):
        best[space.new_cells], confidence[space.new_cells] = _called(space, given.codes, seed)
    names = given.categories.astype(str)
    called = names[best].where(confidence >= threshold, UNKNOWN)
    found = {
        "label": pd.Categorical(called, names.union([UNKNOWN], sort=False)),
        "confidence": confidence,
        "best_label": pd.Categorical.from_codes(best, names),
        "has_rna": cells.has_rna,
    }
    return pd.DataFrame(found, index=atac_of(new, model.record["atac"]).obs_names.astype(str))


def _labelled(column: pd.Series) -> tuple[np.ndarray, pd.Categorical]:
    """Find the cells that have a label, and their labels."""
    rows = np.flatnonzero(column.notna())
    labels = labels_of(column.iloc[rows])
    if len(labels.categories) < 2 or len(rows) < _FEWEST:
        raise InputError(
            f"column {column.name!r} must give two labels or more to at least {_FEWEST} ATAC cells, found "
            f"{len(labels.categories)} in {len(rows)} cells. Name a column of cell types."
        )
    return rows, labels


def _called(space: Comparison, codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the most probable label (as a code) of each new cell, and its probability."""
    present, own = np.unique(codes[space.known_cells], return_inverse=True)
    p = LabelCaller.learn(space.known, own, seed).probabilities(space.new)
    return present[p.argmax(axis=1)], p.max(axis=1)
