"""Sparse x: the ones of a mini-batch, and all cells as CSR rows that mini-batches are taken from.

On a CPU a mini-batch is CSR without values (`CsrPeaks`, taken from `SparseRows`). On a GPU the host must know the length of its lists
without asking the device, and a CUDA graph needs one length for all replays, so they are padded (`PaddedPeaks`, `PaddedRows`): an
entry with ``peak == n_peaks`` is padding. `sailerx.kernels.peak_layers.rows_on` chooses by device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sailerx.data.accessibility import PeaksInMemory
from sailerx.kernels.numba_loops import copy_rows, keep_columns, thin_rows
from sailerx.kernels.random_bits import random_bits
from sailerx.threads import parts_of, share_out


@dataclass(frozen=True)
class OpenPeaks(ABC):
    """x of the cells of a mini-batch, 0/1, as the positions of its ones, sorted by cell, then by peak."""

    peak: Int[Tensor, " ones"]
    n_cells: int
    n_peaks: int

    @property
    @abstractmethod
    def depth(self) -> Int[Tensor, " cells"]:
        """Number of open peaks of each cell."""

    @abstractmethod
    def only(self, peaks: Int[Tensor, " chosen"]) -> OpenPeaks:
        """Keep the columns ``peaks`` (ascending) of x, renumbered from 0."""

    @abstractmethod
    def thinned(
        self, is_thinned: Bool[Tensor, " cells"], key: Int[Tensor, " cells"], share: float
    ) -> OpenPeaks:
        """Keep about a ``share`` of the ones of each thinned cell: those whose `random_bits` by the cell's key are lowest."""

    @abstractmethod
    def dense(self) -> Float[Tensor, "cells peaks"]:
        """Convert to a dense matrix of 0. and 1."""


@dataclass(frozen=True)
class CsrPeaks(OpenPeaks):
    """Open peaks in the host's memory, as CSR without values."""

    #: position in ``peak`` where each cell begins, and where the last one ends: ``indptr``
    begin: Int[Tensor, " cells_plus_1"]

    @property
    def depth(self) -> Int[Tensor, " cells"]:
        """Number of open peaks of each cell."""
        return self.begin.diff()

    @property
    def cell(self) -> Int[Tensor, " ones"]:
        """Cell of each one."""
        return torch.arange(self.n_cells).repeat_interleave(self.depth)

    def of_cells(self, chosen: Bool[Tensor, " cells"]) -> CsrPeaks:
        """Keep the rows of the chosen cells."""
        return SparseRows(self.begin, self.peak, self.n_peaks).take(chosen.nonzero().view(-1))

    def only(self, peaks: Int[Tensor, " chosen"]) -> CsrPeaks:
        """Keep the columns ``peaks`` (ascending) of x, renumbered from 0."""
        new = np.full(self.n_peaks, -1, np.int32)
        new[peaks.numpy()] = np.arange(len(peaks))
        kept, depth = torch.empty_like(self.peak), torch.empty_like(self.depth)

        def keep(parts: Iterator[range]) -> None:
            for part in parts:
                begin = self.begin[part.start : part.stop + 1].numpy()
                keep_columns(
                    self.peak.numpy(), begin, new, kept.numpy(), depth[part.start : part.stop].numpy()
                )

        parts = parts_of(self.n_cells)
        share_out(parts, keep, 4 * len(self.peak))  # looking up a column takes as long as four additions
        begin = _begin(depth)
        runs = [kept[self.begin[part.start] :][: begin[part.stop] - begin[part.start]] for part in parts]
        return CsrPeaks(torch.cat([kept[:0], *runs]), self.n_cells, len(peaks), begin)

    def thinned(
        self, is_thinned: Bool[Tensor, " cells"], key: Int[Tensor, " cells"], share: float
    ) -> CsrPeaks:
        """Keep a share of the ones of thinned cells, and copy those of the others."""
        peak, begin = torch.empty_like(self.peak), torch.empty_like(self.begin)
        given = self.peak.numpy(), self.begin.numpy(), is_thinned.numpy(), key.numpy(), _limit(share)
        n_kept = thin_rows(*given, peak.numpy(), begin.numpy())
        return replace(self, peak=peak[:n_kept], begin=begin)

    def dense(self) -> Float[Tensor, "cells peaks"]:
        """Convert to a dense matrix of 0. and 1."""
        x = torch.zeros(self.n_cells, self.n_peaks)
        x[self.cell, self.peak.long()] = 1.0
        return x


def _begin(depth: Int[Tensor, " cells"]) -> Int[Tensor, " cells_plus_1"]:
    """Compute ``indptr`` from the number of ones of each cell."""
    return torch.cat([depth.new_zeros(1), depth.cumsum(0)])


def _limit(share: float) -> int:
    """Compute the number below which a share of all 32-bit numbers lies."""
    return round(share * 2**32)


@dataclass(frozen=True)
class PaddedPeaks(OpenPeaks):
    """Open peaks as lists of cells and peaks (COO), with padding: entries with ``peak == n_peaks``."""

    cell: Int[Tensor, " entries"]

    @property
    def depth(self) -> Int[Tensor, " cells"]:
        """Number of open peaks of each cell."""
        ends = torch.searchsorted(self.cell, torch.arange(self.n_cells, device=self.cell.device), right=True)
        n_so_far = torch.cat([ends.new_zeros(1), (self.peak < self.n_peaks).cumsum(0)])
        return n_so_far[ends].diff(prepend=ends.new_zeros(1))

    def only(self, peaks: Int[Tensor, " chosen"]) -> PaddedPeaks:
        """Keep the columns ``peaks`` (ascending) of x, renumbered from 0; other ones become padding."""
        new = torch.full((self.n_peaks + 1,), len(peaks), device=peaks.device)
        new[peaks] = torch.arange(len(peaks), device=peaks.device)
        return replace(self, peak=new.index_select(0, self.peak), n_peaks=len(peaks))

    def thinned(
        self, is_thinned: Bool[Tensor, " cells"], key: Int[Tensor, " cells"], share: float
    ) -> PaddedPeaks:
        """Turn ones of thinned cells into padding; the length stays."""
        dropped = is_thinned[self.cell] & (random_bits(key[self.cell], self.peak) >= _limit(share))
        return replace(self, peak=self.peak.masked_fill(dropped, self.n_peaks))

    def dense(self) -> Float[Tensor, "cells peaks"]:
        """Convert to a dense matrix of 0. and 1."""
        x = torch.zeros(self.n_cells, self.n_peaks + 1, device=self.peak.device)
        x[self.cell, self.peak] = 1.0
        return x[:, :-1]


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

    def minibatches(self, minibatch_rows: Sequence[Int[Tensor, " rows"]]) -> Iterator[CsrPeaks]:
        """Take one mini-batch after another, each given by the positions of its cells."""
        return map(self.take, minibatch_rows)

    def whole(self) -> CsrPeaks:
        """Take the open peaks of all cells, without a copy."""
        return CsrPeaks(self.indices, len(self.indptr) - 1, self.n_peaks, self.indptr)

    def take(self, rows: Int[Tensor, " rows"]) -> CsrPeaks:
        """Take the open peaks of the cells at positions ``rows``."""
        start = self.indptr[rows]
        begin = _begin(self.indptr[rows + 1] - start)
        peak = self.indices.new_empty(int(begin[-1]))
        copy_rows(self.indices.numpy(), start.numpy(), begin.numpy(), peak.numpy())
        return CsrPeaks(peak, len(rows), self.n_peaks, begin)


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

    def whole(self) -> PaddedPeaks:
        """Take the open peaks of all cells, without padding."""
        rows = torch.arange(len(self.depth))
        return self.take(rows.to(self.indptr.device), self.n_ones(rows))

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
        return PaddedPeaks(peak.masked_fill(~is_one, self.n_peaks), len(rows), self.n_peaks, cell)


#: x of all cells on the device
DeviceRows: TypeAlias = SparseRows | PaddedRows
