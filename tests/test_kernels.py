"""Each operation and its gradient against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data import open_peaks
from sailerx.kernels import cpu
from sailerx.kernels.peak_layers import prelu, sum_of_open
from sailerx.network.layers import distinct_rows


def random(*shape: int, seed: int = 0) -> Tensor:
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return numbers.requires_grad_()


def assert_same(ours: Tensor, theirs: Tensor, *inputs: Tensor) -> None:
    """Values and, for a gradient that differs from entry to entry, the gradients of the inputs."""
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    upstream = random(*theirs.shape, seed=9).detach()
    for a, b in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(theirs, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, 2, 1000])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sizes", [[11], [4, 7], [0, 5, 0, 6, 0]])
def test_sum_of_open_is_a_dense_product_per_chromosome(
    density: float, sizes: list[int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "_ROWS_PER_PIECE", at_once)
    x = (torch.rand(6, 11, generator=torch.Generator().manual_seed(1)) < density).double()
    x[2] = 0
    weight = random(11, 4)
    chrom_of = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    parts = zip(x.split(sizes, dim=1), weight.split(sizes), strict=True)
    expected = torch.stack([x_k @ weight_k for x_k, weight_k in parts], dim=1)
    assert_same(sum_of_open(weight, open_peaks(x), chrom_of, len(sizes)), expected, weight)


def test_sum_of_open_of_no_cells_is_empty() -> None:
    weight, chrom_of = random(11, 4), torch.arange(11) // 6
    summed = sum_of_open(weight, open_peaks(torch.zeros(0, 11)), chrom_of, 2)
    assert summed.shape == (0, 2, 4)
    (grad,) = torch.autograd.grad(summed.sum(), weight)
    assert not grad.any()


@pytest.mark.parametrize("shape", [(7,), (7, 3)])
@pytest.mark.parametrize("rows", [[0, 3, 6], [5], [], list(range(7))])
def test_distinct_rows_equal_indexing(shape: tuple[int, ...], rows: list[int]) -> None:
    weight, row = random(*shape), torch.tensor(rows, dtype=torch.int64)
    assert_same(distinct_rows(weight, row), weight[row], weight)


@pytest.mark.parametrize("n_slopes", [1, 3])
def test_prelu_is_pytorchs(n_slopes: int) -> None:
    h, slope = random(8, 3, 5), random(n_slopes, seed=1)
    with torch.no_grad():
        h[0, 0] = 0
    assert_same(prelu(h, slope), F.prelu(h, slope), h, slope)
