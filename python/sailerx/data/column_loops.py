"""The Numba loop that renumbers columns."""

from __future__ import annotations

import numpy as np

from sailerx.compiled import compiled


@compiled
def place_by_run(indices, indptr, new_column, starts, order, shift, unequal, new, ends):
    """Place the entries of each row run by run: within a run they ascend as they are.

    Parameters
    ----------
    indices, indptr
        Column indices, sorted within each row, and row pointers.
    new_column, starts, order, shift
        As of `sailerx.data.column_order.ColumnOrder`.
    unequal
        The shift of runs whose columns do not all move equally far.
    new
        Takes the new column indices; at least as long as ``indices``.
    ends
        Takes the new row pointers.
    """
    n_runs, total = len(starts), 0
    first = np.empty(n_runs + 1, np.int64)
    for row in range(len(indptr) - 1):
        begin, end = indptr[row], indptr[row + 1]
        first[:n_runs] = begin + np.searchsorted(indices[begin:end], starts)
        first[n_runs] = end
        for run in order:
            if shift[run] != unequal:
                for k in range(first[run], first[run + 1]):
                    new[total + k - first[run]] = indices[k] + shift[run]
                total += first[run + 1] - first[run]
                continue
            for k in range(first[run], first[run + 1]):
                column = new_column[indices[k]]
                if column >= 0:
                    new[total] = column
                    total += 1
        ends[row + 1] = total
