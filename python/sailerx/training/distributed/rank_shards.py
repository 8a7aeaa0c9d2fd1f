"""The cells that each process (rank) reads, and its part of each mini-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.data import csr_on_disk
from sailerx.minibatches.shards import Part, Shard
from sailerx.training.distributed.collectives import AllReduce


def run_length(n_cells: int, world_size: int) -> int:
    """Compute the number of consecutive cells per run; runs are dealt out to the processes in turn."""
    return min(csr_on_disk.CELLS_PER_CHUNK, -(-n_cells // world_size))


def is_own(rows: Any, n_cells: int, rank: int, world_size: int) -> Any:
    """Tell of each position in ``rows`` (array or tensor) whether that cell belongs to the process."""
    return rows // run_length(n_cells, world_size) % world_size == rank


@dataclass(frozen=True)
class RankShard(Shard):
    """The cells that one process reads: runs of consecutive cells, dealt out to the processes in turn."""

    rank: int
    world_size: int
    n_cells: int

    def own(self, rows: Int[Tensor, " cells"]) -> Int[Tensor, " own_cells"]:
        """Find the positions in a mini-batch of the cells that this process reads."""
        owns: Tensor = is_own(rows, self.n_cells, self.rank, self.world_size)
        return owns.nonzero().view(-1)

    def part(self, rows: Int[Tensor, " cells"], own: Int[Tensor, " own_cells"] | slice) -> Part:
        """Make this process's part of a mini-batch."""
        assert isinstance(own, Tensor)
        return RankPart(len(rows), own.to(rows.device), rank=self.rank)


@dataclass(frozen=True, kw_only=True)
class RankPart(Part):
    """One process's part of a mini-batch."""

    rank: int

    def gathered(self, *own: Float[Tensor, "own_cells values"]) -> Sequence[Float[Tensor, "cells values"]]:
        """Gather values of all cells of the mini-batch from all processes; gradients flow back."""
        assert isinstance(self.cell, Tensor)
        here = torch.stack(own, dim=1)
        padded = here.new_zeros(self.n_cells, *here.shape[1:]).index_copy(0, self.cell, here)
        return AllReduce.apply(padded, self.rank).unbind(dim=1)

    def summed(self, own: Float[Tensor, "*sizes"]) -> Float[Tensor, "*sizes"]:
        """Add up the sums of all processes; gradients flow back."""
        total: Tensor = AllReduce.apply(own, self.rank)
        return total
