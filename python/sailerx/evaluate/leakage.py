"""Leakage: how well an embedding predicts sequencing depth and batch within a cell type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from sailerx.evaluate.clustering import N_NEIGHBORS

#: cell types with fewer cells are left out
MIN_CELLS = 30
FOLDS = 5


def depth_leakage(z: np.ndarray, labels: np.ndarray, depth: np.ndarray) -> float:
    """Measure how well a ridge regression on the embedding predicts log depth within a cell type: R².

    Parameters
    ----------
    z
        Cells × dimensions.
    labels
        Cell type of each cell; types with fewer than 30 cells are left out.
    depth
        Depth of each cell, positive.

    Returns
    -------
    Cross-validated R², mean over types weighted by cells: 0 or below is no leakage, 1 is full leakage; NaN without a
    type of 30 cells.
    """

    def r_squared(cells: np.ndarray) -> float:
        y = np.log(depth[cells])
        folds = KFold(FOLDS, shuffle=True, random_state=0)
        predicted = cross_val_predict(RidgeCV(np.logspace(-2, 4, 7)), _standardise(z[cells]), y, cv=folds)
        return 1 - ((y - predicted) ** 2).sum() / max(((y - y.mean()) ** 2).sum(), 1e-12)

    return _mean_over_types(labels, r_squared)


def batch_leakage(
    z: np.ndarray, labels: np.ndarray, batch: np.ndarray, *, metric: str = "euclidean"
) -> float:
    """Measure how far above chance a 15-nearest-neighbour classifier within a cell type predicts the batch.

    Parameters
    ----------
    z
        Cells × dimensions.
    labels
        Cell type of each cell; types with fewer than 30 cells are left out, as are batches with fewer than 5
        cells of a type.
    batch
        Batch of each cell.
    metric
        Distance between neighbours, ``"euclidean"`` or ``"cosine"``.

    Returns
    -------
    (balanced accuracy − 1/B) / (1 − 1/B) with B batches, cross-validated, mean over types weighted by cells:
    0 is no leakage, 1 is full leakage; NaN without a type of 30 cells in two batches.
    """

    def above_chance(cells: np.ndarray) -> float:
        names, counts = np.unique(batch[cells], return_counts=True)
        names = names[counts >= FOLDS]
        cells = cells[np.isin(batch[cells], names)]
        if len(names) < 2:
            return np.nan
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        k = min(N_NEIGHBORS, len(cells) * (FOLDS - 1) // FOLDS)
        predicted = cross_val_predict(
            KNeighborsClassifier(k, metric=metric), z[cells], batch[cells], cv=folds
        )
        chance = 1 / len(names)
        return (balanced_accuracy_score(batch[cells], predicted) - chance) / (1 - chance)

    return _mean_over_types(labels, above_chance)


def _standardise(z: np.ndarray) -> np.ndarray:
    return (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-12)


def _mean_over_types(labels: np.ndarray, measure: Callable[[np.ndarray], float]) -> float:
    """Average a measure over types of at least `MIN_CELLS` cells, weighted by cells; types with NaN are left out."""
    cells = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    cells = [of for of in cells if len(of) >= MIN_CELLS]
    value, weight = np.array([measure(of) for of in cells]), np.array([len(of) for of in cells])
    known = ~np.isnan(value)
    return float(np.average(value[known], weights=weight[known])) if known.any() else float("nan")
