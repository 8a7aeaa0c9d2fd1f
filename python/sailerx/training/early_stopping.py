"""Early stopping by the loss of held-out cells.

If all cells have RNA, the network beside the joint embedding is there to impute, and its loss on held-out cells is the reconstruction
term alone: the alignment of z, which weighs most in the whole loss, still improves when imputation has long become worse. It is the
whole loss where z is the embedding, and in hybrid training, where what alignment teaches is all that cells without RNA get of RNA.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sailerx.config import Settings, known
from sailerx.data.multiome import Multiome
from sailerx.minibatches.loader import OnDevice
from sailerx.minibatches.sampler import random_peaks
from sailerx.network.objective import minibatch_loss
from sailerx.network.schedules import LossWeights, loss_weights
from sailerx.network.vae import VAE

#: share of itself by which a loss must be lower to have fallen: a run that creeps on for less ends
LEAST_FALL = 1e-3


def held_out(n_cells: int, share: float, seed: int) -> Bool[Tensor, " cells"]:
    """Draw the cells that are held out of training: a random ``share`` of them, fixed by the seed."""
    order = torch.randperm(n_cells, generator=torch.Generator().manual_seed(seed))
    return order < round(share * n_cells)


@dataclass(frozen=True)
class Watch:
    """The held-out cells of a run: their loss after each epoch, the best epoch, and when to stop."""

    on_device: OnDevice
    #: positions of the held-out cells
    rows: Int[Tensor, " held"]
    #: loss weights of the end of the run, so that epochs can be compared; or of the reconstruction alone, see above
    weights: LossWeights
    peak_share: float
    settings: Settings
    seed: int

    @classmethod
    def over(
        cls, data: Multiome, on_device: OnDevice, settings: Settings, peak_share: float, seed: int
    ) -> Watch | None:
        """Hold out ``settings.held_out_share`` of the cells; None if that is no cell."""
        rows = held_out(data.n_cells, settings.held_out_share, seed).nonzero().view(-1)
        if len(rows) == 0:
            return None
        full = dataclasses.replace(settings, kl_cycle_epochs=0)
        weights = loss_weights(float(settings.n_epochs), full, data.n_peaks)
        if settings.joint_embedding and data.has_rna.all():
            no_marginal = None if weights.marginal is None else 0.0
            weights = weights._replace(prior=0.0, marginal=no_marginal, alignment=0.0)
        weights = weights._replace(decoder=None)  # of the network, not of cells
        return cls(on_device, rows, weights, peak_share, settings, seed)

    @torch.no_grad()
    def loss(self, vae: VAE) -> float:
        """Compute the mean loss of the held-out cells, with equal random peaks and noise at each call."""
        noise = torch.Generator(self.on_device.w.device).manual_seed(self.seed)
        peaks = random_peaks(self.on_device.x.n_peaks, self.peak_share, noise)
        vae.eval()
        minibatch_rows = self.rows.split(self.settings.minibatch_size)
        losses = [
            minibatch_loss(vae, minibatch, self.weights, noise, peaks)[0]
            for minibatch in self.on_device.minibatches(minibatch_rows)
        ]
        vae.train()
        total = sum(loss * len(rows) for loss, rows in zip(losses, minibatch_rows, strict=True))
        return float(total / len(self.rows))

    def best_epoch(self, history: list[dict[str, float]]) -> int:
        """Find the first epoch after the warm-up with the lowest held-out loss."""
        return int(min(self._after_warmup(history), key=lambda record: record["held_out"])["epoch"])

    def last_fall(self, history: list[dict[str, float]]) -> int:
        """Find the last epoch whose held-out loss was lower by `LEAST_FALL` than that of the last such epoch before it."""
        first, *rest = self._after_warmup(history)
        for record in rest:
            if record["held_out"] < first["held_out"] - LEAST_FALL * abs(first["held_out"]):
                first = record
        return int(first["epoch"])

    def _after_warmup(self, history: list[dict[str, float]]) -> list[dict[str, float]]:
        return [record for record in history if record["epoch"] >= self.settings.warmup_epochs] or history

    def in_words(self, history: list[dict[str, float]]) -> str:
        """Say in one line which epoch's network is kept, and why; epochs are counted from 1."""
        n_epochs, best = len(history), self.best_epoch(history) + 1
        ended = f"ended early, after epoch {n_epochs}: " if n_epochs < self.settings.n_epochs else ""
        return f"{ended}the network of epoch {best} is kept, the best one for the {len(self.rows)} cells held out of training"

    def says_stop(self, history: list[dict[str, float]]) -> bool:
        """Tell whether `patience` epochs have passed since the loss last fell."""
        return bool(history) and history[-1]["epoch"] - self.last_fall(history) >= known(
            self.settings.patience
        )
