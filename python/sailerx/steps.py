"""The steps of the optimiser, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.config import Settings
from sailerx.minibatch import random_peaks
from sailerx.objective import TERMS, Minibatch, OnDevice, minibatch_loss
from sailerx.ranks import Ranks
from sailerx.run import Run
from sailerx.schedules import LossWeights, learning_rate, loss_weights

#: a step that reconstructs fewer peaks than this learns too little from them
FEWEST_PEAKS = 1000


class Steps:
    """The steps of a run."""

    def __init__(self, run: Run, cells: OnDevice, settings: Settings, ranks: Ranks) -> None:
        self.run, self.cells, self.settings, self.ranks = run, cells, settings, ranks
        #: of all peaks, those that a step reconstructs
        self.peak_share = max(settings.peak_share, FEWEST_PEAKS / cells.x.n_peaks)

    def epoch(self, epoch: int, batches: Sequence[Int[Tensor, " cells"]]) -> Float[Tensor, "steps terms"]:
        """A step for each mini-batch, given by its cells; its loss and the terms of that, not waited for."""
        terms = torch.empty(len(batches), 1 + len(TERMS), device=self.cells.w.device)
        for step, minibatch in enumerate(self.cells.minibatches(batches)):
            now = epoch + step / len(batches)
            for group in self.run.optimizer.param_groups:
                group["lr"] = learning_rate(now, self.settings)
            terms[step] = self.step(minibatch, loss_weights(now, self.settings, self.cells.x.n_peaks))
        return terms

    def step(self, minibatch: Minibatch, weights: LossWeights) -> Float[Tensor, " terms"]:
        """Loss, gradient, step; gives the loss and its terms."""
        run = self.run
        peaks = random_peaks(minibatch.x.n_peaks, self.peak_share, run.noise)
        loss, parts = minibatch_loss(run.vae, minibatch, weights, run.noise, peaks, self.settings.thinning)
        run.optimizer.zero_grad()
        loss.backward()
        self.ranks.average_gradients(run.vae, peaks)
        run.optimizer.step()
        return torch.stack([loss.detach(), *parts])
