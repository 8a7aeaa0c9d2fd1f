"""Training steps as a CUDA graph: capture one step, then replay it.

A step is a few hundred small kernels, and launching each takes the CPU longer than the GPU needs to run it; replaying a graph takes
one launch. A graph has fixed shapes and constants. So everything that differs between steps (cells, learning rate, loss weights) is
written to tables on the GPU before each epoch, and the captured step reads the next row, from a counter that it advances itself.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.config import Settings
from sailerx.kernels import peak_layers
from sailerx.kernels.open_peaks import PaddedRows
from sailerx.minibatches.loader import Minibatch, OnDevice
from sailerx.minibatches.sampler import Sampler
from sailerx.network.objective import terms_of
from sailerx.network.schedules import LossWeights
from sailerx.training.distributed.ranks import Ranks
from sailerx.training.state import TrainingState

#: steps that run before the capture, while cuBLAS chooses algorithms and the allocator reserves memory
_WARM_UP_STEPS = 3
#: room in the padded lists of open peaks: standard deviations above the mean number of a mini-batch
_ROOM = 6

#: `sailerx.training.loop.training_step` with all other arguments bound
Step = Callable[[Minibatch, LossWeights], Float[Tensor, " terms"]]


def captured_epochs(
    state: TrainingState, on_device: OnDevice, sampler: Sampler, step: Step, ranks: Ranks, settings: Settings
) -> CapturedEpochs | None:
    """Make `CapturedEpochs`; None where steps cannot be captured: on a CPU, from disk, or with several processes."""
    x, device = on_device.x, on_device.w.device
    if isinstance(x, PaddedRows) and peak_layers.captures_steps(device) and ranks.world_size == 1:
        return CapturedEpochs(state, on_device, x, sampler, step, len(terms_of(settings)))
    return None


class CapturedEpochs:
    """A replacement for `sailerx.training.loop.train_epoch` whose steps are captured and replayed."""

    def __init__(
        self,
        state: TrainingState,
        on_device: OnDevice,
        x: PaddedRows,
        sampler: Sampler,
        step: Step,
        n_terms: int,
    ) -> None:
        self.state, self.on_device, self.x, self.step = state, on_device, x, step
        device = on_device.w.device
        self.stream = GraphStream(device)
        self.rate = torch.zeros((), device=device)
        for group in state.optimizer.param_groups:
            group["lr"], group["capturable"] = self.rate, True
        #: index of the next step within the epoch: the row of the tables below
        self.next = torch.zeros(1, dtype=torch.int64, device=device)
        n_steps, size = sampler.n_steps, sum(sampler.sizes)
        self.cells = torch.zeros(n_steps, size, dtype=torch.int64, device=device)
        self.rates = torch.zeros(n_steps, device=device)
        self.weights = torch.zeros(n_steps, n_terms, device=device)
        self.terms = torch.zeros(n_steps, 1 + n_terms, device=device)
        #: length of the padded list of open peaks of a mini-batch
        self.length = _usual_length(x, sampler)
        self._discard_graph()

    def __call__(
        self,
        minibatch_rows: Sequence[Int[Tensor, " cells"]],
        rates: Sequence[float],
        weights: Sequence[LossWeights],
    ) -> Float[Tensor, "steps terms"]:
        """Fill the tables and run one step per mini-batch; return loss and terms of each, without synchronising."""
        self._make_room(minibatch_rows)
        self.cells.copy_(torch.stack(list(minibatch_rows)))
        self.weights.copy_(torch.tensor([list(_factors(of_step).values()) for of_step in weights]))
        self.rates.copy_(torch.tensor(rates))
        self.next.zero_()
        for of_step in weights:
            self._run_step(_without_factors(of_step))
        return self.terms.clone()

    def _make_room(self, minibatch_rows: Sequence[Int[Tensor, " cells"]]) -> None:
        """Lengthen the padded lists, and capture anew, if a mini-batch has more open peaks than they hold."""
        longest = max(map(self.x.n_ones, minibatch_rows))
        if longest > self.length:
            self._discard_graph()
            self.length = longest

    def _discard_graph(self) -> None:
        #: constants of the captured step: what is no factor in its `LossWeights`
        self.constants: LossWeights | None = None
        self.n_run = 0
        self.replay: Callable[[], None] | None = None

    def _run_step(self, constants: LossWeights) -> None:
        """Run one step; replay the CUDA graph once captured."""
        if constants != self.constants:
            self._discard_graph()
            self.constants = constants
        if self.replay is None and self.n_run == _WARM_UP_STEPS:
            self.state.optimizer.zero_grad()  # the graph allocates gradients of its own
            self.replay = self.stream.capture(self._step_from_tables, self.state.noise)
        if self.replay is not None:
            self.replay()
        else:
            self.stream.run(self._step_from_tables)
        self.n_run += 1

    def _step_from_tables(self) -> None:
        assert self.constants is not None
        self.rate.copy_(self.rates[self.next][0])
        factors = self.weights[self.next][0].unbind()
        weights = LossWeights(
            **self.constants._asdict() | dict(zip(_factors(self.constants), factors, strict=True))
        )
        rows = self.cells[self.next][0]
        minibatch = self.on_device.minibatch(rows, self.x.take(rows, self.length))
        self.terms.index_copy_(0, self.next, self.step(minibatch, weights)[None])
        self.next += 1


def _without_factors(weights: LossWeights) -> LossWeights:
    return LossWeights(**weights._asdict() | dict.fromkeys(_factors(weights), 0.0))


def _factors(weights: LossWeights) -> dict[str, Any]:
    """The factor of each term of the loss, by field: what differs between steps."""
    names = ("reconstruction", "prior", "marginal", "alignment")
    return {name: getattr(weights, name) for name in names if getattr(weights, name) is not None}


def _usual_length(x: PaddedRows, sampler: Sampler) -> int:
    """Compute a number of open peaks that mini-batches hardly ever exceed: mean + `_ROOM` standard deviations.

    It follows from the depths of all cells, not from the mini-batches so far: thinning draws one random number per list entry,
    so a resumed run needs lists of equal length to draw equal numbers.
    """
    depths = [x.depth[kind].double() for kind in sampler.kinds]
    expected = sum(size * depth.mean() for depth, size in zip(depths, sampler.sizes, strict=True))
    var = sum(size * depth.var(correction=0) for depth, size in zip(depths, sampler.sizes, strict=True))
    return math.ceil(expected + _ROOM * math.sqrt(var))


class GraphStream:
    """A CUDA stream that runs and captures steps; on a CPU it runs them and captures nothing."""

    def __init__(self, device: torch.device) -> None:
        #: one stream for all captures and the steps before them, because each stream has its own memory pool
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def run(self, step: Callable[[], None]) -> None:
        """Run a step on the stream without capturing it."""
        if self.stream is None:
            step()
            return
        here = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            step()
        here.wait_stream(self.stream)

    def capture(self, step: Callable[[], None], noise: torch.Generator) -> Callable[[], None] | None:
        """Capture a step that draws from ``noise``; return the function that replays it, or None if capture fails."""
        if self.stream is None:
            return None
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.stream.device)
        try:
            graph.register_generator_state(noise)
            with torch.cuda.graph(graph, stream=self.stream):
                step()
        except RuntimeError as error:
            torch.cuda.set_stream(here)  # a failed capture may leave another stream current
            # the error of the operation is the context of the error raised at the end of the capture
            causes = [error, error.__context__]
            if memory := next((cause for cause in causes if isinstance(cause, torch.OutOfMemoryError)), None):
                raise memory from None
            warnings.warn(
                "the GPU cannot capture the training step as a CUDA graph; every operation is launched separately, which is slower: "
                f"{error.__context__ or error}",
                stacklevel=2,
            )
            return None
        return graph.replay
