"""Data-parallel training of one model by several processes, on lightning-fabric (gloo on CPUs, NCCL on GPUs).

Each process (rank) has a copy of the network and reads its own shard of the cells. All ranks draw equal orders of cells and equal
random numbers. Of each mini-batch, a rank encodes and decodes the cells of its shard; BatchNorm, alignment and KL terms are over the
whole mini-batch, and gradients are averaged. So the result does not depend on the number of ranks, up to rounding. See
docs/distributed.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor

from sailerx.data.accessibility import Accessibility, PeaksInMemory, PeaksOnDisk
from sailerx.errors import FirstProcessError, InputError
from sailerx.minibatches.shards import Shard
from sailerx.network.layers import NormActivation
from sailerx.network.vae import VAE
from sailerx.training.distributed.batch_norm import SharedBatchNorm
from sailerx.training.distributed.collectives import (
    STEP_TIMEOUT,
    all_reduce,
    before_first_use,
    explained_if_lost,
    group_for_objects,
)
from sailerx.training.distributed.rank_shards import RankShard, is_own, run_length
from sailerx.training.distributed.ranks import Ranks

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments import ClusterEnvironment

_Made = TypeVar("_Made")


def processes_of_run(device: torch.device, devices: int, nodes: int) -> Ranks:
    """Connect the already started processes of this run: ``devices`` on each of ``nodes`` machines.

    Parameters
    ----------
    device
        Device to compute on; with CUDA each process gets its own GPU.
    devices, nodes
        Number of processes per machine (with CUDA, one per GPU), and of machines.

    Raises
    ------
    InputError
        If fewer or more processes were started, GPUs are too few, or lightning-fabric is missing.
    """
    for name, number in (("devices", devices), ("nodes", nodes)):
        if number < 1:
            raise InputError(f"`{name}` must be at least 1, got {number!r}.")
    if devices * nodes == 1:
        return Ranks(device)
    refuse_missing_fabric()
    if not is_started():
        raise InputError(
            f"training on {devices} × {nodes} devices needs as many processes, but only this one was started. On one machine, "
            f"`sailerx fit FILE -o RUN/ --devices {devices}` starts them. For a script of your own, or for several machines, use "
            f"`torchrun --nproc-per-node {devices} SCRIPT` or SLURM's `srun`."
        )
    return Processes(device, devices, nodes)


def is_started() -> bool:
    """Tell whether torchrun or srun has started this process as one of several."""
    return dist.is_torchelastic_launched() or _in_slurm_step()


def _in_slurm_step() -> bool:
    return "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1


def refuse_missing_fabric() -> None:
    """Raise `InputError` if lightning-fabric is not installed."""
    try:
        import lightning_fabric  # noqa: F401
    except ImportError:
        raise InputError(
            "training on several devices needs lightning-fabric, which is not installed. Install it: "
            "pip install 'lightning-fabric>=2.4'"
        ) from None


class Processes(Ranks):
    """The processes of a run, seen from one of them; made by `processes_of_run`."""

    def __init__(self, device: torch.device, devices: int, nodes: int) -> None:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy

        if device.type == "cuda" and devices > torch.cuda.device_count():
            raise InputError(
                f"`devices` must be at most the number of GPUs of this machine: expected at most {torch.cuda.device_count()}, "
                f"got {devices}. Lower `devices`."
            )
        environment = _environment()
        if environment.world_size() != devices * nodes:
            raise InputError(
                f"`devices` × `nodes` must be the number of processes that were started: {devices} × {nodes}, but "
                f"{environment.world_size()} were. Start as many, or change `devices` and `nodes`."
            )
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(
            accelerator=device.type,
            devices=devices,
            num_nodes=nodes,
            strategy=DDPStrategy(timeout=STEP_TIMEOUT),
            plugins=[environment],
        )
        if not dist.is_initialized():
            before_first_use()
        with explained_if_lost(environment.global_rank()):
            fabric.launch()
            group_for_objects()
        super().__init__(fabric.device)
        self.rank, self.world_size = fabric.global_rank, fabric.world_size

    def from_first(self, make: Callable[[], _Made]) -> _Made:
        """Call ``make`` in the first process and broadcast its result; if it raises, all processes raise."""
        made: _Made | None = None
        error: Exception | None = None
        if self.is_first:
            try:
                made = make()
            except Exception as stopped:
                error = stopped
        sent: list[Any] = [made, error and f"{type(error).__name__}: {error}"]
        with explained_if_lost(self.rank):
            dist.broadcast_object_list(sent, src=0, group=group_for_objects())
        if error:
            raise error
        if sent[1]:
            raise FirstProcessError(f"the first process has stopped: {sent[1]}")
        return sent[0] if made is None else made

    def read(self, x: Accessibility) -> Accessibility:
        """Read this rank's cells of x into memory (other cells get no open peaks), or leave x in its file if asked to."""
        n_cells = x.shape[0]
        if isinstance(x, PeaksOnDisk):
            size = run_length(n_cells, self.world_size)
            starts = range(self.rank * size, n_cells, self.world_size * size)
            return (
                x.in_memory([(start, min(start + size, n_cells)) for start in starts]) if x.to_memory else x
            )
        own, depth = is_own(np.arange(n_cells), n_cells, self.rank, self.world_size), x.depth
        indptr = np.concatenate([[0], np.cumsum(np.where(own, depth, 0))])
        return PeaksInMemory(indptr, x.indices[np.repeat(own, depth)], x.n_peaks)

    def shard(self, n_cells: int) -> Shard:
        """Make the shard of this process."""
        return RankShard(self.rank, self.world_size, n_cells)

    def synchronise_batch_norm(self, vae: VAE) -> None:
        """Replace every BatchNorm by one that normalises over the cells of all processes."""
        for layer in vae.modules():
            if isinstance(layer, NormActivation):
                layer.norm = SharedBatchNorm(layer.norm, self.rank, self.world_size)

    def restore_batch_norm(self, vae: VAE) -> None:
        """Undo `synchronise_batch_norm`."""
        for layer in vae.modules():
            if isinstance(layer, NormActivation) and isinstance(layer.norm, SharedBatchNorm):
                layer.norm = layer.norm.local

    def average_gradients(self, vae: VAE, peaks: Int[Tensor, " chosen"] | None) -> None:
        """Average gradients over processes in one all-reduce; of the last layer only the rows ``peaks`` (None: all)."""
        last = {id(parameter) for parameter in vae.to_peaks.parameters()}
        gradients, rows_of = [], []
        for parameter in vae.parameters():
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            rows_of.append(slice(None) if peaks is None or id(parameter) not in last else peaks)
        sent = [gradient[rows] for gradient, rows in zip(gradients, rows_of, strict=True)]
        mean = all_reduce(torch.cat([part.flatten() for part in sent]), self.rank).div_(self.world_size)
        parts = mean.split([part.numel() for part in sent])
        for gradient, rows, own, part in zip(gradients, rows_of, sent, parts, strict=True):
            gradient[rows] = part.view_as(own)


def _environment() -> ClusterEnvironment:
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    if dist.is_torchelastic_launched():
        return TorchElasticEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise InputError(str(error)) from error
