"""A model as a folder: safetensors, JSON and CSV. Nothing in it can run code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sailerx.config import Settings
from sailerx.confounders import Confounders
from sailerx.errors import InputError
from sailerx.model import VAE

#: version of the model folder's layout; a newer one is refused
MODEL_VERSION = 1

_WEIGHTS, _MODEL, _PEAKS, _HISTORY = "weights.safetensors", "model.json", "peaks.csv", "history.csv"


@contextmanager
def new_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A folder that appears under its name only when the block ends well; after an error nothing is left.

    Raises
    ------
    InputError
        If ``path`` exists and may not be replaced.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise InputError(
            f"{target} exists already. Choose another folder, or allow replacing it (`overwrite=True`, --overwrite)."
        )
    if target.exists() and not (target / _MODEL).exists():
        raise InputError(f"{target} is not a model folder, so it is not replaced. Choose another folder.")
    near = next(parent for parent in target.absolute().parents if parent.exists())
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=near))
    try:
        (temporary / "new").mkdir()
        yield temporary / "new"
        if target.exists():
            target.rename(temporary / "old")
        target.parent.mkdir(parents=True, exist_ok=True)
        (temporary / "new").rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file that appears under its name only when the block ends well.

    Raises
    ------
    InputError
        If its folder does not exist, or the name is a folder's.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"the folder of {target} must exist. Make it first, or choose another file.")
    if target.is_dir():
        raise InputError(f"{target} must be a file, but is a folder. Choose another name.")
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def save(
    folder: Path,
    vae: VAE,
    settings: Settings,
    peaks: pd.DataFrame,
    confounders: Confounders,
    history: pd.DataFrame,
    record: dict[str, Any],
) -> None:
    """Write a model into an existing empty folder.

    Parameters
    ----------
    record
        What else is worth keeping, as plain data: data arguments, versions.
    """
    blocks = list(vae.encoder[0].blocks)  # type: ignore[arg-type]
    weights = {name: tensor.cpu().contiguous() for name, tensor in vae.state_dict().items()}
    try:
        save_file(weights, folder / _WEIGHTS)
    except SafetensorError as error:  # a full disk, most often
        raise OSError(f"the model's weights could not be written: {error}") from error
    model = {
        "sailerx_model": MODEL_VERSION,
        "settings": asdict(settings),
        "blocks": blocks,
        "confounders": confounders.to_dict(),
        "record": record,
    }
    (folder / _MODEL).write_text(json.dumps(model, indent=1, ensure_ascii=False), encoding="utf-8")
    peaks.to_csv(folder / _PEAKS, index_label="peak", encoding="utf-8")
    history.to_csv(folder / _HISTORY, index=False)


def load(
    path: str | os.PathLike[str],
) -> tuple[VAE, Settings, pd.DataFrame, Confounders, pd.DataFrame, dict[str, Any]]:
    """Read a model folder: what `save` was given, in its order.

    Raises
    ------
    InputError
        If the folder is not a model, is of a newer version, or its parts do not fit together.
    """
    folder = Path(path)
    missing = [name for name in (_MODEL, _WEIGHTS, _PEAKS, _HISTORY) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is not a whole sailerx model: {', '.join(missing)} missing. Give a folder that `fit` wrote."
        )
    try:
        model = json.loads((folder / _MODEL).read_text(encoding="utf-8"))
        version = model["sailerx_model"]
        if version > MODEL_VERSION:
            raise InputError(
                f"{folder} was written by a newer sailerx (model version {version}; this one reads up to "
                f"{MODEL_VERSION}). Upgrade."
            )
        settings = Settings(**model["settings"])
        confounders = Confounders.from_dict(model["confounders"])
        peaks = pd.read_csv(
            folder / _PEAKS, index_col="peak", keep_default_na=False, dtype={"peak": str, "chrom": str}
        )
        history = pd.read_csv(folder / _HISTORY, float_precision="round_trip")
        blocks = tuple((int(a), int(b)) for a, b in model["blocks"])
        vae = VAE.from_settings(blocks, len(confounders.names), settings, torch.Generator())
        vae.load_state_dict(load_file(folder / _WEIGHTS))
        if len(peaks) != blocks[-1][1]:
            raise ValueError(f"{len(peaks)} peaks are listed, the network has {blocks[-1][1]}")
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        found = " ".join(str(error).split())
        raise InputError(f"{folder} is damaged or not a sailerx model: {found}. Fit it again.") from error
    return vae.eval(), settings, peaks, confounders, history, model["record"]
