"""The kernels for GPUs, on a CPU: which peak lies in which tile, and whole runs against the CPU kernels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data import Silent, multiome, open_peaks, tiny_settings, without_times
from sailerx.kernels import cpu, gpu, peak_layers
from sailerx.kernels.gpu import Tiles
from sailerx.kernels.peak_layers import peaks_nll
from sailerx.training.loop import train


@pytest.mark.parametrize("width", [1, 3, 50])
@pytest.mark.parametrize("sizes", [[5, 1, 0, 7], [0, 0, 3], [6]])
def test_each_peak_has_one_place_in_a_tile_of_its_chromosome(sizes: list[int], width: int) -> None:
    chrom_of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    found = Tiles.of(chrom_of, len(sizes), width)
    flat = found.peak.flatten()
    assert sorted(flat[flat < len(chrom_of)].tolist()) == list(range(len(chrom_of)))
    assert flat[found.place[:-1]].tolist() == list(range(len(chrom_of)))
    assert found.chrom[found.place[:-1] // width].tolist() == chrom_of.tolist()
    assert found.place[-1] == found.peak.numel()


@pytest.mark.parametrize(("n_peaks", "width"), [(10, 64), (300, 64), (24 * 270, 256), (24 * 6000, 1024)])
def test_tiles_are_as_wide_as_chromosomes_are_large(n_peaks: int, width: int) -> None:
    assert Tiles.of(torch.arange(n_peaks) * 24 // n_peaks, 24).peak.shape[1] == width


def test_gather_undoes_spread() -> None:
    found = Tiles.of(torch.tensor([0, 0, 0, 2, 2]), 3, width=2)
    values = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    spread = found.spread(values, empty=7)
    assert spread.shape == (*found.peak.shape, 4)
    assert (spread[found.peak == 5] == 7).all()
    assert torch.equal(found.gather(spread), values)


def test_half_precision_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(0)
    h, weight, bias = (torch.randn(*shape, generator=g) for shape in ((40, 2, 16), (60, 16), (60,)))
    x = open_peaks((torch.rand(40, 60, generator=g) < 0.3).float())
    chrom_of = (torch.arange(60) >= 25).long()

    def found() -> tuple[float, list[torch.Tensor]]:
        inputs = [t.clone().requires_grad_() for t in (h, weight, bias)]
        loss = peaks_nll(*inputs, chrom_of, x)
        loss.backward()
        return loss.item(), [t.grad for t in inputs]

    expected, gradients = found()
    monkeypatch.setattr(peak_layers, "kernels_for", lambda _: gpu)
    monkeypatch.setattr(gpu, "product_dtype", lambda _: torch.bfloat16)
    loss, close = found()
    assert loss == pytest.approx(expected, rel=2e-3)
    for a, b in zip(close, gradients, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.02 * b.norm()


@pytest.mark.parametrize("peak_share", [1.0, 0.5])
def test_run_on_tiles_equals_the_run_on_cpu_kernels(
    monkeypatch: pytest.MonkeyPatch, peak_share: float
) -> None:
    monkeypatch.setattr("sailerx.training.loop.FEWEST_PEAKS", 1)
    settings = tiny_settings(peak_share=peak_share)

    def history() -> np.ndarray:
        _, found = train(multiome(), settings, seed=0, device=torch.device("cpu"), progress=Silent())
        return without_times(found).to_numpy()

    expected = history()
    layers = {"sum_of_open": gpu.sum_of_open, "peaks_nll": gpu.peaks_nll}
    monkeypatch.setattr(peak_layers, "kernels_for", lambda _: SimpleNamespace(**(vars(cpu) | layers)))
    np.testing.assert_allclose(history(), expected, rtol=1e-4)
