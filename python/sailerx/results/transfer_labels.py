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
    min_typicality: float = 0.01,
    seed: int = 0,
) -> pd.DataFrame:
    """Label new cells: `sailerx.Model.transfer_labels`, given the data in memory or opened."""
    _refuse_numbers(threshold=threshold, min_typicality=min_typicality)
    rows, given = _labelled(obs_column(data, model.record["atac"], labels))
    known = CellSet.of(model, data, "known").take(rows)
    cells = CellSet.of(model, new, "new")
    best = np.zeros(len(cells.g), int)
    confidence, typical = (np.zeros(len(cells.g), np.float32) for _ in range(2))
    for space in compare(model, known, cells, seed):
        here = space.new_cells
        best[here], confidence[here], typical[here] = _called(space, given.codes, seed)
    names = given.categories.astype(str)
    sure = (confidence >= threshold) & (typical >= min_typicality)
    found = {
        "label": pd.Categorical(names[best].where(sure, UNKNOWN), names.union([UNKNOWN], sort=False)),
        "confidence": confidence,
        "best_label": pd.Categorical.from_codes(best, names),
        "typicality": typical,
        "has_rna": cells.has_rna,
    }
    return pd.DataFrame(found, index=atac_of(new, model.record["atac"]).obs_names.astype(str))


def _refuse_numbers(**given: float) -> None:
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise InputError(f"`{name}` must be a share, from 0 to 1, got {value!r}.")


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


def _called(space: Comparison, codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Call the labels (as codes) of the new cells of a comparison; also confidence and typicality."""
    present, own = np.unique(codes[space.known_cells], return_inverse=True)
    called = LabelCaller.learn(space.known, own, seed).call(space.new)
    return present[called.best], called.confidence, called.typicality
