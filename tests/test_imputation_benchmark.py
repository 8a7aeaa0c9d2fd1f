"""Scores of the imputation benchmark against plain loops."""

from __future__ import annotations

from pathlib import Path

import imputation as bench
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from data import paired, write

ROOT = Path(__file__).resolve().parent.parent


def cells(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values with ties, removed ones, ones that were seen; 80 cells × 4 peaks."""
    rng = np.random.default_rng(seed)
    state = rng.choice(3, size=(80, 4), p=[0.6, 0.2, 0.2])
    return rng.integers(0, 6, (80, 4)).astype(np.float32), state == 1, state == 2


def test_auroc_leaves_out_cells_in_which_the_peak_was_seen_open() -> None:
    value, there, seen = cells()
    expected = [roc_auc_score(there[~seen[:, j], j], value[~seen[:, j], j]) for j in range(4)]
    np.testing.assert_allclose(bench.aurocs([value], [there], [seen]), expected)
    constant = np.zeros_like(value)
    np.testing.assert_allclose(bench.aurocs([constant], [there], [seen]), 0.5)


def test_auroc_within_strata_counts_pairs_of_the_same_stratum() -> None:
    value, there, seen = cells()
    stratum = np.arange(80) % 3
    won, pairs = np.zeros(4), np.zeros(4)
    for j in range(4):
        for a in np.flatnonzero(there[:, j]):
            for b in np.flatnonzero(~there[:, j] & ~seen[:, j] & (stratum == stratum[a])):
                won[j] += (value[a, j] > value[b, j]) + 0.5 * (value[a, j] == value[b, j])
                pairs[j] += 1
    parts = [[m[stratum == k] for k in range(3)] for m in (value, there, seen)]
    np.testing.assert_allclose(bench.aurocs(*parts), won / pairs)


def test_a_quarter_of_the_open_peaks_is_removed_and_none_lost(tmp_path: Path) -> None:
    whole, train, removed = bench.prepare(write(paired(), tmp_path / "in.h5mu"), tmp_path, 0)
    opened = sp.csr_matrix(whole["atac"].X) > 0
    left = sp.csr_matrix(train["atac"].X)
    assert ((left + removed).astype(bool) != opened).nnz == 0
    assert removed.multiply(left).nnz == 0
    assert removed.nnz / opened.nnz == pytest.approx(0.25, abs=0.03)
