"""Training steps as a CUDA graph: captured once, then replayed by the GPU alone.

A step is a few hundred small operations, and launching each takes the host longer than the GPU needs to run it; replaying a graph
takes one launch. A graph has fixed shapes and constants, so what differs between steps lies in tables on the GPU, written before
each epoch; a counter that the graph itself advances says which row is next.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.kernels import peak_layers
from sailerx.kernels.open_peaks import PaddedRows
from sailerx.minibatches.loader import Minibatch, OnDevice
from sailerx.minibatches.sampler import Sampler
from sailerx.network.objective import TERMS
from sailerx.network.schedules import LossWeights, Number
from sailerx.training.distributed.ranks import Ranks
from sailerx.training.state import TrainingState

#: steps that run before the capture, in which libraries choose algorithms and memory is reserved
_WARM_UP_STEPS = 3
#: lists of open peaks have room for this many standard deviations above the mean of mini-batches
_ROOM = 6

#: loss and terms of one step
Step = Callable[[Minibatch, LossWeights], Float[Tensor, " terms"]]


def captured_epochs(
    state: TrainingState, on_device: OnDevice, sampler: Sampler, step: Step, ranks: Ranks
) -> CapturedEpochs | None:
    """Epochs by a CUDA graph, or None where steps cannot be captured: on a CPU, from disk, or with several processes."""
    x, device = on_device.x, on_device.w.device
    if isinstance(x, PaddedRows) and peak_layers.captures_steps(device) and ranks.world_size == 1:
        return CapturedEpochs(state, on_device, x, sampler, step)
    return None


class CapturedEpochs:
    """Runs epochs as `sailerx.training.loop.train_epoch` does, with captured steps."""

    def __init__(
        self, state: TrainingState, on_device: OnDevice, x: PaddedRows, sampler: Sampler, step: Step
    ) -> None:
        self.state, self.on_device, self.x, self.step = state, on_device, x, step
        device = on_device.w.device
        self.stream = GraphStream(device)
        self.rate = torch.zeros((), device=device)
        for group in state.optimizer.param_groups:
            group["lr"], group["capturable"] = self.rate, True
        #: number of the next step within the epoch: the row of the tables
        self.next = torch.zeros(1, dtype=torch.int64, device=device)
        n_steps, size = sampler.n_steps, sum(sampler.sizes)
        self.cells = torch.zeros(n_steps, size, dtype=torch.int64, device=device)
        self.rates = torch.zeros(n_steps, device=device)
        self.weights = torch.zeros(n_steps, len(LossWeights._fields) - 2, device=device)
        self.terms = torch.zeros(n_steps, 1 + len(TERMS), device=device)
        #: length of a mini-batch's list of open peaks
        self.length = _usual_length(x, sampler)
        self._discard_graph()

    def __call__(
        self, batches: Sequence[Int[Tensor, " cells"]], rates: Sequence[float], weights: Sequence[LossWeights]
    ) -> Float[Tensor, "steps terms"]:
        """One step per mini-batch; returns each step's loss and terms, without waiting for the device."""
        self._make_room(batches)
        self.cells.copy_(torch.stack(list(batches)))
        self.weights.copy_(torch.tensor([_numbers(of_step) for of_step in weights]))
        self.rates.copy_(torch.tensor(rates))
        self.next.zero_()
        for of_step in weights:
            self._run_step((of_step.positive_weight, of_step.weighted_cells))
        return self.terms.clone()

    def _make_room(self, batches: Sequence[Int[Tensor, " cells"]]) -> None:
        """Lengthen the lists, and capture anew, where a mini-batch has more open peaks."""
        longest = max(map(self.x.n_ones, batches))
        if longest > self.length:
            self._discard_graph()
            self.length = longest

    def _discard_graph(self) -> None:
        #: constants of the captured step: factor on open peaks, and whether L_Local uses w
        self.constants: tuple[float, bool] | None = None
        self.n_run = 0
        self.replay: Callable[[], None] | None = None

    def _run_step(self, constants: tuple[float, bool]) -> None:
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
        positive_weight, weighted_cells = self.constants
        self.rate.copy_(self.rates[self.next][0])
        reconstruction, prior, marginal, alignment = self.weights[self.next][0].unbind()
        weights = LossWeights(reconstruction, positive_weight, prior, marginal, alignment, weighted_cells)
        rows = self.cells[self.next][0]
        minibatch = self.on_device.minibatch(rows, self.x.take(rows, self.length))
        self.terms.index_copy_(0, self.next, self.step(minibatch, weights)[None])
        self.next += 1


def _numbers(weights: LossWeights) -> tuple[Number, ...]:
    return weights.reconstruction, weights.prior, weights.marginal, weights.alignment


def _usual_length(x: PaddedRows, sampler: Sampler) -> int:
    """A number of open peaks that few mini-batches exceed.

    It is computed from the depths of all cells, not from the mini-batches seen: a resumed run must have lists as long, and with
    them the same random numbers.
    """
    depths = [x.depth[kind].double() for kind in sampler.kinds]
    expected = sum(size * depth.mean() for depth, size in zip(depths, sampler.sizes, strict=True))
    var = sum(size * depth.var(correction=0) for depth, size in zip(depths, sampler.sizes, strict=True))
    return math.ceil(expected + _ROOM * math.sqrt(var))


class GraphStream:
    """A CUDA stream on which steps run and are captured. On a CPU nothing is captured."""

    def __init__(self, device: torch.device) -> None:
        #: one for all captures and the steps before them, since each stream has a memory pool of its own
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
        """Capture a step that draws from ``noise``; returns its replay, or None where it cannot be captured."""
        if self.stream is None:
            return None
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.stream.device)
        try:
            graph.register_generator_state(noise)
            with torch.cuda.graph(graph, stream=self.stream):
                step()
        except RuntimeError as error:
            torch.cuda.set_stream(here)  # a capture that fails may leave another one
            # an error within the capture is the context of the one that its end raises
            causes = [error, error.__context__]
            if memory := next((cause for cause in causes if isinstance(cause, torch.OutOfMemoryError)), None):
                raise memory from None
            warnings.warn(
                "the GPU cannot capture the training step as a CUDA graph; each operation is launched alone, which is slower: "
                f"{error.__context__ or error}",
                stacklevel=2,
            )
            return None
        return graph.replay
