"""The training data on the device, and the mini-batches that a step sees."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

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

#: x of all cells: in the device's memory, in the host's, or in its file
Rows: TypeAlias = DeviceRows | HostRows | FileRows


def rows_of(x: Accessibility, device: torch.device) -> Rows:
    """x of all cells as near to the device as it fits: in its memory, in the host's, or where x is in a file, there."""
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
    """One mini-batch on the device. Where several processes share it, x and c are of the cells that are here."""

    x: OpenPeaks
    g: Float[Tensor, "cells reference"]
    c: Float[Tensor, "own_cells confounders"]
    w: Float[Tensor, " cells"]
    has_rna: Bool[Tensor, " cells"]
    part: Part


@dataclass(frozen=True)
class OnDevice:
    """The training data as tensors on one device; x may stay in the host's memory or in its file."""

    x: Rows
    g: Float[Tensor, "cells reference"]
    c: Float[Tensor, "cells confounders"]
    w: Float[Tensor, " cells"]
    has_rna: Tensor
    shard: Shard = Shard()

    @classmethod
    def from_multiome(
        cls, data: Multiome, device: torch.device, x: Accessibility | None = None, shard: Shard | None = None
    ) -> OnDevice:
        """Copy to the device. ``x`` and ``shard`` are what this process reads of the data; by default all."""
        g, c, w, has_rna = (
            torch.from_numpy(part).to(device) for part in (data.g, data.c, data.w, data.has_rna)
        )
        return cls(rows_of(data.x if x is None else x, device), g, c, w, has_rna, shard or Shard())

    def minibatches(self, batches: Iterable[Int[Tensor, " minibatch"]]) -> Iterator[Minibatch]:
        """One mini-batch after another, each given by its cells in the host's memory."""
        batches = list(batches)
        owned = [self.shard.own(rows) for rows in batches]
        read = self.x.minibatches([rows[own] for rows, own in zip(batches, owned, strict=True)])
        for rows, own, x in zip(batches, owned, read, strict=True):
            rows = rows.to(self.w.device)
            yield self.minibatch(rows, x, self.shard.part(rows, own, x))

    def minibatch(self, rows: Int[Tensor, " minibatch"], x: OpenPeaks, part: Part | None = None) -> Minibatch:
        """The mini-batch of these cells, given on the device, whose open peaks are x."""
        part = part or Part.whole_of(x)
        return Minibatch(x, self.g[rows], self.c[rows[part.cell]], self.w[rows], self.has_rna[rows], part)
