"""Match features of two data sets by name, whichever language has written the names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd


def positions_by_name(here: pd.Index, known: pd.Index) -> np.ndarray:
    """Find each known name among the names here: an equal one, else the one that Seurat would write alike.

    Parameters
    ----------
    here
        Names of the data's features.
    known
        Names to find. Where a name occurs more than once, the first is the first on the other side, the second the second.

    Returns
    -------
    One position in ``here`` per name of ``known``; -1 if it is not there.
    """
    here, known = _numbered(here.astype(str)), _numbered(known.astype(str))
    exact = unique_positions(here, known)
    return completed(exact, unique_positions(as_seurat_writes(here), as_seurat_writes(known)))


def _numbered(names: pd.Index) -> pd.Index:
    """Tell names that occur more than once apart, by a number behind all but the first."""
    if names.is_unique:
        return names
    number = pd.Series(names).groupby(names, sort=False).cumcount().to_numpy()
    return names.where(number == 0, names + "\0" + number.astype(str).astype(object))


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


def listed(names: Iterable[object], most: int = 5) -> str:
    """Write the first names, and how many more there are, for a message."""
    words = [str(name) for name in names]
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
