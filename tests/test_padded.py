"""Padded lists of open peaks, as the GPU kernels take them, against lists without padding."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from data import multiome
from sailerx.data.accessibility import PeaksInMemory
from sailerx.kernels import gpu, peak_layers
from sailerx.kernels.gpu import Tiles, permutation
from sailerx.kernels.open_peaks import OpenPeaks, PaddedPeaks, PaddedRows, SparseRows
from sailerx.minibatches.loader import rows_of
from sailerx.minibatches.sampler import thinned
from sailerx.minibatches.streaming import HostRows

CPU = torch.device("cpu")


def both(density: float = 0.2, n_cells: int = 30, n_peaks: int = 17) -> tuple[SparseRows, PaddedRows]:
    x = sp.random(n_cells, n_peaks, density, format="csr", rng=np.random.default_rng(0))
    rows = SparseRows.of(PeaksInMemory.of(sp.csr_matrix((x > 0).astype(np.uint8))))
    return rows, PaddedRows.of(rows, CPU)


def same(found: OpenPeaks, expected: OpenPeaks) -> bool:
    there = found.peak < found.n_peaks
    return (
        torch.equal(found.cell[there], expected.cell)
        and torch.equal(found.peak[there], expected.peak)
        and (found.n_cells, found.n_peaks) == (expected.n_cells, expected.n_peaks)
        and torch.equal(found.depth, expected.depth)
        and torch.equal(found.dense(), expected.dense())
    )


@pytest.mark.parametrize("density", [0.0, 0.05, 0.2, 1.0])
@pytest.mark.parametrize("chosen", [range(30), [3], [29, 0, 7, 7], []])
@pytest.mark.parametrize("room", [0, 1, 50])
def test_lists_hold_the_same_open_peaks_and_padding(density: float, chosen: list[int], room: int) -> None:
    plain, pad = both(density)
    rows = torch.tensor(list(chosen), dtype=torch.int64)
    n_ones = pad.n_ones(rows)
    if n_ones > 0:  # where nothing is open, no list with room is asked for
        found = pad.take(rows, n_ones + room)
        assert len(found.peak) == n_ones + room
        assert same(found, plain.take(rows))
    assert same(next(pad.minibatches([rows])), plain.take(rows))
    assert same(pad.whole(), plain.take(torch.arange(30)))
    assert same(plain.whole(), plain.take(torch.arange(30)))


@given(st.sets(st.integers(0, 16), min_size=1))
def test_chosen_peaks_equal_those_of_the_list_without_padding(some: set[int]) -> None:
    plain, pad = both()
    rows, peaks = torch.tensor([4, 9, 21, 0]), torch.tensor(sorted(some))
    found = pad.take(rows, pad.n_ones(rows) + 3).only(peaks)
    assert len(found.peak) == pad.n_ones(rows) + 3
    assert same(found, plain.take(rows).only(peaks))
    assert same(found.only(torch.arange(len(some))), plain.take(rows).only(peaks))


def test_thinned_cells_equal_those_of_the_list_without_padding() -> None:
    plain, pad = both(n_cells=400, n_peaks=300)
    rows = torch.arange(400)
    expected, found = (
        thinned(x, 0.4, 0.3, torch.Generator().manual_seed(0))[0]
        for x in (plain.take(rows), pad.take(rows, pad.n_ones(rows)))
    )
    assert isinstance(found, PaddedPeaks)
    assert same(found, expected)


def test_padding_lies_behind_the_tiles() -> None:
    plain, pad = both()
    rows = torch.tensor([4, 9, 21])
    tiles = Tiles.of((torch.arange(17) >= 5).long(), 2, width=4)
    found = tiles.open_at(pad.take(rows, pad.n_ones(rows) + 2))
    values, flat = tiles.places(3, torch.float32)
    assert ((found[-2:] >= values.numel()) & (found[-2:] < len(flat))).all()
    assert (found[:-2] < values.numel()).all()
    assert torch.equal(found[:-2], tiles.open_at(plain.take(rows)))


def test_rows_are_padded_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    x = multiome().x
    batches = torch.randperm(60, generator=torch.Generator().manual_seed(0)).split(7)
    expected = list(rows_of(x, CPU).minibatches(batches))
    monkeypatch.setattr(peak_layers, "kernels_for", lambda _: gpu)
    assert isinstance(rows_of(x, CPU), PaddedRows)
    for rows in (rows_of(x, CPU), HostRows(x, CPU)):
        for ours, theirs in zip(rows.minibatches(batches), expected, strict=True):
            assert isinstance(ours, PaddedPeaks)
            assert same(ours, theirs)


def test_gpu_permutation_is_uniform() -> None:
    g = torch.Generator().manual_seed(0)
    orders = [permutation(4, g).tolist() for _ in range(4800)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    times = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(times) == 24
    assert times.min() > 140
    assert times.max() < 260
