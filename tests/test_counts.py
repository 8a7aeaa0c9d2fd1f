"""Which layer of counts is read, how it becomes 0/1, and which values are refused."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from data import dense
from sailerx import InputError
from sailerx.data.counts import binary_accessibility, pick_counts, to_csr, why_not_counts

X = np.array([[0, 2, 1], [1, 0, 0], [0, 0, 3]], dtype=np.float32)


def atac(x: Any = X, **layers: Any) -> ad.AnnData:
    n = x.shape
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n[0])])
    var = pd.DataFrame(index=[f"chr1:{i}-{i + 1}" for i in range(n[1])])
    return ad.AnnData(x, obs, var, layers=layers)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, np.asarray])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, bool])
def test_any_matrix_of_counts_becomes_0_and_1(kind: Any, dtype: Any) -> None:
    x = binary_accessibility(atac(kind(X.astype(dtype))), "atac")
    np.testing.assert_array_equal(dense(x), X > 0)


def test_stored_zeros_are_closed_and_duplicate_entries_are_one_open_peak() -> None:
    x = sp.csr_matrix(
        (np.array([0.0, 1, 1, 2, 5]), np.array([0, 2, 2, 1, 0]), np.array([0, 3, 4, 5])), shape=(3, 3)
    )
    ours = binary_accessibility(atac(x), "atac")
    np.testing.assert_array_equal(dense(ours), [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert len(ours.indices) == 3
    assert x.nnz == 5  # the caller's matrix stays as it was


def test_layer_counts_is_read_before_x_and_a_named_layer_before_both() -> None:
    a = atac(X / 7, counts=X, other=X * 2)
    assert pick_counts(a, "atac", None)[0] == "layer 'counts'"  # type: ignore[index]
    assert pick_counts(a, "atac", "other")[0] == "layer 'other'"  # type: ignore[index]
    assert pick_counts(a, "atac", "X")[0] == "X"  # type: ignore[index]
    np.testing.assert_array_equal(dense(binary_accessibility(a, "atac")), X > 0)


def test_missing_layer_is_refused_listing_the_present_ones() -> None:
    with pytest.raises(InputError, match=r"modality 'atac' has no layer 'raw'. It has: X, counts"):
        pick_counts(atac(counts=X), "atac", "raw")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.5, r"not whole numbers \(for example 0.5\)"),
        (-1.0, r"negative values \(lowest -1\)"),
        (np.nan, "missing or infinite values"),
        (np.inf, "missing or infinite values"),
    ],
)
def test_values_that_are_no_counts_are_refused_with_the_layer_read(value: float, found: str) -> None:
    x = X.copy()
    x[0, 1] = value
    with pytest.raises(
        InputError, match=rf"must be raw counts or 0/1, but X of modality 'atac' holds .*{found}"
    ):
        binary_accessibility(atac(x), "atac")
    with pytest.raises(InputError, match=r"layer 'norm'.*name the layer.*`atac_layer`; there are: X, norm"):
        binary_accessibility(atac(X, norm=x), "atac", "norm")


def test_cells_without_open_peak_are_named_with_how_to_drop_them() -> None:
    x = X.copy()
    x[1] = 0
    with pytest.raises(
        InputError, match=r"1 of 3 have none \(cell1\).*Drop them.*mdata\[keep\].*subset\(object"
    ):
        binary_accessibility(atac(x), "atac")


def test_how_to_drop_empty_cells_works_as_written() -> None:
    x = X.copy()
    x[1] = 0
    a = atac(sp.csr_matrix(x))
    kept = a[a.X.sum(1).A1 > 0]
    assert binary_accessibility(kept, "atac").shape == (2, 3)


def test_many_empty_cells_are_counted_and_a_few_named() -> None:
    x = np.zeros((9, 3))
    x[0] = 1
    with pytest.raises(
        InputError, match=r"8 of 9 have none \(cell1, cell2, cell3, cell4, cell5 and 3 more\)"
    ):
        binary_accessibility(atac(x), "atac")


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
@pytest.mark.parametrize(("axis", "what"), [("obs_names", "barcodes"), ("var_names", "peaks")])
def test_duplicated_names_are_refused_with_the_first(axis: str, what: str) -> None:
    a = atac()
    setattr(a, axis, ["same", "same", "other"])
    with pytest.raises(
        InputError, match=rf"{what} of modality 'atac' must be unique: 1 occur again, first 'same'"
    ):
        binary_accessibility(a, "atac")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_no_cells_or_no_peaks_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(
        InputError, match=rf"must hold counts of cells × peaks, found {shape[0]} × {shape[1]}"
    ):
        binary_accessibility(atac(np.zeros(shape)), "atac")


def test_no_matrix_is_refused() -> None:
    a = ad.AnnData(obs=pd.DataFrame(index=["a"]), var=pd.DataFrame(index=["p"]))
    with pytest.raises(InputError, match="must hold counts"):
        binary_accessibility(a, "atac")


def test_counts_in_any_storage_are_counts() -> None:
    assert why_not_counts(to_csr(X)) is None
    assert why_not_counts(to_csr(np.zeros((2, 2)))) is None
    assert why_not_counts(to_csr(X.astype(bool))) is None
