"""Open peaks in lists of a length that is known in advance: for a GPU, which is never asked for a number.

To ask how many open peaks are left makes the host wait for the GPU, and what a GPU records to repeat it
(`sailerx.captured`) must have the same size each time. So lists are as long as the host says. What is too much in them is
padding: an entry whose peak is ``n_peaks`` stands for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sailerx.minibatch import OpenPeaks, SparseRows


@dataclass(frozen=True)
class PaddedPeaks(OpenPeaks):
    """x of some cells as the positions of its ones, with padding among them."""

    @property
    def depth(self) -> Int[Tensor, " cells"]:
        """Open peaks of each cell."""
        ends = torch.searchsorted(self.cell, torch.arange(self.n_cells, device=self.cell.device), right=True)
        n_so_far = torch.cat([ends.new_zeros(1), (self.peak < self.n_peaks).cumsum(0)])
        return n_so_far[ends].diff(prepend=ends.new_zeros(1))

    def _where(self, there: Bool[Tensor, " ones"]) -> PaddedPeaks:
        return replace(self, peak=self.peak.masked_fill(~there, self.n_peaks))


@dataclass(frozen=True)
class PaddedRows:
    """`SparseRows` on a GPU, in the same words."""

    indptr: Int[Tensor, " cells_plus_1"]
    indices: Int[Tensor, " ones"]
    n_peaks: int
    #: open peaks of each cell, in the host's memory
    depth: Int[Tensor, " cells"]

    @classmethod
    def of(cls, rows: SparseRows, device: torch.device) -> PaddedRows:
        """The same on the device."""
        indptr, indices = rows.indptr.to(device), rows.indices.to(device)
        return cls(indptr, indices, rows.n_peaks, rows.indptr.diff())

    def minibatches(self, batches: Sequence[Int[Tensor, " rows"]]) -> Iterator[PaddedPeaks]:
        """The open peaks of one mini-batch after the other, given their cells in the host's memory."""
        for rows in batches:
            yield self.take(rows.to(self.indptr.device), self.n_ones(rows))

    def n_ones(self, rows: Int[Tensor, " rows"]) -> int:
        """Open peaks of these cells, given in the host's memory."""
        return int(self.depth[rows].sum())

    def take(self, rows: Int[Tensor, " rows"], length: int) -> PaddedPeaks:
        """The open peaks of these cells, given on the device, in a list of this length."""
        start = self.indptr[rows]
        depth = self.indptr[rows + 1] - start
        ends = depth.cumsum(0)
        entry = torch.arange(length, device=rows.device)
        cell = torch.searchsorted(ends, entry, right=True)
        there = cell < len(rows)
        cell = cell.clamp(max=len(rows) - 1)
        at = (start - ends + depth)[cell] + entry
        peak = self.indices[at.masked_fill(~there, 0)].long()
        return PaddedPeaks(cell, peak.masked_fill(~there, self.n_peaks), len(rows), self.n_peaks)


def wanted(device: torch.device) -> bool:
    """Whether lists should be padded: on a GPU."""
    return device.type == "cuda"
