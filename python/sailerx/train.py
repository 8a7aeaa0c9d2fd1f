"""The training loop. One for every kind of run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx import losses
from sailerx.config import Settings
from sailerx.minibatch import SparseRows, random_peaks, shuffled_minibatches, steps_per_epoch
from sailerx.model import VAE, sample
from sailerx.multiome import Multiome
from sailerx.progress import Progress
from sailerx.schedules import LossWeights, learning_rate, loss_weights

#: columns of the history after `epoch`: the loss, its terms unweighted, then rate and speed
TERMS = ("reconstruction", "kl_prior", "kl_marginal", "alignment")

#: a step that reconstructs fewer peaks than this learns too little from them
FEWEST_PEAKS = 1000


@dataclass(frozen=True)
class OnDevice:
    """What the loop reads of the training data, as tensors on one device."""

    x: SparseRows
    g: Float[Tensor, "cells reference"]
    c: Float[Tensor, "cells confounders"]
    w: Float[Tensor, " cells"]
    has_rna: Tensor

    @classmethod
    def from_multiome(cls, data: Multiome, device: torch.device) -> OnDevice:
        """Copy to the device; peaks stay sparse."""
        g, c, w, has_rna = (
            torch.from_numpy(part).to(device) for part in (data.g, data.c, data.w, data.has_rna)
        )
        return cls(SparseRows.from_scipy(data.x, device), g, c, w, has_rna)


def train(
    data: Multiome, settings: Settings, *, seed: int, device: torch.device, progress: Progress
) -> tuple[VAE, pd.DataFrame]:
    """Train a model on one data set.

    Parameters
    ----------
    data
        Validated cells.
    settings
        Constants of the run.
    seed
        Fixes initial weights, order of cells and noise. Two CPU runs with one seed and thread count are bit-identical.
    device
        Where to compute.
    progress
        Told after each epoch.

    Returns
    -------
    The trained network in evaluation mode, and the history: one row per epoch with ``loss`` (weighted as trained),
    its terms in nats per cell (alignment: per pair of cells), ``learning_rate``, ``annealing``, ``seconds`` and ``cells_per_second``.

    Raises
    ------
    FloatingPointError
        When the loss stops being a number.
    """
    generator = torch.Generator().manual_seed(seed)
    vae = VAE.from_settings(data.blocks, data.c.shape[1], settings, generator)
    if settings.start_from_frequency:
        vae.to_peaks.start_from(torch.from_numpy(data.frequency))
    vae.to(device)
    noise = torch.Generator(device).manual_seed(seed)
    cells = OnDevice.from_multiome(data, device)
    optimizer = torch.optim.Adam(
        vae.parameters(),
        settings.learning_rate,
        eps=settings.adam_eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    n_steps = steps_per_epoch(data.n_cells, settings.minibatch_size)
    share = max(settings.peak_share, FEWEST_PEAKS / data.n_peaks)
    history = []
    vae.train()
    for epoch in range(settings.n_epochs):
        start, sums = time.perf_counter(), torch.zeros(1 + len(TERMS), device=device)
        for step, rows in enumerate(shuffled_minibatches(data.n_cells, settings.minibatch_size, generator)):
            now = epoch + step / n_steps
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(now, settings)
            weights = loss_weights(now, settings, data.n_peaks)
            peaks = random_peaks(data.n_peaks, share, noise)
            loss, terms = minibatch_loss(vae, cells, rows.to(device), weights, noise, peaks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sums += torch.stack([loss.detach(), *terms])
        record = _record(sums / n_steps, epoch, settings, time.perf_counter() - start, n_steps, data.n_cells)
        _refuse_nan(record, epoch)
        history.append(record)
        progress.update(epoch + 1, record)
    progress.close()
    return vae.eval(), pd.DataFrame(history)


def minibatch_loss(
    vae: VAE,
    cells: OnDevice,
    rows: Int[Tensor, " minibatch"],
    weights: LossWeights,
    noise: torch.Generator,
    peaks: Int[Tensor, " some"] | None = None,
) -> tuple[Float[Tensor, ""], list[Float[Tensor, ""]]]:
    """Loss of one mini-batch and its unweighted terms (detached, in the order of `TERMS`).

    With ``peaks``, a random share of them, the reconstruction is estimated from these alone, without bias.
    """
    x = cells.x.take(rows)
    posterior = vae.encode(x)
    mean, std = posterior.mean, posterior.stddev
    z = sample(posterior, noise)
    shown = x if peaks is None else x.only(peaks)
    paired = cells.has_rna[rows]
    g, w = cells.g[rows][paired], cells.w[rows][paired]
    summed = vae.reconstruction_loss(z, cells.c[rows], shown, peaks, weights.positive_weight)
    reconstruction = summed / x.n_cells * (x.n_peaks / shown.n_peaks)
    kl_prior = losses.kl_to_prior(mean, std).mean()
    kl_marginal = losses.kl_to_marginal(mean, std)
    alignment = losses.local_loss(g, mean[paired], w if weights.weighted_cells else torch.ones_like(w))
    loss = (
        weights.reconstruction * reconstruction
        + weights.prior * kl_prior
        + weights.marginal * kl_marginal
        + weights.alignment * alignment
    )
    return loss, [term.detach() for term in (reconstruction, kl_prior, kl_marginal, alignment)]


def _record(
    means: Tensor, epoch: int, settings: Settings, seconds: float, n_steps: int, n_cells: int
) -> dict[str, float]:
    loss, *terms = means.tolist()
    weights = loss_weights(epoch + 0.5, settings, 1)
    n_seen = n_steps * min(settings.minibatch_size, n_cells)
    return {
        "epoch": epoch,
        "loss": loss,
        **dict(zip(TERMS, terms, strict=True)),
        "learning_rate": learning_rate(epoch + 0.5, settings),
        "annealing": weights.prior,
        "seconds": seconds,
        "cells_per_second": n_seen / seconds,
    }


def _refuse_nan(record: dict[str, float], epoch: int) -> None:
    bad = [
        name for name in ("loss", *TERMS) if record[name] != record[name] or abs(record[name]) == float("inf")
    ]
    if bad:
        raise FloatingPointError(
            f"training stopped in epoch {epoch + 1}: {', '.join(bad)} is no longer a finite number. A lower `learning_rate` "
            "(for example a third of it) usually helps."
        )
