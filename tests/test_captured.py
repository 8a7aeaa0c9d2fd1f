"""CUDA-graph training without a GPU: the CPU stands in for it and calls the step wherever a graph would be replayed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import sailerx
from data import TINY, Silent, multiome, paired, tiny_settings, with_part, without_times
from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.multiome import Multiome
from sailerx.kernels import cpu, gpu, peak_layers
from sailerx.kernels.open_peaks import PaddedRows, SparseRows
from sailerx.minibatches.loader import OnDevice
from sailerx.minibatches.sampler import Sampler
from sailerx.network.schedules import LossWeights
from sailerx.training import cuda_graph
from sailerx.training.cuda_graph import CapturedEpochs, GraphStream, captured_epochs
from sailerx.training.distributed.ranks import ALONE
from sailerx.training.loop import sampler_of, train
from sailerx.training.progress import Progress
from sailerx.training.state import TrainingState

CPU = torch.device("cpu")


@pytest.fixture
def as_on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that from its call on lets the CPU use the kernels of a GPU."""

    def switch() -> None:
        monkeypatch.setattr(peak_layers, "kernels_for", lambda _: gpu)
        monkeypatch.setattr(gpu, "permutation", cpu.permutation)  # so that the same peaks are drawn

    return switch


def history(data: Multiome, preset: str = "default", **options: object) -> np.ndarray:
    settings = tiny_settings(preset, **options)
    _, found = train(data, settings, seed=0, device=CPU, progress=Silent())
    return without_times(found).drop(columns="held_out", errors="ignore").to_numpy()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"peak_share": 0.5},
        {"preset": "paper", "warmup_epochs": 2, "max_epochs": 3, "thinned_cells": 0.0},
        {"minibatch_size": 7, "weight_decay": 0.1, "lr_schedule": "exponential", "lr_decay": 0.5},
        {"held_out_share": 0.2},
    ],
)
def test_captured_run_equals_the_run_without_capture(
    as_on_gpu: Callable[[], None], monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    monkeypatch.setattr("sailerx.training.loop.FEWEST_PEAKS", 1)
    options = {"thinned_cells": 0.0, "max_epochs": 4} | options
    expected = history(multiome(), **options)
    as_on_gpu()
    np.testing.assert_allclose(history(multiome(), **options), expected, rtol=2e-4)


@pytest.mark.filterwarnings("ignore:.*trained without alignment:UserWarning")
def test_captured_hybrid_run_equals_the_run_without_capture(as_on_gpu: Callable[[], None]) -> None:
    mdata = paired()
    data = multiome(with_part(mdata, rna=mdata["rna"][:40].copy()))
    expected = history(data, thinned_cells=0.0)
    as_on_gpu()
    np.testing.assert_allclose(history(data, thinned_cells=0.0), expected, rtol=2e-4)


def test_steps_are_captured_where_data_are_on_a_gpu(as_on_gpu: Callable[[], None]) -> None:
    data, settings = multiome(), tiny_settings()

    def epochs() -> CapturedEpochs | None:
        state, sampler = TrainingState(data, settings, 0, CPU), sampler_of(data, settings, 0)
        return captured_epochs(
            state, OnDevice.from_multiome(data, CPU), sampler, lambda *_: torch.zeros(4), ALONE, settings
        )

    assert epochs() is None
    as_on_gpu()
    assert isinstance(epochs(), CapturedEpochs)


def test_steps_are_captured_once_per_phase_and_anew_for_longer_lists(
    as_on_gpu: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph is replayed with the shapes and constants of its capture, so these must not change."""
    made: list[tuple[LossWeights, int]] = []

    def capture(_: GraphStream, body: Callable[[], None], __: torch.Generator) -> Callable[[], None]:
        steps = body.__self__  # type: ignore[attr-defined]
        found = steps.constants, steps.length
        made.append(found)

        def repeat() -> None:
            assert (steps.constants, steps.length) == found
            body()

        return repeat

    monkeypatch.setattr(GraphStream, "capture", capture)
    as_on_gpu()
    history(multiome(), preset="paper", warmup_epochs=2, max_epochs=2, minibatch_size=6)
    assert [(c.positive_weight, c.weighted_cells) for c, _ in made] == [(20.0, False), (1.0, True)]
    made.clear()
    monkeypatch.setattr(cuda_graph, "_ROOM", -3)  # lists grow as mini-batches with more open peaks come
    history(multiome(), minibatch_size=6, max_epochs=12)
    lengths = [length for _, length in made]
    assert len(lengths) > 1
    assert lengths == sorted(set(lengths))


def test_captured_run_is_resumed_from_its_checkpoint(
    as_on_gpu: Callable[[], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    as_on_gpu()
    file = tmp_path_factory.mktemp("run") / "state.safetensors"
    whole = sailerx.fit(paired(), progress="none", **TINY | {"max_epochs": 4})

    class StoppedError(Exception):
        pass

    def stop(epoch: int, _: object) -> None:
        if epoch == 2:
            raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "update", lambda _, epoch, record: stop(epoch, record))
        with pytest.raises(StoppedError):
            sailerx.fit(
                paired(),
                progress="none",
                checkpoint=file,
                checkpoint_epochs=1,
                **TINY | {"max_epochs": 4},
            )
    again = sailerx.fit(paired(), progress="none", checkpoint=file, **TINY | {"max_epochs": 4})
    np.testing.assert_array_equal(again.embed(paired()), whole.embed(paired()))


def test_padded_lists_have_room_for_minibatches_of_hybrid_runs() -> None:
    """Cells with RNA are drawn more often than their share of all cells."""
    rng = np.random.default_rng(0)
    depth = np.where(np.arange(2000) < 200, 400, 100) + rng.integers(0, 50, 2000)
    indptr = np.concatenate([[0], depth.cumsum()])
    indices = np.concatenate([np.arange(n, dtype=np.int32) for n in depth])
    rows = PaddedRows.of(SparseRows.of(PeaksInMemory(indptr, indices, 450)), CPU)
    sampler = Sampler.of(torch.arange(2000) < 200, 100, 0.5)
    longest = max(rows.n_ones(batch) for batch in sampler.epoch(torch.Generator().manual_seed(0)))
    assert longest < cuda_graph._usual_length(rows, sampler) < 1.2 * longest


def test_nothing_is_captured_without_a_gpu() -> None:
    times: list[int] = []
    stream = GraphStream(CPU)
    assert stream.capture(lambda: times.append(1), torch.Generator()) is None
    assert not times
    stream.run(lambda: times.append(1))
    assert times == [1]


class FakeStream:
    """Stands for `torch.cuda.Stream`."""

    def __init__(self, device: object = None) -> None:
        self.device, self.waited_for = device, []

    def wait_stream(self, other: FakeStream) -> None:
        self.waited_for.append(other)


class FakeGraph:
    """Stands for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.replays = 0

    def register_generator_state(self, generator: torch.Generator) -> None:
        pass

    def replay(self) -> None:
        self.replays += 1


class FakeCuda:
    """Stands for `torch.cuda`, as far as capturing needs it."""

    CUDAGraph, Stream = FakeGraph, FakeStream

    def __init__(self) -> None:
        self.current = FakeStream()

    def current_stream(self, _: object) -> FakeStream:
        return self.current

    def set_stream(self, stream: FakeStream) -> None:
        self.current = stream

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def graph(self, _: FakeGraph, stream: FakeStream) -> Iterator[None]:
        """After an error in the body, the end of the capture raises another one and leaves its stream current."""
        before, self.current = self.current, stream
        try:
            yield
        finally:
            if sys.exc_info()[0]:
                raise RuntimeError("capture has ended in an error")
        self.current = before


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    for name in ("CUDAGraph", "Stream", "current_stream", "set_stream", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    return fake


def test_captured_step_is_replayed_on_its_own_stream(cuda: FakeCuda) -> None:
    graph_stream, streams = GraphStream(torch.device("cuda")), []
    here = cuda.current
    graph_stream.run(lambda: streams.append(cuda.current))
    repeat = graph_stream.capture(lambda: streams.append(cuda.current), torch.Generator())
    assert repeat is not None
    repeat()
    repeat()
    assert streams == [graph_stream.stream, graph_stream.stream]
    assert repeat.__self__.replays == 2  # type: ignore[attr-defined]
    assert graph_stream.stream.waited_for == [here]  # type: ignore[union-attr]
    assert here.waited_for == [graph_stream.stream]
    assert cuda.current is here


def test_failed_capture_warns_and_restores_the_stream(cuda: FakeCuda) -> None:
    def body() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    here = cuda.current
    with pytest.warns(
        UserWarning, match="cannot capture the training step as a CUDA graph.*slower: operation not"
    ):
        assert GraphStream(torch.device("cuda")).capture(body, torch.Generator()) is None
    assert cuda.current is here


@pytest.mark.usefixtures("cuda")
def test_out_of_memory_within_a_capture_is_raised_as_such() -> None:
    def body() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        GraphStream(torch.device("cuda")).capture(body, torch.Generator())
