"""Choice of the device, and messages when GPU memory is too small; here the CPU stands in for the GPU."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import sailerx
from data import TINY, multiome, paired
from sailerx import InputError, device
from sailerx.kernels.open_peaks import SparseRows
from sailerx.minibatches import loader
from sailerx.minibatches.loader import rows_of
from sailerx.minibatches.streaming import HostRows
from sailerx.training import loop

CPU = torch.device("cpu")


def with_memory(monkeypatch: pytest.MonkeyPatch, free: int, total: int) -> None:
    monkeypatch.setattr(device, "memory", lambda _: (free, total))


def test_missing_or_unknown_devices_are_refused() -> None:
    assert device.pick_device("cpu") == CPU
    with pytest.raises(InputError, match="must be 'auto', 'cpu' or 'cuda', got 'mps'"):
        device.pick_device("mps")
    if not torch.cuda.is_available():
        assert device.pick_device() == CPU
        with pytest.raises(InputError, match="PyTorch finds no CUDA device"):
            device.pick_device("cuda")


def test_a_cpu_holds_any_number_of_open_peaks() -> None:
    assert device.memory(CPU) is None
    assert isinstance(rows_of(multiome().x, CPU), SparseRows)


def test_open_peaks_too_large_for_the_gpu_stay_in_host_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = multiome().x
    there = rows_of(x, CPU)
    with_memory(monkeypatch, 2 * x.n_bytes, 10**9)
    assert isinstance(rows_of(x, CPU), SparseRows)
    with_memory(monkeypatch, 2 * x.n_bytes - 2, 10**9)
    with pytest.warns(UserWarning, match="do not fit into the GPU's memory.*each mini-batch is copied"):
        streamed = rows_of(x, CPU)
    assert isinstance(streamed, HostRows)
    batches = torch.randperm(60, generator=torch.Generator().manual_seed(0)).split(7)
    for ours, theirs in zip(streamed.minibatches(batches), there.minibatches(batches), strict=True):
        assert torch.equal(ours.cell, theirs.cell)
        assert torch.equal(ours.peak, theirs.peak)
        assert (ours.n_cells, ours.n_peaks) == (theirs.n_cells, theirs.n_peaks)


@pytest.mark.filterwarnings("ignore:the open peaks")
def test_training_from_host_memory_gives_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sailerx.fit(paired(), progress="none", **TINY)
    monkeypatch.setattr(loader, "holds", lambda *_: False)
    found = sailerx.fit(paired(), progress="none", **TINY)
    np.testing.assert_array_equal(found.embed(paired()), expected.embed(paired()))


@pytest.mark.parametrize("peak_share", [0.1, 1.0])
def test_out_of_memory_message_names_a_minibatch_size_that_fits(
    monkeypatch: pytest.MonkeyPatch, peak_share: float
) -> None:
    """Checked against the sum of all that a step of that size holds, and of one more cell."""
    total, n_parameters, n_bytes, n_peaks = 4 * 10**9, 10**7, 10**8, 10**5
    with_memory(monkeypatch, 0, total)
    error = device.out_of_memory(CPU, n_parameters, n_bytes, n_peaks, peak_share, 10**5)
    found = re.search(
        r"mini-batch of 100000 cells × 100,000 peaks .* GPU \(4.0 GB.*About (\d+) cells", str(error)
    )
    assert found

    def held(n_cells: int) -> float:
        return 28 * n_parameters + n_bytes + 1.3 * n_cells * n_peaks * (2 + 12 * peak_share)

    assert held(int(found[1])) <= total < held(int(found[1]) + 1)


def test_out_of_memory_message_advises_fewer_peaks_if_no_minibatch_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_memory(monkeypatch, 0, 10**8)
    with pytest.raises(InputError, match="Take fewer peaks"):
        raise device.out_of_memory(CPU, 10**7, 0, 10**5, 1.0, 200)


def test_step_out_of_memory_ends_training_with_that_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "minibatch_loss", too_large)
    with_memory(monkeypatch, 10**9, 10**9)
    size = TINY.get("minibatch_size", 60)
    with pytest.raises(
        InputError, match=f"a mini-batch of {size} cells × 90 peaks does not fit into the memory"
    ):
        sailerx.fit(paired(), progress="none", **TINY)


def test_memory_cached_by_pytorch_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, n_bytes in (("memory_reserved", 30), ("memory_allocated", 20)):
        monkeypatch.setattr(torch.cuda, name, lambda _, n_bytes=n_bytes: n_bytes)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5, 100))
    assert device.memory(torch.device("cuda")) == (15, 100)


def test_loaded_model_computes_on_the_given_device(tmp_path: Path) -> None:
    sailerx.fit(paired(), progress="none", **TINY).save(tmp_path / "run")
    assert next(sailerx.load(tmp_path / "run", device="cpu").vae.parameters()).device == CPU
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="PyTorch finds no CUDA device"):
            sailerx.load(tmp_path / "run", device="cuda")
