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
class SparseRows:
    """A 0/1 matrix of cells × peaks on a device, as the positions of its ones (CSR without data)."""

    indptr: Int[Tensor, " cells_plus_1"]
    indices: Int[Tensor, " ones"]
    n_peaks: int

    @classmethod
    def from_scipy(cls, x: sp.csr_matrix, device: torch.device) -> SparseRows:
        """Move the positions of a CSR matrix's entries to the device."""
        indptr = torch.from_numpy(x.indptr.astype(np.int64)).to(device)
        return cls(indptr, torch.from_numpy(x.indices.astype(np.int32)).to(device), x.shape[1])

    def dense(self, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows peaks"]:
        """These rows as a dense matrix of 0. and 1."""
        start = self.indptr[rows]
        length = self.indptr[rows + 1] - start
        row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), length)
        first = torch.cumsum(length, dim=0) - length  # where each row's entries start in the gathered list
        within = torch.arange(len(row), device=rows.device) - first[row]
        x = torch.zeros(len(rows), self.n_peaks, device=rows.device)
        x[row, self.indices[start[row] + within].long()] = 1.0
        return x


def shuffled_minibatches(n_cells: int, size: int, generator: torch.Generator) -> Iterator[Int[Tensor, " cells"]]:
    """One epoch: all cells in random order in mini-batches of one size; the last incomplete one is dropped.

    Which cells are left out changes from epoch to epoch. With fewer cells than ``size`` there is one mini-batch of all.
    """
    order = torch.randperm(n_cells, generator=generator)
    size = min(size, n_cells)
    yield from order[: n_cells // size * size].split(size)


def steps_per_epoch(n_cells: int, size: int) -> int:
    """How many mini-batches `shuffled_minibatches` yields."""
    return n_cells // min(size, n_cells)
