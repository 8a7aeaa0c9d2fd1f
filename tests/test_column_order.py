"""Columns of a CSR matrix in another order, against scipy's."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp

from sailerx.data import column_order
from sailerx.data.column_order import ColumnOrder

N_OLD = 60
RNG = np.random.default_rng(0)
#: new column of each old one
ORDERS = {
    "as it is": np.arange(N_OLD),
    "chromosomes in another order": np.concatenate([np.arange(40, 60), np.arange(10), np.arange(10, 40)]),
    "runs that overlap": np.concatenate([np.arange(0, N_OLD, 2), np.arange(1, N_OLD, 2)]),
    "random": RNG.permutation(N_OLD),
    "reversed": np.arange(N_OLD)[::-1],
    "one column": np.where(np.arange(N_OLD) == 7, 0, -1),
    "none": np.full(N_OLD, -1),
}


def dropped(order: np.ndarray) -> np.ndarray:
    """The same order without a third of the columns."""
    kept = (order >= 0) & (RNG.random(N_OLD) < 0.67)
    found = np.full(N_OLD, -1)
    found[kept] = np.argsort(np.argsort(order[kept]))
    return found


@pytest.mark.parametrize(("name", "drop", "most_runs"), list(product(ORDERS, [False, True], [1, 1000])))
def test_columns_are_those_of_scipy(
    monkeypatch: pytest.MonkeyPatch, name: str, drop: bool, most_runs: int
) -> None:
    monkeypatch.setattr(column_order, "_MOST_RUNS", most_runs)
    order = dropped(ORDERS[name]) if drop else ORDERS[name]
    dense = np.random.default_rng(1).random((25, N_OLD)) < 0.3
    dense[3] = False  # a cell without open peaks
    x = sp.csr_matrix(dense)
    indices, indptr = ColumnOrder.of(order.astype(np.int32)).renumber(x.indices, x.indptr.astype(np.int64))
    n_new = int((order >= 0).sum())
    expected = np.zeros((25, n_new), bool)
    expected[:, order[order >= 0]] = x.toarray()[:, order >= 0] > 0
    found = sp.csr_matrix((np.ones(len(indices)), indices, indptr), shape=(25, n_new))
    assert found.has_sorted_indices
    np.testing.assert_array_equal(found.toarray() > 0, expected)
    assert found.nnz == expected.sum()
