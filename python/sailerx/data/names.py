"""Match features of two data sets by name, whichever language has written the names."""

from __future__ import annotations

import numpy as np
import pandas as pd


def positions_by_name(here: pd.Index, known: pd.Index) -> np.ndarray:
    """Find each known name among the names here: an equal one, else the one that Seurat would write alike.

    Parameters
    ----------
    here
        Names of the data's features; of names that occur twice the first counts.
    known
        Names to find.

    Returns
    -------
    One position in ``here`` per name of ``known``; -1 if it is not there.
    """
    here, known = here.astype(str), known.astype(str)
    exact = unique_positions(here[~here.duplicated()], known)
    exact = np.where(exact >= 0, np.flatnonzero(~here.duplicated())[exact], -1)
    return completed(exact, unique_positions(as_seurat_writes(here), as_seurat_writes(known)))


def as_seurat_writes(names: pd.Index) -> pd.Index:
    """Rewrite names as Seurat does, which allows no ``_`` and no ``|``."""
    return names.str.replace(r"[_|]", "-", regex=True)


def unique_positions(here: pd.Index, known: pd.Index) -> np.ndarray:
    """Find each known key among the keys here; -1 if it is missing, or if either side has it twice."""
    place = pd.Series(np.arange(len(here)), index=here)[~here.duplicated(keep=False)]
    found = place.index.get_indexer(known)
    found[known.duplicated(keep=False)] = -1
    return np.where(found >= 0, place.to_numpy()[found], -1) if len(place) else found


def completed(positions: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Fill in what is missing (-1) by other positions, but use no position twice."""
    free = (positions < 0) & (others >= 0) & ~np.isin(others, positions)
    return np.where(free, others, positions)
