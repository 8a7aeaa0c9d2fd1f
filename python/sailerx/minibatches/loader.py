"""Put training data on the device, and assemble mini-batches from it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sailerx.data.accessibility import Accessibility, PeaksOnDisk
from sailerx.data.multiome import Multiome
from sailerx.device import holds
from sailerx.kernels import peak_layers
from sailerx.kernels.open_peaks import DeviceRows, OpenPeaks
from sailerx.minibatches.shards import Part, Shard
from sailerx.minibatches.streaming import FileRows, HostRows

#: x of all cells: in device memory, in host memory, or in its file
Rows: TypeAlias = DeviceRows | HostRows | FileRows


def rows_of(x: Accessibility, device: torch.device) -> Rows:
    """Hold x of all cells in device memory if it fits, else in host memory (with a warning); x in a file stays there."""
    if isinstance(x, PeaksOnDisk):
        return FileRows(x, device)
    if holds(device, x.n_bytes):
        return peak_layers.rows_on(x, device)
    warnings.warn(
        f"the open peaks ({x.n_bytes / 1e9:.1f} GB) do not fit into the GPU's memory beside the network: they stay in the "
        "host's, and each mini-batch is copied, which is slower.",
        stacklevel=2,
    )
    return HostRows(x, device)


@dataclass(frozen=True)
class Minibatch:
    """One mini-batch on the device; with several processes, x and c hold only the cells of this process, the rest all cells."""

    #: open peaks of this process's cells
    x: OpenPeaks
    #: RNA reference, rows of unit length
    g: Float[Tensor, "cells reference"]
    #: confounders of this process's cells
    c: Float[Tensor, "own_cells confounders"]
    #: alignment weights
    w: Float[Tensor, " cells"]
    #: whether each cell has RNA
    has_rna: Bool[Tensor, " cells"]
    #: this process's share of the mini-batch
    part: Part
    #: ATAC scores of this process's cells, one per private dimension; None = they are computed from x
    scores: Float[Tensor, "own_cells private"] | None = None


@dataclass(frozen=True)
class OnDevice:
    """Training data of all cells as tensors on one device; x may stay in host memory or in its file."""

    x: Rows
    g: Float[Tensor, "cells reference"]
    c: Float[Tensor, "cells confounders"]
    w: Float[Tensor, " cells"]
    has_rna: Tensor
    shard: Shard = Shard()
    #: ATAC scores, one per private dimension; None = they are computed from x when needed
    scores: Float[Tensor, "cells private"] | None = None

    @classmethod
    def from_multiome(
        cls,
        data: Multiome,
        device: torch.device,
        x: Accessibility | None = None,
        shard: Shard | None = None,
        scores: np.ndarray | None = None,
    ) -> OnDevice:
        """Copy training data to a device.

        Parameters
        ----------
        data
            The training data.
        device
            Where the tensors go.
        x
            The part of x that this process reads, with the shape of ``data.x``; by default ``data.x``.
        shard
            Assigns the cells of a mini-batch to processes; by default all to this one.
        scores
            ATAC scores of the cells for the private dimensions, cells × private.
        """
        g, c, w, has_rna = (
            torch.from_numpy(part).to(device) for part in (data.g, data.c, data.w, data.has_rna)
        )
        on_device = None if scores is None else torch.from_numpy(scores).to(device)
        rows = rows_of(data.x if x is None else x, device)
        return cls(rows, g, c, w, has_rna, shard or Shard(), on_device)

    def minibatches(self, batches: Iterable[Int[Tensor, " minibatch"]]) -> Iterator[Minibatch]:
        """Yield one `Minibatch` per element of ``batches``, which are positions of cells (CPU tensors)."""
        batches = list(batches)
        owned = [self.shard.own(rows) for rows in batches]
        read = self.x.minibatches([rows[own] for rows, own in zip(batches, owned, strict=True)])
        for rows, own, x in zip(batches, owned, read, strict=True):
            rows = rows.to(self.w.device)
            yield self.minibatch(rows, x, self.shard.part(rows, own))

    def minibatch(self, rows: Int[Tensor, " minibatch"], x: OpenPeaks, part: Part | None = None) -> Minibatch:
        """Assemble the mini-batch of the cells at ``rows`` (on the device), given their open peaks x."""
        part = part or Part(x.n_cells)
        own = rows[part.cell]
        scores = None if self.scores is None else self.scores[own]
        return Minibatch(x, self.g[rows], self.c[own], self.w[rows], self.has_rna[rows], part, scores)
