"""Sparse x: a mini-batch as lists of its ones (COO), and all cells as CSR rows that mini-batches are taken from.

On a CPU the lists hold the open peaks and nothing else (`OpenPeaks`, `SparseRows`). On a GPU the host must know their length
without asking the device, and a CUDA graph needs one length for all replays, so they are padded (`PaddedPeaks`, `PaddedRows`): an
entry with ``peak == n_peaks`` is padding. `sailerx.kernels.peak_layers.rows_on` chooses by device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sailerx.data.accessibility import PeaksInMemory


@dataclass(frozen=True)
class OpenPeaks:
    """x, 0/1, as the positions of its ones (COO without values), sorted by cell, then by peak."""

    cell: Int[Tensor, " ones"]
    peak: Int[Tensor, " ones"]
    n_cells: int
    n_peaks: int

    @property
    def depth(self) -> Int[Tensor, " cells"]:
        """Number of open peaks of each cell."""
        return self.begin.diff()

    @property
    def begin(self) -> Int[Tensor, " cells_plus_1"]:
        """Position in the lists where each cell begins: ``indptr`` of the CSR matrix."""
        return torch.searchsorted(self.cell, torch.arange(self.n_cells + 1))

    def only(self, peaks: Int[Tensor, " chosen"]) -> OpenPeaks:
        """Keep the columns ``peaks`` (ascending) of x, renumbered from 0."""
        new = torch.full((self.n_peaks + 1,), -1, device=peaks.device)
        new[peaks] = torch.arange(len(peaks), device=peaks.device)
        peak = new.index_select(0, self.peak)
        return replace(self, peak=peak, n_peaks=len(peaks)).where(peak >= 0)

    def where(self, keep: Bool[Tensor, " ones"]) -> OpenPeaks:
        """Drop the ones for which ``keep`` is false."""
        kept = torch.from_numpy(np.flatnonzero(keep))  # several times faster than Tensor.nonzero
        return replace(self, cell=self.cell.index_select(0, kept), peak=self.peak.index_select(0, kept))

    def dense(self) -> Float[Tensor, "cells peaks"]:
        """Convert to a dense matrix of 0. and 1."""
        x = torch.zeros(self.n_cells, self.n_peaks + 1, device=self.peak.device)
        x[self.cell, self.peak] = 1.0
        return x[:, :-1]


@dataclass(frozen=True)
class PaddedPeaks(OpenPeaks):
    """`OpenPeaks` whose lists also hold padding: entries with ``peak == n_peaks``."""

    @property
    def depth(self) -> Int[Tensor, " cells"]:
        """Number of open peaks of each cell."""
        ends = torch.searchsorted(self.cell, torch.arange(self.n_cells, device=self.cell.device), right=True)
        n_so_far = torch.cat([ends.new_zeros(1), (self.peak < self.n_peaks).cumsum(0)])
        return n_so_far[ends].diff(prepend=ends.new_zeros(1))

    def where(self, keep: Bool[Tensor, " ones"]) -> PaddedPeaks:
        """Turn the ones for which ``keep`` is false into padding; the length stays."""
        return replace(self, peak=self.peak.masked_fill(~keep, self.n_peaks))


@dataclass(frozen=True)
class SparseRows:
    """x of all cells in the host's memory, as CSR without values, to take mini-batches from."""

    indptr: Int[Tensor, " cells_plus_1"]
    indices: Int[Tensor, " ones"]
    n_peaks: int

    @classmethod
    def of(cls, x: PeaksInMemory) -> SparseRows:
        """Share the arrays of x as tensors, without a copy."""
        indices = np.require(x.indices, requirements="W")  # PyTorch refuses read-only arrays
        return cls(torch.from_numpy(x.indptr), torch.from_numpy(indices), x.n_peaks)

    def minibatches(self, minibatch_rows: Sequence[Int[Tensor, " rows"]]) -> Iterator[OpenPeaks]:
        """Take one mini-batch after another, each given by the positions of its cells."""
        return map(self.take, minibatch_rows)

    def take(self, rows: Int[Tensor, " rows"]) -> OpenPeaks:
        """Take the open peaks of the cells at positions ``rows``."""
        start = self.indptr[rows]
        length = self.indptr[rows + 1] - start
        cell = torch.from_numpy(np.arange(len(rows)).repeat(length))
        runs = zip(start.tolist(), (start + length).tolist(), strict=True)
        peak = torch.cat([self.indices[:0], *(self.indices[a:b] for a, b in runs)])
        return OpenPeaks(cell, peak.long(), len(rows), self.n_peaks)


@dataclass(frozen=True)
class PaddedRows:
    """x of all cells in a GPU's memory, as CSR without values; it gives `PaddedPeaks`."""

    indptr: Int[Tensor, " cells_plus_1"]
    indices: Int[Tensor, " ones"]
    n_peaks: int
    #: open peaks of each cell, in the host's memory
    depth: Int[Tensor, " cells"]

    @classmethod
    def of(cls, rows: SparseRows, device: torch.device) -> PaddedRows:
        """Copy to the device."""
        indptr, indices = rows.indptr.to(device), rows.indices.to(device)
        return cls(indptr, indices, rows.n_peaks, rows.indptr.diff())

    def minibatches(self, minibatch_rows: Sequence[Int[Tensor, " rows"]]) -> Iterator[PaddedPeaks]:
        """Take one mini-batch after another, each given by the positions of its cells, in the host's memory."""
        for rows in minibatch_rows:
            yield self.take(rows.to(self.indptr.device), self.n_ones(rows))

    def n_ones(self, rows: Int[Tensor, " rows"]) -> int:
        """Count the open peaks of the cells at positions ``rows``, given in the host's memory."""
        return int(self.depth[rows].sum())

    def take(self, rows: Int[Tensor, " rows"], length: int) -> PaddedPeaks:
        """Take the open peaks of the cells at positions ``rows``, given on the device, padded to ``length`` entries."""
        start = self.indptr[rows]
        depth = self.indptr[rows + 1] - start
        ends = depth.cumsum(0)
        entry = torch.arange(length, device=rows.device)
        cell = torch.searchsorted(ends, entry, right=True)
        is_one = cell < len(rows)
        cell = cell.clamp(max=len(rows) - 1)
        at = (start - ends + depth)[cell] + entry
        peak = self.indices[at.masked_fill(~is_one, 0)].long()
        return PaddedPeaks(cell, peak.masked_fill(~is_one, self.n_peaks), len(rows), self.n_peaks)


#: x of all cells on the device
DeviceRows: TypeAlias = SparseRows | PaddedRows
