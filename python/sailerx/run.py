"""What changes while a model trains."""

from __future__ import annotations

import torch
from torch import Tensor

from sailerx.config import Settings
from sailerx.lsi import lsi_weights
from sailerx.model import VAE
from sailerx.multiome import Multiome
from sailerx.ranks import ALONE, Ranks


class Run:
    """Network, optimiser, random numbers and history of a run."""

    def __init__(
        self, data: Multiome, settings: Settings, seed: int, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        self.order = torch.Generator().manual_seed(seed)
        self.vae = VAE.from_settings(data.blocks, data.c.shape[1], settings, self.order)
        if settings.start_from_frequency:
            self.vae.to_peaks.start_from(torch.from_numpy(data.frequency))
        if settings.start_from_lsi and ranks.is_first:  # the others are given its state
            directions = lsi_weights(data.x, settings.n_hidden, seed)
            self.vae.from_peaks.start_from(torch.from_numpy(directions))
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
        #: network at the lowest loss of the held-out cells
        self.best: dict[str, Tensor] = {}

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
            **{f"best.{name}": value for name, value in self.best.items()},
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
        self.vae.load_state_dict(_under("network.", tensors))
        self.best = _under("best.", tensors)
        self.order.set_state(tensors["random.order"])
        if len(tensors["random.noise"]) == len(self.noise.get_state()):
            self.noise.set_state(tensors["random.noise"])
        else:  # it was drawn on another kind of device, whose random numbers are others
            self.noise.manual_seed(self.noise.initial_seed() + len(records))
        self.history = list(records)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins so, without that beginning."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
