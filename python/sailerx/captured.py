"""The steps of the optimiser, recorded once and repeated by the GPU alone (a CUDA graph).

A step is a few hundred small operations. To launch each of them takes the host longer than the GPU needs to run it; to
launch a recording of all takes it a moment. What differs from step to step is in tables on the GPU, written before each
epoch; a counter, which the recording itself moves on, says which row of them is next.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.config import Settings
from sailerx.minibatch import Sampler
from sailerx.objective import TERMS, OnDevice
from sailerx.padded import PaddedRows
from sailerx.ranks import Ranks
from sailerx.run import Run
from sailerx.schedules import LossWeights, Number, learning_rate, loss_weights
from sailerx.steps import Steps

#: steps that run unrecorded first, in which libraries make their choices and memory is reserved
_UNRECORDED = 3
#: a list of open peaks has room for so many standard deviations more than a mini-batch has on average
_ROOM = 6


def steps_of(run: Run, cells: OnDevice, sampler: Sampler, settings: Settings, ranks: Ranks) -> Steps:
    """The steps of a run: recorded where one process has its data on a GPU."""
    if isinstance(cells.x, PaddedRows) and ranks.world_size == 1:
        return CapturedSteps(run, cells, cells.x, sampler, settings, ranks)
    return Steps(run, cells, settings, ranks)


class CapturedSteps(Steps):
    """The steps of a run, recorded."""

    def __init__(
        self, run: Run, cells: OnDevice, x: PaddedRows, sampler: Sampler, settings: Settings, ranks: Ranks
    ) -> None:
        super().__init__(run, cells, settings, ranks)
        self.x, self.device = x, cells.w.device
        self.recorder = Recorder(self.device)
        self.rate = torch.zeros((), device=self.device)
        for group in run.optimizer.param_groups:
            group["lr"], group["capturable"] = self.rate, True
        #: row of the tables that is next
        self.next = torch.zeros(1, dtype=torch.int64, device=self.device)
        n_steps, size = sampler.n_steps, sum(sampler.sizes)
        self.rows = torch.zeros(n_steps, size, dtype=torch.int64, device=self.device)
        self.rates = torch.zeros(n_steps, device=self.device)
        self.weights = torch.zeros(n_steps, len(LossWeights._fields) - 2, device=self.device)
        self.terms = torch.zeros(n_steps, 1 + len(TERMS), device=self.device)
        #: entries of a mini-batch's list of open peaks
        self.length = _usual_length(x, sampler)
        self._forget()

    def epoch(self, epoch: int, batches: Sequence[Int[Tensor, " cells"]]) -> Float[Tensor, "steps terms"]:
        """A step for each mini-batch, given by its cells; its loss and the terms of that, not waited for."""
        self._make_room(batches)
        moments = [epoch + step / len(batches) for step in range(len(batches))]
        schedule = [loss_weights(now, self.settings, self.x.n_peaks) for now in moments]
        self.rows.copy_(torch.stack(list(batches)))
        self.weights.copy_(torch.tensor([_numbers(weights) for weights in schedule]))
        self.rates.copy_(torch.tensor([learning_rate(now, self.settings) for now in moments]))
        self.next.zero_()
        for weights in schedule:
            self._one((weights.positive_weight, weights.weighted_cells))
        return self.terms.clone()

    def _make_room(self, batches: Sequence[Int[Tensor, " cells"]]) -> None:
        """Longer lists where a mini-batch needs them."""
        longest = max(map(self.x.n_ones, batches))
        if longest > self.length:
            self._forget()
            self.length = longest

    def _forget(self) -> None:
        #: what is not in the tables, the same for all steps of a recording: factor on open peaks, whether w counts
        self.kind: tuple[float, bool] | None = None
        self.n_run = 0
        self.repeat: Callable[[], None] | None = None

    def _one(self, kind: tuple[float, bool]) -> None:
        """The next step, by the recording as soon as there is one."""
        if kind != self.kind:
            self._forget()
            self.kind = kind
        if self.repeat is None and self.n_run == _UNRECORDED:
            self.run.optimizer.zero_grad()  # the recording has gradients of its own
            self.repeat = self.recorder.record(self._body, self.run.noise)
        if self.repeat is not None:
            self.repeat()
        else:
            self.recorder.beside(self._body)
        self.n_run += 1

    def _body(self) -> None:
        assert self.kind is not None
        positive_weight, weighted_cells = self.kind
        self.rate.copy_(self.rates[self.next][0])
        reconstruction, prior, marginal, alignment = self.weights[self.next][0].unbind()
        weights = LossWeights(reconstruction, positive_weight, prior, marginal, alignment, weighted_cells)
        rows = self.rows[self.next][0]
        minibatch = self.cells.minibatch(rows, self.x.take(rows, self.length))
        self.terms.index_copy_(0, self.next, self.step(minibatch, weights)[None])
        self.next += 1


def _numbers(weights: LossWeights) -> tuple[Number, ...]:
    return weights.reconstruction, weights.prior, weights.marginal, weights.alignment


def _usual_length(x: PaddedRows, sampler: Sampler) -> int:
    """Open peaks that hardly any mini-batch exceeds.

    Not the most that there were so far: a run that is resumed must have lists as long, and with them the same random numbers.
    """
    depths = [x.depth[kind].double() for kind in sampler.kinds]
    expected = sum(size * depth.mean() for depth, size in zip(depths, sampler.sizes, strict=True))
    var = sum(size * depth.var(correction=0) for depth, size in zip(depths, sampler.sizes, strict=True))
    return math.ceil(expected + _ROOM * math.sqrt(var))


class Recorder:
    """Records what one device does. Without a GPU nothing is recorded."""

    def __init__(self, device: torch.device) -> None:
        #: one for all that is recorded and what runs before: each has memory of its own
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def beside(self, body: Callable[[], None]) -> None:
        """Run it on the stream, as what is to be recorded has to be run before."""
        if self.stream is None:
            body()
            return
        here = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            body()
        here.wait_stream(self.stream)

    def record(self, body: Callable[[], None], noise: torch.Generator) -> Callable[[], None] | None:
        """What repeats this body, which draws from this generator; None where it cannot be recorded."""
        if self.stream is None:
            return None
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.stream.device)
        try:
            graph.register_generator_state(noise)
            with torch.cuda.graph(graph, stream=self.stream):
                body()
        except RuntimeError as error:
            torch.cuda.set_stream(here)  # which a recording that fails may leave
            # what ends a recording is the cause of another error at its end
            causes = [error, error.__context__]
            if memory := next((cause for cause in causes if isinstance(cause, torch.OutOfMemoryError)), None):
                raise memory from None
            warnings.warn(
                "the GPU cannot record the steps of the training; each operation is launched alone, which is slower: "
                f"{error.__context__ or error}",
                stacklevel=2,
            )
            return None
        return graph.replay
