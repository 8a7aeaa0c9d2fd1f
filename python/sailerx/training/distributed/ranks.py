"""The interface between training loop and processes, implemented for a single process.

`sailerx.training.distributed.processes` implements it for several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from sailerx.data.accessibility import Accessibility, PeaksOnDisk
from sailerx.minibatches.shards import Shard
from sailerx.network.vae import VAE

_Made = TypeVar("_Made")


class Ranks:
    """The processes of a run, seen from one of them; in this class it is the only one."""

    #: index of this process, from 0
    rank = 0
    #: number of processes
    world_size = 1

    def __init__(self, device: torch.device) -> None:
        #: device of this process
        self.device = device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def from_first(self, make: Callable[[], _Made]) -> _Made:
        """Call ``make`` in the first process and broadcast its result; if it raises, all processes raise."""
        return make()

    def read(self, x: Accessibility) -> Accessibility:
        """Read the cells of x that this process trains on, here all, into memory, or leave x in its file if asked to."""
        return x.in_memory() if isinstance(x, PeaksOnDisk) and x.to_memory else x

    def shard(self, n_cells: int) -> Shard:
        """Make the shard of this process; here it is all cells."""
        return Shard()

    def synchronise_batch_norm(self, vae: VAE) -> None:
        """Replace every BatchNorm by one that normalises over the cells of all processes."""

    def restore_batch_norm(self, vae: VAE) -> None:
        """Undo `synchronise_batch_norm`."""

    def average_gradients(self, vae: VAE, peaks: Int[Tensor, " chosen"] | None) -> None:
        """Average gradients over processes; of the last layer only the rows ``peaks`` (None: all)."""


#: a single process
ALONE = Ranks(torch.device("cpu"))
