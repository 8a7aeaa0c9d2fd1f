"""What one step minimises, and the data it needs on the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sailerx import losses, padded
from sailerx.device import holds
from sailerx.minibatch import OpenPeaks, Part, Shard, SparseRows
from sailerx.model import VAE, sample
from sailerx.multiome import Multiome
from sailerx.on_disk import Accessibility, PeaksOnDisk
from sailerx.padded import PaddedRows
from sailerx.ranks import ALONE, Ranks
from sailerx.reader import FileRows, HostRows
from sailerx.schedules import LossWeights

#: columns of the history after `epoch`: the loss, its terms unweighted, then rate and speed
TERMS = ("reconstruction", "kl_prior", "kl_marginal", "alignment")


#: access to x by cells: on the device, in the host's memory, or in its file
Rows: TypeAlias = SparseRows | PaddedRows | HostRows | FileRows


def rows_of(x: Accessibility, device: torch.device) -> Rows:
    """Access to x by cells: on the device if it is in memory and fits there."""
    if isinstance(x, PeaksOnDisk):
        return FileRows(x, device)
    if not holds(device, x.n_bytes):
        warnings.warn(
            f"the open peaks ({x.n_bytes / 1e9:.1f} GB) do not fit into the GPU's memory beside the network: they stay in the "
            "host's, and each mini-batch is copied, which is slower.",
            stacklevel=2,
        )
        return HostRows(x, device)
    rows = SparseRows.of(x)
    return PaddedRows.of(rows, device) if padded.wanted(device) else rows


@dataclass(frozen=True)
class Minibatch:
    """What one step sees of its cells. Where several processes share a mini-batch, x and c are of the cells that are here."""

    x: OpenPeaks
    g: Float[Tensor, "cells reference"]
    c: Float[Tensor, "own_cells confounders"]
    w: Float[Tensor, " cells"]
    has_rna: Bool[Tensor, " cells"]
    part: Part


@dataclass(frozen=True)
class OnDevice:
    """What the loop reads of the training data, as tensors on one device; x may be in its file."""

    x: Rows
    g: Float[Tensor, "cells reference"]
    c: Float[Tensor, "cells confounders"]
    w: Float[Tensor, " cells"]
    has_rna: Tensor
    shard: Shard = Shard()

    @classmethod
    def from_multiome(cls, data: Multiome, device: torch.device, ranks: Ranks = ALONE) -> OnDevice:
        """Copy to the device; peaks stay sparse. Of x, only what this process reads."""
        g, c, w, has_rna = (
            torch.from_numpy(part).to(device) for part in (data.g, data.c, data.w, data.has_rna)
        )
        return cls(rows_of(ranks.read(data.x), device), g, c, w, has_rna, ranks.shard(data.depth, device))

    def minibatches(self, batches: Iterable[Int[Tensor, " minibatch"]]) -> Iterator[Minibatch]:
        """One mini-batch after the other, given the cells of each in the host's memory."""
        batches = list(batches)
        owned = [self.shard.own(rows) for rows in batches]
        read = self.x.minibatches([rows[own] for rows, own in zip(batches, owned, strict=True)])
        for rows, own, x in zip(batches, owned, read, strict=True):
            rows = rows.to(self.w.device)
            yield self.minibatch(rows, x, self.shard.part(rows, own, x))

    def minibatch(self, rows: Int[Tensor, " minibatch"], x: OpenPeaks, part: Part | None = None) -> Minibatch:
        """The mini-batch of these cells, given on the device, and of their open peaks."""
        part = part or Part.whole_of(x)
        return Minibatch(x, self.g[rows], self.c[rows[part.cell]], self.w[rows], self.has_rna[rows], part)


def minibatch_loss(
    vae: VAE,
    cells: Minibatch,
    weights: LossWeights,
    noise: torch.Generator,
    peaks: Int[Tensor, " some"] | None = None,
    thinning: tuple[float, float] = (0.0, 1.0),
) -> tuple[Float[Tensor, ""], list[Float[Tensor, ""]]]:
    """Loss of one mini-batch and its unweighted terms (detached, in the order of `TERMS`).

    With ``peaks``, a random share of them, the reconstruction is estimated from these alone, without bias. ``thinning``:
    a random share of the cells, and the share of their open peaks that the encoder then sees.

    Where several processes share the mini-batch, this is the loss of the whole, the same in each: posteriors are gathered,
    and the reconstruction of the cells here is added to that of the others.
    """
    x, part = cells.x, cells.part
    share, kept = thinning
    posterior = vae.encode(x.thinned(share, kept, noise, part) if share else x)
    mean, std = part.gathered(posterior.mean, posterior.stddev)
    z = sample(posterior, noise, part)
    shown = x if peaks is None else x.only(peaks)
    summed = part.summed(vae.reconstruction_loss(z, cells.c, shown, peaks, weights.positive_weight))
    reconstruction = summed / part.n_cells * (x.n_peaks / shown.n_peaks)
    kl_prior = losses.kl_to_prior(mean, std).mean()
    kl_marginal = losses.kl_to_marginal(mean, std)
    alignment = losses.local_loss(cells.g, mean, _pair_weights(cells, weights.weighted_cells))
    loss = (
        weights.reconstruction * reconstruction
        + weights.prior * kl_prior
        + weights.marginal * kl_marginal
        + weights.alignment * alignment
    )
    return loss, [term.detach() for term in (reconstruction, kl_prior, kl_marginal, alignment)]


def _pair_weights(cells: Minibatch, weighted: bool) -> Float[Tensor, " cells"]:
    """What L_Local weighs cells by: 0 without RNA, else 1 or w, and all that makes it the mean over pairs of cells with RNA."""
    paired = cells.has_rna.to(cells.w.dtype)
    scale = len(paired) / paired.sum().clamp(min=1)
    return paired * scale * (cells.w if weighted else 1)
