"""The training loop. One for every kind of run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx import losses
from sailerx.checkpoint import Checkpoints
from sailerx.config import Settings
from sailerx.minibatch import Sampler, SparseRows, random_peaks
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


class Run:
    """What changes while a model trains: network, optimiser, random numbers, history."""

    def __init__(self, data: Multiome, settings: Settings, seed: int, device: torch.device) -> None:
        self.order = torch.Generator().manual_seed(seed)
        self.vae = VAE.from_settings(data.blocks, data.c.shape[1], settings, self.order)
        if settings.start_from_frequency:
            self.vae.to_peaks.start_from(torch.from_numpy(data.frequency))
        self.vae.to(device)
        self.noise = torch.Generator(device).manual_seed(seed)
        self.optimizer = torch.optim.Adam(
            self.vae.parameters(),
            settings.learning_rate,
            eps=settings.adam_eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.history: list[dict[str, float]] = []

    def tensors(self) -> dict[str, Tensor]:
        """All of it but the history."""
        moments = {
            f"optimizer.{i}.{name}": value
            for i, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        network = {f"network.{name}": value for name, value in self.vae.state_dict().items()}
        return {
            **network,
            **moments,
            "random.order": self.order.get_state(),
            "random.noise": self.noise.get_state(),
        }

    def records(self) -> list[dict[str, float]]:
        """The history."""
        return self.history

    def go_on_from(self, tensors: dict[str, Tensor], records: list[dict[str, float]]) -> None:
        """Take over what `tensors` and `records` gave."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "optimizer":
                i, moment = rest.split(".")
                moments.setdefault(int(i), {})[moment] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        prefix = "network."
        self.vae.load_state_dict(
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        )
        self.order.set_state(tensors["random.order"])
        self.noise.set_state(tensors["random.noise"])
        self.history = list(records)


def sampler_of(data: Multiome, settings: Settings) -> Sampler:
    """The mini-batches of a run on these data."""
    return Sampler.of(torch.from_numpy(data.has_rna), settings.minibatch_size, settings.paired_share)


def train(
    data: Multiome,
    settings: Settings,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
) -> tuple[VAE, pd.DataFrame]:
    """Train a model on one data set.

    Parameters
    ----------
    data
        Validated cells; some may lack RNA.
    settings
        Constants of the run.
    seed
        Fixes initial weights, order of cells and noise. Two CPU runs with one seed and thread count are bit-identical.
    device
        Where to compute.
    progress
        Told after each epoch.
    checkpoints
        Where to write the state now and then; a run whose state is there goes on from it.

    Returns
    -------
    The trained network in evaluation mode, and the history: one row per epoch with ``loss`` (weighted as trained),
    its terms in nats per cell (alignment: per pair of cells), ``learning_rate``, ``annealing``, ``seconds`` and ``cells_per_second``.

    Raises
    ------
    FloatingPointError
        When the loss stops being a number; says in which step, and which term.
    """
    run = Run(data, settings, seed, device)
    if checkpoints is not None:
        checkpoints.restore(run)
    cells = OnDevice.from_multiome(data, device)
    sampler = sampler_of(data, settings)
    share = max(settings.peak_share, FEWEST_PEAKS / data.n_peaks)
    run.vae.train()
    for epoch in range(len(run.history), settings.n_epochs):
        start = time.perf_counter()
        terms = torch.empty(sampler.n_steps, 1 + len(TERMS), device=device)
        for step, rows in enumerate(sampler.epoch(run.order)):
            now = epoch + step / sampler.n_steps
            for group in run.optimizer.param_groups:
                group["lr"] = learning_rate(now, settings)
            weights = loss_weights(now, settings, data.n_peaks)
            peaks = random_peaks(data.n_peaks, share, run.noise)
            loss, parts = minibatch_loss(run.vae, cells, rows.to(device), weights, run.noise, peaks)
            run.optimizer.zero_grad()
            loss.backward()
            run.optimizer.step()
            terms[step] = torch.stack([loss.detach(), *parts])
        _refuse_nan(terms, epoch)
        record = _record(terms.mean(0), epoch, settings, time.perf_counter() - start, sampler)
        run.history.append(record)
        if checkpoints is not None:
            checkpoints.after_epoch(run, epoch + 1, settings.n_epochs)
        progress.update(epoch + 1, record)
    progress.close()
    return run.vae.eval(), pd.DataFrame(run.history)


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
    means: Tensor, epoch: int, settings: Settings, seconds: float, sampler: Sampler
) -> dict[str, float]:
    loss, *terms = means.tolist()
    weights = loss_weights(epoch + 0.5, settings, 1)
    return {
        "epoch": epoch,
        "loss": loss,
        **dict(zip(TERMS, terms, strict=True)),
        "learning_rate": learning_rate(epoch + 0.5, settings),
        "annealing": weights.prior,
        "seconds": seconds,
        "cells_per_second": sampler.n_steps * sum(sampler.sizes) / seconds,
    }


def _refuse_nan(terms: Float[Tensor, "steps terms"], epoch: int) -> None:
    """Stop at the first step of the epoch in which a term is not a finite number."""
    bad = ~terms.isfinite()
    if bad.any():
        step = int(bad.any(dim=1).nonzero()[0])
        names = [name for name, is_bad in zip(("loss", *TERMS), bad[step].tolist(), strict=True) if is_bad]
        raise FloatingPointError(
            f"training stopped in epoch {epoch + 1}, step {step + 1}: {', '.join(names)} is no longer a finite number. A "
            "lower `learning_rate` (for example a third of it) usually helps."
        )
