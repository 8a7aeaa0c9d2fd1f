"""Draws of cells and peaks for mini-batches, and the dense x of their cells."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.counts import to_csr
from sailerx.kernels.open_peaks import SparseRows
from sailerx.minibatches.sampler import Sampler, random_peaks, thinned


def matrix(n_cells: int = 30, n_peaks: int = 17, density: float = 0.2, seed: int = 0) -> sp.csr_matrix:
    x = sp.random(n_cells, n_peaks, density, format="csr", rng=np.random.default_rng(seed), dtype=np.float64)
    x.data[:] = 1
    return sp.csr_matrix(x.astype(np.uint8))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sampler(n_cells: int, size: int) -> Sampler:
    return Sampler.of(torch.ones(n_cells, dtype=torch.bool), size, 0.5)


def rows_of(x: sp.csr_matrix) -> SparseRows:
    return SparseRows.of(PeaksInMemory.of(x))


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_dense_rows_equal_those_of_scipy(density: float) -> None:
    x = matrix(density=density)
    for rows in (range(30), [3], [29, 0, 7, 7], []):
        chosen = torch.tensor(list(rows), dtype=torch.int64)
        ours = rows_of(x).take(chosen).dense()
        np.testing.assert_array_equal(ours.numpy(), x[list(rows)].toarray())


def test_open_peaks_are_sorted_by_cell_and_peak_even_if_the_matrix_is_not() -> None:
    x = matrix()
    shuffled = sp.csr_matrix((x.data, x.indices.copy(), x.indptr), shape=x.shape)
    for a, b in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        shuffled.indices[a:b] = shuffled.indices[a:b][::-1]
    shuffled.has_sorted_indices = False
    taken = rows_of(to_csr(shuffled)).take(torch.tensor([5, 2, 11]))
    position = taken.cell * 17 + taken.peak
    assert (position.diff() > 0).all()
    np.testing.assert_array_equal(taken.dense().numpy(), x[[5, 2, 11]].toarray())


@pytest.mark.parametrize(
    ("cell_share", "peak_share"), [(0.0, 0.5), (1.0, 0.5), (0.3, 0.0), (0.3, 1.0), (0.5, 0.8)]
)
def test_thinning_drops_a_share_of_the_open_peaks_in_a_share_of_the_cells(
    cell_share: float, peak_share: float
) -> None:
    x = matrix(400, 300)
    whole = rows_of(x).take(torch.arange(400))
    thin, is_thinned = thinned(whole, cell_share, peak_share, generator())
    thin = thin.dense().numpy()
    assert not (thin > x.toarray()).any()
    kept = thin.sum(axis=1) / np.diff(x.indptr)
    touched = kept < 1
    assert not (touched & ~is_thinned.numpy()).any()
    assert touched.mean() == pytest.approx(cell_share if peak_share < 1 else 0, abs=0.08)
    if touched.any():
        assert kept[touched].mean() == pytest.approx(peak_share, abs=0.02)


def test_64_bit_row_pointers_are_accepted() -> None:
    x = matrix()
    wide = sp.csr_matrix(x.shape, dtype=np.uint8)
    wide.data, wide.indices, wide.indptr = x.data, x.indices.astype(np.int64), x.indptr.astype(np.int64)
    np.testing.assert_array_equal(rows_of(wide).take(torch.arange(30)).dense().numpy(), x.toarray())


@given(st.integers(1, 60), st.integers(2, 25))
def test_an_epoch_holds_full_minibatches_of_different_cells(n_cells: int, size: int) -> None:
    batches = list(sampler(n_cells, size).epoch(generator()))
    assert {len(batch) for batch in batches} == {min(size, n_cells)}
    seen = torch.cat(batches).tolist()
    assert len(set(seen)) == len(seen)
    assert len(batches) == sampler(n_cells, size).n_steps
    assert n_cells - len(seen) < size


def test_no_cell_is_left_out_of_several_epochs() -> None:
    g = generator()
    seen = [set(torch.cat(list(sampler(29, 10).epoch(g))).tolist()) for _ in range(10)]
    assert all(len(epoch) == 20 for epoch in seen)
    assert set().union(*seen) == set(range(29))


def test_every_cell_is_seen_about_equally_often() -> None:
    g, times = generator(), np.zeros(29)
    for _ in range(400):
        times += np.bincount(torch.cat(list(sampler(29, 10).epoch(g))), minlength=29)
    assert times.min() > 0.85 * times.mean()
    assert times.max() < 1.15 * times.mean()


def test_order_depends_on_the_seed_and_the_epoch() -> None:
    def epochs(seed: int) -> list[list[int]]:
        g = generator(seed)
        return [torch.cat(list(sampler(40, 10).epoch(g))).tolist() for _ in range(2)]

    assert epochs(0) == epochs(0)
    assert epochs(0) != epochs(1)
    assert epochs(0)[0] != epochs(0)[1]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 30), st.sampled_from([0.01, 0.3, 0.5, 0.99]))
def test_hybrid_epoch_shows_every_cell_and_keeps_the_share_with_rna(
    n_paired: int, n_unpaired: int, size: int, share: float
) -> None:
    n_cells = n_paired + n_unpaired
    has_rna = torch.randperm(n_cells, generator=generator(3)) < n_paired
    hybrid = Sampler.of(has_rna, size, share)
    batches = list(hybrid.epoch(generator()))
    assert len(batches) == hybrid.n_steps
    assert set(torch.cat(batches).tolist()) == set(range(n_cells))
    for batch in batches:
        assert len(batch) == min(size, n_cells)
        paired = int(has_rna[batch].sum())
        assert 0 < paired < len(batch)
        most = min(n_paired, len(batch) - 1)
        assert paired >= min(most, round(max(share, n_paired / n_cells) * len(batch)))


@pytest.mark.usefixtures("two_threads")
def test_two_threads_take_the_same_cells_and_peaks() -> None:
    x = matrix(n_cells=50)
    chosen = torch.arange(40).flip(0)
    taken = rows_of(x).take(chosen)
    np.testing.assert_array_equal(taken.dense().numpy(), x[chosen.numpy()].toarray())
    some = torch.tensor([0, 3, 16])
    np.testing.assert_array_equal(
        taken.only(some).dense().numpy(), x[chosen.numpy()][:, some.numpy()].toarray()
    )


def test_x_of_drawn_peaks_is_columns_of_x() -> None:
    x = matrix()
    taken = rows_of(x).take(torch.tensor([4, 9, 21]))
    for some in ([0, 3, 16], [5], list(range(17))):
        np.testing.assert_array_equal(
            taken.only(torch.tensor(some)).dense().numpy(), x[[4, 9, 21]][:, some].toarray()
        )


def test_random_peaks_are_a_share_ascending_and_different_each_time() -> None:
    g = generator()
    first, second = (random_peaks(100, 0.3, g) for _ in range(2))
    assert first is not None
    assert second is not None
    assert len(first) == len(second) == 30
    assert (first.diff() > 0).all()
    assert not torch.equal(first, second)


def test_every_peak_is_drawn_in_the_end() -> None:
    g, seen = generator(), set()
    for _ in range(30):
        seen |= set(random_peaks(20, 0.25, g).tolist())  # type: ignore[union-attr]
    assert seen == set(range(20))
    assert random_peaks(20, 1.0, g) is None
    assert len(random_peaks(20, 1e-6, g)) == 1  # type: ignore[arg-type]
