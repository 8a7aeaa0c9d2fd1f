"""Interface for splitting mini-batches between processes, and its version for one process, which has all cells.

`sailerx.training.distributed.rank_shards` has the version for several processes. Random numbers are drawn for the whole
mini-batch and each process uses those of its cells, so that the result does not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """The cells of one mini-batch that this process computes: here all of them."""

    #: number of cells of the whole mini-batch
    n_cells: int
    #: positions of this process's cells in the whole mini-batch
    cell: Int[Tensor, " own_cells"] | slice = field(default_factory=lambda: slice(None))

    def gathered(self, *own: Float[Tensor, "own_cells values"]) -> Sequence[Float[Tensor, "cells values"]]:
        """Gather values of all cells of the mini-batch from every process's own; differentiable (all-gather)."""
        return own

    def summed(self, own: Float[Tensor, "*sizes"]) -> Float[Tensor, "*sizes"]:
        """Add up every process's sum over its own cells; differentiable (all-reduce)."""
        return own


@dataclass(frozen=True)
class Shard:
    """The cells of the data set that this process reads: here all of them."""

    def own(self, rows: Int[Tensor, " cells"]) -> Int[Tensor, " own_cells"] | slice:
        """Return the positions within a mini-batch (cells ``rows``) of the cells that this process reads."""
        return slice(None)

    def part(self, rows: Int[Tensor, " cells"], own: Int[Tensor, " own_cells"] | slice) -> Part:
        """Make the `Part` of this process, given the mini-batch's cells and its own positions."""
        return Part(len(rows))
