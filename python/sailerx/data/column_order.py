"""Renumber the columns of a CSR matrix: from the order of a file to that of x, where peaks are sorted by chromosome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: most runs of ascending columns for which entries are placed run by run
_MOST_RUNS = 1000
_UNEQUAL = np.int32(-(2**31))


@dataclass(frozen=True)
class ColumnOrder:
    """The new column of each old one, and the runs of old columns whose new ones ascend, as those of a chromosome do."""

    #: new column of each old one, int32; -1 = dropped
    new_column: np.ndarray
    #: first old column of each run; None if runs alternate, or are more than `_MOST_RUNS`
    starts: np.ndarray | None
    #: runs by their new columns
    order: np.ndarray | None
    #: how far every column of a run moves, int32; `_UNEQUAL` if some move otherwise or are dropped
    shift: np.ndarray | None

    @classmethod
    def of(cls, new_column: np.ndarray) -> ColumnOrder:
        """Find the runs. A run ends where new columns descend, and where columns of another run lie in between."""
        old = np.flatnonzero(new_column >= 0)
        new = new_column[old]
        ends = np.flatnonzero(np.diff(new) < 0) + 1
        bounds = np.unique(np.concatenate([new[ends], new[ends - 1] + 1]))
        between = np.searchsorted(bounds, new, side="right")
        is_end = (np.diff(new) < 0) | (np.diff(between) > 0)
        firsts = np.concatenate([np.zeros(len(new[:1]), int), np.flatnonzero(is_end) + 1])
        lasts = np.append(firsts[1:], len(new))[: len(firsts)] - 1
        order = np.argsort(new[firsts])
        alternate = (new[lasts][order][:-1] > new[firsts][order][1:]).any()
        if alternate or len(firsts) > _MOST_RUNS:
            return cls(new_column, None, None, None)
        return cls(new_column, old[firsts], order, _shift(new_column, old[firsts]))

    def renumber(self, indices: np.ndarray, indptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Renumber the columns of a CSR matrix without values; they are sorted within each row, before and after.

        Parameters
        ----------
        indices, indptr
            Column indices, sorted within each row, and row pointers.

        Returns
        -------
        New column indices, int32, and row pointers, int64.
        """
        if self.starts is not None and len(self.starts) > 1:
            from sailerx.data.column_loops import place_by_run  # Numba is imported where it is needed

            new, ends = np.empty(len(indices), np.int32), np.zeros(len(indptr), np.int64)
            place_by_run(
                indices, indptr, self.new_column, self.starts, self.order, self.shift, _UNEQUAL, new, ends
            )
            return new[: ends[-1]], ends
        new = self.new_column.take(indices)
        kept = new >= 0
        if not kept.all():
            indptr = np.concatenate([[0], kept.cumsum()])[indptr]
            new = new[kept]
        if self.starts is None:
            for start, end in zip(indptr[:-1].tolist(), indptr[1:].tolist(), strict=True):
                new[start:end].sort()
        return new, indptr


def _shift(new_column: np.ndarray, starts: np.ndarray) -> np.ndarray:
    moved = np.where(new_column >= 0, new_column - np.arange(len(new_column)), _UNEQUAL)
    least, most = (
        extreme.reduceat(moved, starts) if len(starts) else starts for extreme in (np.minimum, np.maximum)
    )
    return np.where(least == most, least, _UNEQUAL).astype(np.int32)
