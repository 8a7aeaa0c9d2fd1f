"""Checkpoints: the state of a run in one safetensors file, from which the run is resumed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sailerx.config import Settings
from sailerx.data.multiome import Multiome
from sailerx.errors import InputError
from sailerx.training.state import TrainingState

#: version of the file's layout
_VERSION = "1"


@dataclass
class Checkpoints:
    """Writes the state of a run at intervals, and restores it.

    Parameters
    ----------
    path
        The file.
    fingerprint
        Identifies the run, see `fingerprint`; the file of another run is refused.
    epochs, minutes
        Intervals: every ``epochs`` epochs, and after the first epoch that ends ``minutes`` minutes after the last writing.
    resume
        Whether `restore` uses the file.
    """

    path: Path
    fingerprint: str
    epochs: int | None = 10
    minutes: float | None = None
    resume: bool = True
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Refuse now what would otherwise fail at the first writing."""
        if not self.path.absolute().parent.is_dir():
            raise InputError(f"the folder of the checkpoint {self.path} must exist. Make it first.")
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"`checkpoint_epochs` must be at least 1, got {self.epochs!r}.")

    def after_epoch(self, state: TrainingState, n_done: int, n_epochs: int) -> None:
        """Write the state if an interval has passed, and always after the last epoch."""
        due = (
            n_done == n_epochs
            or (self.epochs is not None and n_done % self.epochs == 0)
            or (self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes)
        )
        if due:
            self.write(state)
            self._last = time.monotonic()

    def write(self, state: TrainingState) -> None:
        """Replace the file by the state as it is now."""
        about = {
            "sailerx_checkpoint": _VERSION,
            "fingerprint": self.fingerprint,
            "records": json.dumps(state.history),
        }
        # always the same name, so that what a killed run left half written is overwritten
        temporary = self.path.with_name(f".{self.path.name}.part")
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors().items()}
        try:
            save_file(tensors, temporary, about)
            os.replace(temporary, self.path)
        except (SafetensorError, OSError) as error:  # a full disk, most often
            if temporary.is_file():
                temporary.unlink()
            raise OSError(f"the checkpoint {self.path} could not be written: {error}") from error

    def restore(self, state: TrainingState) -> bool:
        """Load the file into the state; returns False if there is none, or ``resume`` is False.

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
        state.load(tensors, json.loads(about["records"]))
        return True


def fingerprint(data: Multiome, settings: Settings, seed: int) -> str:
    """SHA-256 of what a run's result depends on: cells, peaks, reference, weights, confounders, settings and seed."""
    digest = hashlib.sha256()
    about: dict[str, Any] = {"settings": asdict(settings), "seed": seed, "blocks": data.blocks}
    about["buffers"] = data.n_buffers
    digest.update(json.dumps(about, sort_keys=True).encode())
    indices = (chunk.indices.astype(np.int32) for chunk in data.x.chunks())
    for array in chain([data.depth.astype(np.int64)], indices, [data.g, data.w, data.c, data.has_rna]):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
