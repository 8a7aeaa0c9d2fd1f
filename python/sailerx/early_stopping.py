"""Early stopping by the loss of cells that are not trained on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sailerx.config import Settings
from sailerx.minibatch import random_peaks
from sailerx.model import VAE
from sailerx.multiome import Multiome
from sailerx.objective import OnDevice, minibatch_loss
from sailerx.schedules import LossWeights, loss_weights


def held_out(n_cells: int, share: float, seed: int) -> Bool[Tensor, " cells"]:
    """Which cells are not trained on: a random share, the same for the same seed."""
    order = torch.randperm(n_cells, generator=torch.Generator().manual_seed(seed))
    return order < round(share * n_cells)


@dataclass(frozen=True)
class Watch:
    """Early stopping: the loss of cells that are not trained on, with the weights of the end of the run."""

    cells: OnDevice
    rows: Int[Tensor, " held"]
    weights: LossWeights
    peak_share: float
    settings: Settings
    seed: int

    @classmethod
    def over(
        cls, data: Multiome, cells: OnDevice, settings: Settings, peak_share: float, seed: int
    ) -> Watch | None:
        """A watch over the held-out cells of a run; None if there are none."""
        rows = held_out(data.n_cells, settings.held_out_share, seed).nonzero().view(-1)
        if len(rows) == 0:
            return None
        full = dataclasses.replace(settings, kl_cycle_epochs=0)
        weights = loss_weights(float(settings.n_epochs), full, data.n_peaks)
        return cls(cells, rows, weights, peak_share, settings, seed)

    @torch.no_grad()
    def loss(self, vae: VAE) -> float:
        """Loss of the held-out cells, with the same peaks and noise each time."""
        noise = torch.Generator(self.cells.w.device).manual_seed(self.seed)
        peaks = random_peaks(self.cells.x.n_peaks, self.peak_share, noise)
        vae.eval()
        parts = self.rows.split(self.settings.minibatch_size)
        losses = [
            minibatch_loss(vae, cells, self.weights, noise, peaks)[0]
            for cells in self.cells.minibatches(parts)
        ]
        vae.train()
        return float(sum(loss * len(rows) for loss, rows in zip(losses, parts, strict=True)) / len(self.rows))

    def best_epoch(self, history: list[dict[str, float]]) -> int:
        """The epoch with the lowest loss of the held-out cells, the first of several; the warm-up does not count."""
        after = [record for record in history if record["epoch"] >= self.settings.warmup_epochs] or history
        return int(min(after, key=lambda record: record["held_out"])["epoch"])

    def says_stop(self, history: list[dict[str, float]]) -> bool:
        """Whether it has been long since the best epoch."""
        return bool(history) and history[-1]["epoch"] - self.best_epoch(history) >= self.settings.patience
