"""Checkpoints: what a run needs to go on where it was, in one file that is replaced whole."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sailerx.config import Settings
from sailerx.errors import InputError
from sailerx.multiome import Multiome

#: version of the file's layout
_VERSION = "1"


class Resumable(Protocol):
    """A run that can be stopped between two epochs and go on later."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that changes while it trains."""

    def records(self) -> list[dict[str, float]]:
        """One record per finished epoch."""

    def go_on_from(self, tensors: dict[str, torch.Tensor], records: list[dict[str, float]]) -> None:
        """Take over what the two above gave."""


@dataclass
class Checkpoints:
    """Writes a run's state now and then, and finds it again.

    Parameters
    ----------
    path
        The file.
    fingerprint
        What the run is about, from `fingerprint`; a file of another run is refused.
    epochs, minutes
        How often: after so many epochs, or after the first epoch that ends so many minutes after the last time.
    resume
        Whether `restore` looks at the file at all.
    """

    path: Path
    fingerprint: str
    epochs: int | None = 10
    minutes: float | None = None
    resume: bool = True
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Refuse what would fail only once hours have passed."""
        if not self.path.absolute().parent.is_dir():
            raise InputError(f"the folder of the checkpoint {self.path} must exist. Make it first.")
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"`checkpoint_epochs` must be at least 1, got {self.epochs!r}.")

    def after_epoch(self, run: Resumable, n_done: int, n_epochs: int) -> None:
        """Write the state if it is time to, and always after the last epoch."""
        due = (
            n_done == n_epochs
            or (self.epochs is not None and n_done % self.epochs == 0)
            or (self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes)
        )
        if due:
            self.write(run)
            self._last = time.monotonic()

    def write(self, run: Resumable) -> None:
        """Replace the file by the run's state as it is now."""
        about = {
            "sailerx_checkpoint": _VERSION,
            "fingerprint": self.fingerprint,
            "records": json.dumps(run.records()),
        }
        # one name for all attempts: what a killed run left half written, the next one writes over
        temporary = self.path.with_name(f".{self.path.name}.part")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in run.tensors().items()}
        try:
            save_file(tensors, temporary, about)
            os.replace(temporary, self.path)
        except (SafetensorError, OSError) as error:  # a full disk, most often
            if temporary.is_file():
                temporary.unlink()
            raise OSError(f"the checkpoint {self.path} could not be written: {error}") from error

    def restore(self, run: Resumable) -> bool:
        """Let the run go on from the file; False if there is none, or resuming was not asked for.

        Raises
        ------
        InputError
            If the file is no checkpoint, is damaged, or belongs to another run.
        """
        if not (self.resume and self.path.exists()):
            return False
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{self.path} is not a whole checkpoint ({error}). Delete it or name another file."
            ) from error
        if about.get("sailerx_checkpoint") != _VERSION or about.get("fingerprint") != self.fingerprint:
            raise InputError(
                f"{self.path} must be a checkpoint of this run, but it was written for other data, settings or seed, or by "
                "another version. Delete it, name another file, or start anew without resuming."
            )
        run.go_on_from(tensors, json.loads(about["records"]))
        return True


def fingerprint(data: Multiome, settings: Settings, seed: int) -> str:
    """A digest of all that decides a run's result: cells, peaks, reference, weights, confounders, settings and seed."""
    digest = hashlib.sha256()
    about: dict[str, Any] = {"settings": asdict(settings), "seed": seed, "blocks": data.blocks}
    about["buffers"] = data.n_buffers
    digest.update(json.dumps(about, sort_keys=True).encode())
    indices = (block.indices.astype(np.int32) for block in data.x.blocks())
    for array in chain([data.depth.astype(np.int64)], indices, [data.g, data.w, data.c, data.has_rna]):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
