"""Known and new cells in one space, where those that are alike are near: by RNA and ATAC, or by ATAC alone.

The ATAC scores are learned anew from both sets together. A cell's own noise shapes scores that are learned from it, so that known
cells, in scores learned from them alone, lie farther out than new ones: neighbours are worse, and what known cells say about each
other does not hold for new ones. In common scores it holds. Scores are blind to depth and set, and to the model's batches.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

from sailerx.data.accessibility import Accessibility, PeaksInMemory, StackedCells
from sailerx.data.atac_scores import AtacScores
from sailerx.data.confounders import Confounders
from sailerx.data.multiome import MEMBERSHIP
from sailerx.data.obs_columns import obs_columns
from sailerx.data.rows import joined, unit_rows
from sailerx.errors import InputError
from sailerx.joint.coordinates import Coordinates, Sample
from sailerx.joint.embedding import blind_scores
from sailerx.results.embed import rna_of
from sailerx.results.trained import TrainedModel, atac_of

#: known cells with RNA that are needed to compare new cells to them by RNA
_FEWEST = 3
#: cells that the coordinates of ATAC beside RNA are learned from, at most
_MAX_CELLS = 20_000


@dataclass(frozen=True)
class CellSet:
    """A set of cells, one row each."""

    x: Accessibility
    #: RNA reference, rows of unit length; zeros for cells without RNA
    g: np.ndarray
    has_rna: np.ndarray
    #: set and batches as text, for cells of either set to be told apart
    batches: pd.DataFrame

    @classmethod
    def of(cls, model: TrainedModel, data: MuData | AnnData, name: str) -> CellSet:
        """Read all ATAC cells of the data; ``name`` is the set's, "known" or "new"."""
        x = model.accessibility(data)
        found, has_rna = rna_of(model, data) if _uses_rna(model) else (None, np.zeros(x.shape[0], bool))
        g = np.zeros((x.shape[0], 1 if found is None else found.shape[1]), np.float32)
        if found is not None:
            g[has_rna] = unit_rows(found)
        return cls(x, g, has_rna, _batches(model, data, name, has_rna))

    def take(self, rows: np.ndarray) -> CellSet:
        """Take the cells at these positions, ascending."""
        if len(rows) == len(self.g):
            return self
        x = PeaksInMemory.of(self.x[rows])
        return CellSet(x, self.g[rows], self.has_rna[rows], self.batches.iloc[rows])


@dataclass(frozen=True)
class Comparison:
    """Known and new cells in one space, for Euclidean neighbours."""

    #: whether the space is of RNA and ATAC; else of ATAC alone
    by_rna: bool
    #: rows of known cells, and the positions of these cells
    known: np.ndarray
    known_cells: np.ndarray
    #: rows of new cells, and the positions of these cells
    new: np.ndarray
    new_cells: np.ndarray


def compare(model: TrainedModel, known: CellSet, new: CellSet, seed: int) -> list[Comparison]:
    """Place known and new cells; each new cell is in one of the comparisons.

    New cells with RNA are compared to known cells with RNA by rows as those of the embedding; other new cells to all known cells,
    by all ATAC scores, weighted by the square root of their reliability.

    Parameters
    ----------
    model
        Gives the weight of ATAC beside RNA.
    known, new
        The cells.
    seed
        Draws a sample of the cells if there are many.
    """
    has_rna = np.concatenate([known.has_rna, new.has_rna])
    both, g = StackedCells((known.x, new.x)), _stacked(known.g, new.g)
    c = _confounders(both, known, new)
    scores, z = blind_scores(both, c, g, has_rna, seed)
    n = len(known.has_rna)
    by_rna = new.has_rna & (known.has_rna.sum() >= _FEWEST)
    rows = {False: scores.for_neighbors(z)}
    if by_rna.any():
        rows[True] = _by_rna(model, both, g, c, has_rna, scores, seed)
    cells = {True: (known.has_rna, by_rna), False: (np.ones(n, bool), ~by_rna)}
    return [
        Comparison(
            kind, rows[kind][:n][here], np.flatnonzero(here), rows[kind][n:][there], np.flatnonzero(there)
        )
        for kind, (here, there) in cells.items()
        if there.any()
    ]


def _by_rna(
    model: TrainedModel,
    both: StackedCells,
    g: np.ndarray,
    c: np.ndarray,
    has_rna: np.ndarray,
    scores: AtacScores,
    seed: int,
) -> np.ndarray:
    """Make rows as those of the embedding, with coordinates of ATAC learned from the cells of both sets that have RNA."""
    if model.joint is None or not model.joint.choice.alpha:
        return g
    cells = np.flatnonzero(has_rna)
    if len(cells) > _MAX_CELLS:
        cells = np.sort(np.random.default_rng([seed, 7]).choice(cells, _MAX_CELLS, replace=False))
    sample = Sample(both[cells], g[cells], c[cells])
    local = model.joint.choice.local
    coordinates = Coordinates.learn(sample, scores, seed) if local else Coordinates(scores).scaled(sample)
    return joined(g, model.joint.choice.alpha * coordinates.of(coordinates.scores_of(both), g))


def _uses_rna(model: TrainedModel) -> bool:
    return model.joint is None or len(model.joint.anchors) > 0


def _stacked(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Stack g of both sets; a set without RNA has one column of zeros."""
    width = max(known.shape[1], new.shape[1])
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in (known, new)])


def _confounders(both: StackedCells, known: CellSet, new: CellSet) -> np.ndarray:
    """Encode depth, set and batches of both sets, cells × confounders."""
    obs, depth = pd.concat([known.batches, new.batches]), both.depth.astype(float)
    keys = [str(key) for key in obs if obs[key].nunique() > 1]
    return Confounders.learn(depth, obs, keys, []).apply(depth, obs)


def _batches(model: TrainedModel, data: MuData | AnnData, name: str, has_rna: np.ndarray) -> pd.DataFrame:
    """Name each cell's set, and its levels of the model's batch columns where the data have them."""
    atac, keys = model.record["atac"], model.record["batch_key"]
    columns = pd.DataFrame(index=atac_of(data, atac).obs_names)
    columns[MEMBERSHIP] = np.where(has_rna, f"{name} with RNA", name)
    for key in keys:
        columns[key] = name
        with suppress(InputError):  # new cells need no such column
            columns[key] = name + " " + obs_columns(data, atac, [key])[key].astype(str)
    return columns
