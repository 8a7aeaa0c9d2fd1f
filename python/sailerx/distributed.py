"""Several processes that train one model, on lightning-fabric (torch.distributed: gloo on CPUs, NCCL on GPUs).

Each process (rank) has a copy of the network and reads its own shard of the cells. All know the order of the cells and
the random numbers. Of each mini-batch, a rank encodes and decodes the cells of its shard; BatchNorm, alignment and KL
terms are over the whole mini-batch, and gradients are averaged. So a run computes the same on any number of ranks, up to
rounding. See docs/distributed.md.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import re
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from sailerx import on_disk
from sailerx.errors import FirstProcessError, InputError, LaunchError, ProcessLostError
from sailerx.in_memory import PeaksInMemory
from sailerx.layers import NormActivation
from sailerx.minibatch import OpenPeaks, Part, Shard
from sailerx.model import VAE
from sailerx.on_disk import Accessibility, PeaksOnDisk
from sailerx.ranks import Ranks

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments import ClusterEnvironment

_Made = TypeVar("_Made")

#: exit status of a process that has lost another one
LOST = 3

#: how long a rank waits for the others in the middle of training before it gives up
_STEP_TIMEOUT = timedelta(minutes=10)
#: how long for the first rank to validate the data, compute PCA and so on; that it has died is noticed at once
_START_TIMEOUT = timedelta(days=7)


def join(device: torch.device, devices: int, nodes: int) -> Ranks:
    """The processes of this run: one for each of ``devices`` on each of ``nodes``, started already.

    Parameters
    ----------
    device
        Where to compute; with CUDA each process is given a GPU of its own.
    devices, nodes
        Processes on each machine (on GPUs, one for each), and machines.

    Raises
    ------
    InputError
        If there are not as many processes or GPUs, or lightning-fabric is missing.
    """
    for name, number in (("devices", devices), ("nodes", nodes)):
        if number < 1:
            raise InputError(f"`{name}` must be at least 1, got {number!r}.")
    if devices * nodes == 1:
        return Ranks(device)
    _refuse_missing_fabric()
    if not is_started():
        raise InputError(
            f"training on {devices} × {nodes} devices needs as many processes. `sailerx fit FILE -o RUN/ --devices {devices}` starts "
            f"them on one machine; a script of your own is started by `torchrun --nproc-per-node {devices} SCRIPT` or by SLURM's "
            "`srun`, as programs on several machines are."
        )
    return Processes(device, devices, nodes)


def is_started() -> bool:
    """Whether this is one of several processes that torchrun or srun has started."""
    return dist.is_torchelastic_launched() or _in_slurm_step()


def _in_slurm_step() -> bool:
    return "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1


def _refuse_missing_fabric() -> None:
    try:
        import lightning_fabric  # noqa: F401
    except ImportError:
        raise InputError(
            "training on several devices needs lightning-fabric, which is not installed. Install it: "
            "pip install 'lightning-fabric>=2.4'"
        ) from None


class Processes(Ranks):
    """Several processes, as one of them sees them. See `join`."""

    def __init__(self, device: torch.device, devices: int, nodes: int) -> None:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy

        if device.type == "cuda" and devices > torch.cuda.device_count():
            raise InputError(
                f"`devices` must be at most the number of GPUs of a machine: {devices} were asked for, "
                f"{torch.cuda.device_count()} found."
            )
        environment = _environment()
        if environment.world_size() != devices * nodes:
            raise InputError(
                f"`devices` × `nodes` must be the number of processes that were started: {devices} × {nodes}, but there are "
                f"{environment.world_size()}."
            )
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(
            accelerator=device.type,
            devices=devices,
            num_nodes=nodes,
            strategy=DDPStrategy(timeout=_STEP_TIMEOUT),
            plugins=[environment],
        )
        if not dist.is_initialized():
            _for_objects.cache_clear()
            atexit.register(_leave)
        with _ended_by_others(environment.global_rank()):
            fabric.launch()
            _for_objects()
        super().__init__(fabric.device)
        self.rank, self.world_size = fabric.global_rank, fabric.world_size

    def from_first(self, make: Callable[[], _Made]) -> _Made:
        """What the first process makes, on all of them; where it cannot, all raise."""
        made: _Made | None = None
        error: Exception | None = None
        if self.is_first:
            try:
                made = make()
            except Exception as stopped:
                error = stopped
        sent: list[Any] = [made, error and f"{type(error).__name__}: {error}"]
        with _ended_by_others(self.rank):
            dist.broadcast_object_list(sent, src=0, group=_for_objects())
        if error:
            raise error
        if sent[1]:
            raise FirstProcessError(f"the first process has stopped: {sent[1]}")
        return sent[0] if made is None else made

    def add(self, values: Tensor) -> Tensor:
        """The sum of all processes' values, in place."""
        with _ended_by_others(self.rank):
            dist.all_reduce(values)
        return values

    def read(self, x: Accessibility) -> Accessibility:
        """X with the cells of this shard; those of others have no open peak. It is left in its file if it is to stay there."""
        n_cells = x.shape[0]
        if isinstance(x, PeaksOnDisk):
            size = self._run(n_cells)
            starts = range(self.rank * size, n_cells, self.world_size * size)
            return (
                x.in_memory([(start, min(start + size, n_cells)) for start in starts]) if x.to_memory else x
            )
        own, depth = self._owns(np.arange(n_cells), n_cells), x.depth
        indptr = np.concatenate([[0], np.cumsum(np.where(own, depth, 0))])
        return PeaksInMemory(indptr, x.indices[np.repeat(own, depth)], x.n_peaks)

    def _run(self, n_cells: int) -> int:
        """Neighbouring cells that belong to one rank; the next as many are the next one's."""
        return min(on_disk.CELLS_PER_BLOCK, -(-n_cells // self.world_size))

    def _owns(self, rows: Any, n_cells: int) -> Any:
        return rows // self._run(n_cells) % self.world_size == self.rank

    def shard(self, depth: np.ndarray, device: torch.device) -> Shard:
        """Which cells this process has, given the open peaks of each cell."""
        return _Shard(self, torch.from_numpy(depth.astype(np.int64)).to(device))

    def join(self, vae: VAE) -> None:
        """Let BatchNorm see the mini-batches of all processes."""
        for layer in vae.modules():
            if isinstance(layer, NormActivation):
                layer.norm = BatchNorm(layer.norm, self)

    def leave(self, vae: VAE) -> None:
        """Undo `join`."""
        for layer in vae.modules():
            if isinstance(layer, NormActivation) and isinstance(layer.norm, BatchNorm):
                layer.norm = layer.norm.alone

    def average_gradients(self, vae: VAE, peaks: Int[Tensor, " some"] | None) -> None:
        """Give each process the mean of all processes' gradients; the last layer has some for these peaks alone."""
        last = {id(parameter) for parameter in vae.to_peaks.parameters()}
        gradients, some = [], []
        for parameter in vae.parameters():
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            some.append(slice(None) if peaks is None or id(parameter) not in last else peaks)
        sent = [gradient[rows] for gradient, rows in zip(gradients, some, strict=True)]
        mean = self.add(torch.cat([part.flatten() for part in sent])).div_(self.world_size)
        parts = mean.split([part.numel() for part in sent])
        for gradient, rows, own, part in zip(gradients, some, sent, parts, strict=True):
            gradient[rows] = part.view_as(own)


@functools.cache
def _for_objects() -> Any:
    """The processes as a group that sends objects, and waits long for them."""
    return dist.new_group(backend="gloo", timeout=_START_TIMEOUT)


def _leave() -> None:
    """End the threads of torch.distributed. One that still needs Python while that shuts down would abort the process."""
    _for_objects.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def _environment() -> ClusterEnvironment:
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    if dist.is_torchelastic_launched():
        return TorchElasticEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise InputError(str(error)) from error


@contextmanager
def _ended_by_others(rank: int) -> Iterator[None]:
    """What torch.distributed raises when another process is gone, in a user's words."""
    try:
        yield
    except RuntimeError as error:
        found = re.sub(r"^\[\S*\]\s*", "", str(error)).split("\n")[0].split(". ")[0]
        raise ProcessLostError(
            f"the process of rank {rank} has lost another one, which has ended, was killed or cannot be reached ({found}). What "
            "that one printed last says why. A run with a checkpoint goes on from it when it is started again."
        ) from error


class _Add(torch.autograd.Function):
    """The sum of all processes' values. Its gradient is the sum of theirs: each process has the whole loss."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: Processes) -> Tensor:
        ctx.ranks = ranks
        return ranks.add(own.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.add(grad_outputs[0].clone(memory_format=torch.contiguous_format)), None


@dataclass(frozen=True)
class _Shard(Shard):
    ranks: Processes
    #: open peaks of each cell
    depth: Int[Tensor, " cells"]

    def own(self, rows: Int[Tensor, " cells"]) -> Int[Tensor, " own_cells"]:
        """Positions of the cells in a mini-batch that are read here."""
        owns: Tensor = self.ranks._owns(rows, len(self.depth))
        return owns.nonzero().view(-1)

    def part(self, rows: Int[Tensor, " cells"], own: Int[Tensor, " own_cells"] | slice, x: OpenPeaks) -> Part:
        """The part of a mini-batch that x, the open peaks of its own cells, is."""
        assert isinstance(own, Tensor)
        depth, own = self.depth[rows], own.to(rows.device)
        first, own_first = (n.cumsum(0) - n for n in (depth, depth[own]))
        one = (first[own] - own_first)[x.cell] + torch.arange(len(x.cell), device=rows.device)
        return _Part(len(rows), int(depth.sum()), own, one, ranks=self.ranks)


@dataclass(frozen=True, kw_only=True)
class _Part(Part):
    ranks: Processes

    def gathered(self, *own: Float[Tensor, "own_cells values"]) -> Sequence[Float[Tensor, "cells values"]]:
        """Values of all cells of the mini-batch, given those of the cells here; gradients flow back."""
        assert isinstance(self.cell, Tensor)
        here = torch.stack(own, dim=1)
        padded = here.new_zeros(self.n_cells, *here.shape[1:]).index_copy(0, self.cell, here)
        return _Add.apply(padded, self.ranks).unbind(dim=1)

    def summed(self, own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """A sum over all cells of the mini-batch, given that over the cells here; gradients flow back."""
        total: Tensor = _Add.apply(own, self.ranks)
        return total


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm over the cells of all processes' parts of a mini-batch. PyTorch's own SyncBatchNorm needs a GPU.

    Weights and running statistics are those of the layer that it stands for.
    """

    def __init__(self, norm: nn.BatchNorm1d, ranks: Processes) -> None:
        super().__init__(norm.num_features)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.ranks = ranks
        self._alone = (norm,)  # not a submodule

    @property
    def alone(self) -> nn.BatchNorm1d:
        """The layer of one process, with the same tensors."""
        return self._alone[0]

    def forward(self, h: Float[Tensor, "own_cells features"]) -> Float[Tensor, "own_cells features"]:
        """Normalised by mean and variance of the whole mini-batch; in evaluation mode as ever."""
        if not self.training:
            return super().forward(h)
        n, mean, var = self._moments(h)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / (n - 1), self.momentum)
            self.num_batches_tracked += 1
        return (h - mean) * (self.weight * (var + self.eps).rsqrt()) + self.bias

    def _moments(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Number of cells, mean and variance of each feature, from those of each process."""
        own_n = len(h)
        own_mean = h.sum(dim=0) / max(1, own_n)
        own_squares = ((h - own_mean) ** 2).sum(dim=0)
        own = torch.cat([own_mean, own_squares, own_mean.new_full((1,), own_n)])
        nothing = torch.zeros_like(own)
        padded = torch.stack([own if i == self.ranks.rank else nothing for i in range(self.ranks.world_size)])
        of_ranks = _Add.apply(padded, self.ranks)  # ranks × (mean, sum of squares, n)
        means, squares, ns = of_ranks.split([self.num_features, self.num_features, 1], dim=1)
        # Chan et al. 1979: mean = sum_r n_r mean_r / n, squares = sum_r squares_r + n_r (mean_r - mean)^2
        n = ns.sum()
        mean = (ns * means).sum(dim=0) / n
        return n, mean, (squares + ns * (means - mean) ** 2).sum(dim=0) / n


def launch(command: Sequence[str], n_processes: int) -> None:
    """Run ``python`` with these arguments in several processes of this machine, as torchrun does, and wait for them.

    Raises
    ------
    LaunchError
        When one of them has failed or was killed; the others have been ended by then.
    """
    _refuse_missing_fabric()
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        with _silent("torch.distributed.elastic"):
            elastic_launch(config, sys.executable)(*command)
    except SignalException as stopped:
        raise KeyboardInterrupt from stopped
    except ChildFailedError as failed:
        codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
        raise _what_happened(codes) from None


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without what a logger and those below it write."""
    logger = logging.getLogger(name)
    before = logger.propagate, logger.handlers
    logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        yield
    finally:
        logger.propagate, logger.handlers = before


def _what_happened(codes: dict[int, int]) -> LaunchError:
    """What to tell, given the exit status of each process that has failed; negative for a signal."""
    told = [code for code in codes.values() if code > 0 and code != LOST]
    # those that were left behind are sent SIGTERM
    killed = {rank: -code for rank, code in codes.items() if code < 0 and -code != signal.SIGTERM}
    if told or not killed:
        return LaunchError("", min(told, default=1))
    rank, number = min(killed.items())
    why = " The system does that where memory runs out." if number == signal.SIGKILL else ""
    return LaunchError(
        f"the process of rank {rank} was killed ({signal.Signals(number).name}), and the run has ended with it.{why} A run with a "
        "checkpoint goes on from it when it is started again.",
        1,
    )
