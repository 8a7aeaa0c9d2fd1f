"""Checkpoints: the training state in one safetensors file, from which a run is resumed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sailerx.config import Settings
from sailerx.data.multiome import Multiome
from sailerx.errors import InputError
from sailerx.training.state import TrainingState

#: version of the checkpoint layout
_VERSION = "1"


@dataclass
class Checkpoints:
    """The checkpoint file of a run: when to write it, and whether to resume from it.

    Parameters
    ----------
    path
        Path of the checkpoint.
    fingerprint
        Hash that identifies the run, see `fingerprint`; a checkpoint of another run is refused.
    epochs, minutes
        Write every ``epochs`` epochs, and after the first epoch that ends ``minutes`` minutes or more after the last checkpoint.
    resume
        Whether `restore` reads an existing checkpoint.
    """

    path: Path
    fingerprint: str
    epochs: int | None = 10
    minutes: float | None = None
    resume: bool = True
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Check folder and interval now, before an epoch is trained in vain."""
        if not self.path.absolute().parent.is_dir():
            raise InputError(f"the folder of the checkpoint {self.path} must exist. Make it first.")
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"`checkpoint_epochs` must be at least 1, got {self.epochs!r}.")

    def after_epoch(self, state: TrainingState, n_done: int, n_epochs: int) -> None:
        """Write the state if one of the intervals has passed, and after the last epoch."""
        due = (
            n_done == n_epochs
            or (self.epochs is not None and n_done % self.epochs == 0)
            or (self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes)
        )
        if due:
            self.write(state)
            self._last = time.monotonic()

    def write(self, state: TrainingState) -> None:
        """Write the state to a temporary file, then replace the checkpoint by it."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors().items()}
        about = {
            "sailerx_checkpoint": _VERSION,
            "fingerprint": self.fingerprint,
            "records": json.dumps(state.history),
        }
        about["sha256"] = _checksum(tensors, about)
        # a fixed name, so that the next write replaces the partial file of a killed run
        temporary = self.path.with_name(f".{self.path.name}.part")
        try:
            save_file(tensors, temporary, about)
            os.replace(temporary, self.path)
        except (SafetensorError, OSError) as error:  # a full disk, most often
            if temporary.is_file():
                temporary.unlink()
            raise OSError(f"the checkpoint {self.path} could not be written: {error}") from error

    def restore(self, state: TrainingState) -> bool:
        """Load the checkpoint into the state; return False if there is none or ``resume`` is False.

        Raises
        ------
        InputError
            If the file is not a checkpoint, is damaged, or belongs to another run.
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
                f"{self.path} must be a checkpoint of this run, but it was written for other data, other settings, another seed or "
                "by another version of sailerx. Delete it, name another file, or start anew without resuming."
            )
        if about.get("sha256", None) not in (None, _checksum(tensors, about)):
            raise InputError(
                f"{self.path} is not as it was written: its checksum differs. Delete it or name another file."
            )
        state.load(tensors, json.loads(about["records"]))
        return True


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """Hash (SHA-256) the tensors and the history: a changed byte would change the model without a word."""
    digest = hashlib.sha256(about["records"].encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint(data: Multiome, settings: Settings, seed: int) -> str:
    """Hash (SHA-256) everything that determines a run: x, reference, weights, confounders, settings and seed."""
    digest = hashlib.sha256()
    about: dict[str, Any] = {"settings": asdict(settings), "seed": seed, "blocks": data.blocks}
    about["buffers"] = data.n_buffers
    digest.update(json.dumps(about, sort_keys=True).encode())
    indices = (chunk.indices.astype(np.int32) for chunk in data.x.chunks())
    for array in chain([data.depth.astype(np.int64)], indices, [data.g, data.w, data.c, data.has_rna]):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
