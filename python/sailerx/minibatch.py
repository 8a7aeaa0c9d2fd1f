"""Mini-batches: which cells, and their peaks made dense only now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class OpenPeaks:
    """x of some cells as the positions of its ones, sorted by cell and then by peak; everything else is 0."""

    cell: Int[Tensor, " ones"]
    peak: Int[Tensor, " ones"]
    n_cells: int
    n_peaks: int

    def only(self, peaks: Int[Tensor, " some"]) -> OpenPeaks:
        """x of some peaks, given by ascending position; they are numbered anew."""
        new = torch.full((self.n_peaks,), -1, device=peaks.device)
        new[peaks] = torch.arange(len(peaks), device=peaks.device)
        peak = new[self.peak]
        kept = peak >= 0
        return OpenPeaks(self.cell[kept], peak[kept], self.n_cells, len(peaks))

    def dense(self) -> Float[Tensor, "cells peaks"]:
        """The same as a matrix of 0. and 1."""
        x = torch.zeros(self.n_cells, self.n_peaks, device=self.peak.device)
        x[self.cell, self.peak] = 1.0
        return x


@dataclass(frozen=True)
class SparseRows:
    """A 0/1 matrix of cells × peaks on a device, as the positions of its ones (CSR without data)."""

    indptr: Int[Tensor, " cells_plus_1"]
    indices: Int[Tensor, " ones"]
    n_peaks: int

    @classmethod
    def from_scipy(cls, x: sp.csr_matrix, device: torch.device) -> SparseRows:
        """Move the positions of a CSR matrix's entries, sorted within each row, to the device."""
        x = x if x.has_sorted_indices else x.sorted_indices()
        indptr = torch.from_numpy(x.indptr.astype(np.int64)).to(device)
        return cls(indptr, torch.from_numpy(x.indices.astype(np.int32)).to(device), x.shape[1])

    def take(self, rows: Int[Tensor, " rows"]) -> OpenPeaks:
        """The open peaks of these cells."""
        start = self.indptr[rows]
        length = self.indptr[rows + 1] - start
        cell = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), length)
        first = torch.cumsum(length, dim=0) - length  # where each row's entries start in the gathered list
        within = torch.arange(len(cell), device=rows.device) - first[cell]
        return OpenPeaks(cell, self.indices[start[cell] + within].long(), len(rows), self.n_peaks)


def random_peaks(n_peaks: int, share: float, generator: torch.Generator) -> Int[Tensor, " some"] | None:
    """A random share of the peaks, ascending, without replacement; None stands for all of them."""
    if share >= 1:
        return None
    n_some = max(1, round(share * n_peaks))
    return torch.randperm(n_peaks, generator=generator, device=generator.device)[:n_some].sort().values


def shuffled_minibatches(
    n_cells: int, size: int, generator: torch.Generator
) -> Iterator[Int[Tensor, " cells"]]:
    """One epoch: all cells in random order in mini-batches of one size; the last incomplete one is dropped.

    Which cells are left out changes from epoch to epoch. With fewer cells than ``size`` there is one mini-batch of all.
    """
    order = torch.randperm(n_cells, generator=generator)
    size = min(size, n_cells)
    yield from order[: n_cells // size * size].split(size)


def steps_per_epoch(n_cells: int, size: int) -> int:
    """How many mini-batches `shuffled_minibatches` yields."""
    return n_cells // min(size, n_cells)
