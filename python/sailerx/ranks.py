"""What the processes that train one model do together. Here for one process, where it is nothing.

`sailerx.distributed` has the same for several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sailerx.minibatch import Shard
from sailerx.model import VAE
from sailerx.on_disk import Accessibility, PeaksOnDisk

_Made = TypeVar("_Made")


class Ranks:
    """The processes of a run, as one of them sees them: here it is the only one."""

    #: number of this process
    rank = 0
    #: number of processes
    world_size = 1

    def __init__(self, device: torch.device) -> None:
        #: where this process computes
        self.device = device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def from_first(self, make: Callable[[], _Made]) -> _Made:
        """What the first process makes, on all of them; where it cannot, all raise."""
        return make()

    def read(self, x: Accessibility) -> Accessibility:
        """What this process needs of x to train: its shard, here all of it. It is left in its file if it is to stay there."""
        return x.in_memory() if isinstance(x, PeaksOnDisk) and x.to_memory else x

    def shard(self, depth: np.ndarray, device: torch.device) -> Shard:
        """Which cells this process has, given the open peaks of each cell."""
        return Shard()

    def join(self, vae: VAE) -> None:
        """Let BatchNorm see the mini-batches of all processes."""

    def leave(self, vae: VAE) -> None:
        """Undo `join`."""

    def average_gradients(self, vae: VAE, peaks: Int[Tensor, " some"] | None) -> None:
        """Give each process the mean of all processes' gradients; the last layer has some for these peaks alone."""


#: one process
ALONE = Ranks(torch.device("cpu"))
