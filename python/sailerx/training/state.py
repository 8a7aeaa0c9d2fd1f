"""The training state: everything that changes while a run trains, and that a checkpoint holds."""

from __future__ import annotations

import torch
from torch import Tensor

from sailerx.config import Settings
from sailerx.data.atac_scores import AtacScores
from sailerx.data.lsi import lsi_weights
from sailerx.data.multiome import Multiome
from sailerx.network.vae import VAE
from sailerx.training.adam import Adam
from sailerx.training.distributed.ranks import ALONE, Ranks


class TrainingState:
    """Network, optimiser, random generators and history of a run."""

    def __init__(
        self,
        data: Multiome,
        settings: Settings,
        seed: int,
        device: torch.device,
        ranks: Ranks = ALONE,
        scores: AtacScores | None = None,
    ) -> None:
        #: draws the initial weights, then the order of cells
        self.order = torch.Generator().manual_seed(seed)
        self.vae = VAE.from_settings(data.blocks, data.c.shape[1], settings, self.order)
        if settings.start_from_frequency:
            self.vae.to_peaks.start_from(torch.from_numpy(data.frequency))
        if settings.decoder_decay:
            self.vae.to_peaks.start_at_prior()
        if settings.start_from_lsi and ranks.is_first:  # its weights are then sent to the other processes
            directions = lsi_weights(data.x, settings.n_hidden, seed)
            self.vae.from_peaks.start_from(torch.from_numpy(directions))
        if self.vae.private is not None and scores is not None:
            self.vae.private.start_from(scores)
        self.vae.to(device)
        #: draws samples of z, peaks and thinning, on the device
        self.noise = torch.Generator(device).manual_seed(seed)
        self.optimizer = Adam(
            self.vae.parameters(),
            settings.learning_rate,
            eps=settings.adam_eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        #: one record per finished epoch
        self.history: list[dict[str, float]] = []
        #: with early stopping, the network's state at the lowest held-out loss
        self.best: dict[str, Tensor] = {}

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def tensors(self) -> dict[str, Tensor]:
        """Collect all tensors of the state by name: weights, Adam's moments, best weights, generator states."""
        moments = {
            f"optimizer.{i}.{name}": value
            for i, of_parameter in self.optimizer.state_dict()["state"].items()
            for name, value in of_parameter.items()
        }
        network = {f"network.{name}": value for name, value in self.vae.state_dict().items()}
        return {
            **network,
            **moments,
            **{f"best.{name}": value for name, value in self.best.items()},
            "random.order": self.order.get_state(),
            "random.noise": self.noise.get_state(),
        }

    def load(self, tensors: dict[str, Tensor], history: list[dict[str, float]]) -> None:
        """Restore a state from what `tensors` returned and the history."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", tensors).items():
            i, moment = name.split(".")
            moments.setdefault(int(i), {})[moment] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.vae.load_state_dict(_under("network.", tensors))
        self.best = _under("best.", tensors)
        self.order.set_state(tensors["random.order"])
        if len(tensors["random.noise"]) == len(self.noise.get_state()):
            self.noise.set_state(tensors["random.noise"])
        else:  # saved on another kind of device; this device's generator cannot take that state
            self.noise.manual_seed(self.noise.initial_seed() + len(history))
        self.history = list(history)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Select the tensors whose name begins with ``prefix``, and strip it from their names."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
