"""Which cells of a mini-batch this process computes: here all of them; `sailerx.training.distributed` divides mini-batches.

Random numbers are drawn for the whole mini-batch and each process takes its own, so that the result does not depend on the number
of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from sailerx.kernels.open_peaks import OpenPeaks


@dataclass(frozen=True)
class Part:
    """The cells of one mini-batch that this process has: here all of them."""

    #: number of cells of the whole mini-batch, and of their open peaks
    n_cells: int
    n_ones: int
    #: positions in the whole mini-batch of the cells, and of the open peaks, that are here
    cell: Int[Tensor, " own_cells"] | slice = field(default_factory=lambda: slice(None))
    one: Int[Tensor, " own_ones"] | slice = field(default_factory=lambda: slice(None))

    @classmethod
    def whole_of(cls, x: OpenPeaks) -> Part:
        """All cells of x."""
        return cls(x.n_cells, len(x.cell))

    def gathered(self, *own: Float[Tensor, "own_cells values"]) -> Sequence[Float[Tensor, "cells values"]]:
        """Values of all cells of the mini-batch, given those of the cells here; gradients flow back."""
        return own

    def summed(self, own: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """A sum over all cells of the mini-batch, given the sum over the cells here; gradients flow back."""
        return own


@dataclass(frozen=True)
class Shard:
    """The cells of the data set that this process reads: here all of them."""

    def own(self, rows: Int[Tensor, " cells"]) -> Int[Tensor, " own_cells"] | slice:
        """Positions in a mini-batch of the cells that this process reads."""
        return slice(None)

    def part(self, rows: Int[Tensor, " cells"], own: Int[Tensor, " own_cells"] | slice, x: OpenPeaks) -> Part:
        """The part of a mini-batch that this process has; x are the open peaks of its own cells."""
        return Part.whole_of(x)
