"""What the processes that train one model do together: the interface, for a single process.

`sailerx.training.distributed.processes` implements it for several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sailerx.data.accessibility import Accessibility, PeaksOnDisk
from sailerx.minibatches.shards import Shard
from sailerx.network.vae import VAE

_Made = TypeVar("_Made")


class Ranks:
    """The processes of a run as seen by one of them: here it is the only one."""

    #: number of this process
    rank = 0
    #: number of processes
    world_size = 1

    def __init__(self, device: torch.device) -> None:
        #: where this process computes
        self.device = device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def from_first(self, make: Callable[[], _Made]) -> _Made:
        """Call ``make`` in the first process and send the result to all; if it raises, all raise."""
        return make()

    def read(self, x: Accessibility) -> Accessibility:
        """The part of x that this process trains on, here all of it; read into memory unless it is to stay in its file."""
        return x.in_memory() if isinstance(x, PeaksOnDisk) and x.to_memory else x

    def shard(self, depth: np.ndarray, device: torch.device) -> Shard:
        """The cells that this process reads, given the depth of each cell."""
        return Shard()

    def synchronise_batch_norm(self, vae: VAE) -> None:
        """Let BatchNorm normalise over the cells of all processes."""

    def restore_batch_norm(self, vae: VAE) -> None:
        """Undo `synchronise_batch_norm`."""

    def average_gradients(self, vae: VAE, peaks: Int[Tensor, " some"] | None) -> None:
        """Replace gradients by their mean over processes; the last layer has gradients for ``peaks`` alone (None: for all)."""


#: one process
ALONE = Ranks(torch.device("cpu"))
