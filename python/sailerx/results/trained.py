"""A trained model: its parts, its folder on disk, and how the ATAC of other cells is matched to its peaks.

The folder holds safetensors, JSON and CSV: reading it runs no code from it.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from anndata.abc import CSCDataset
from mudata import MuData
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from sailerx.config import Settings
from sailerx.data.accessibility import Accessibility
from sailerx.data.confounders import Confounders
from sailerx.data.counts import binary_accessibility
from sailerx.data.peaks import columns_in_order, peak_table
from sailerx.data.rna_reference import RnaReference
from sailerx.errors import InputError
from sailerx.files.atomic import MODEL_FILE
from sailerx.joint.embedding import JointEmbedding
from sailerx.network.vae import VAE
from sailerx.results.checksums import KEY as CHECKSUMS
from sailerx.results.checksums import checksums, refuse_changed

#: version of the model folder's layout; folders of a newer version are refused
MODEL_VERSION = 3

_WEIGHTS, _PEAKS, _HISTORY = "weights.safetensors", "peaks.csv", "history.csv"
#: arrays of `JointEmbedding` and `RnaReference`, by name with these prefixes
_JOINT, _PREFIXES = "joint.safetensors", ("joint.", "reference.")
#: what settings were before they existed, where a folder does not say
_BEFORE = {"n_private": 0, "joint_embedding": False, "bounded_variance": False, "decoder_decay": 0.0}


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained network with everything needed to apply it to other cells."""

    vae: VAE = field(repr=False)
    #: settings of the run
    settings: Settings
    #: peaks in the network's order; index = name, columns chrom, start, end
    peaks: pd.DataFrame = field(repr=False)
    confounders: Confounders = field(repr=False)
    #: one row per epoch, see `sailerx.training.loop.train`
    history: pd.DataFrame = field(repr=False)
    #: the data arguments of `sailerx.fit`, and seed, device and versions of the run
    record: dict[str, Any]
    #: embeds cells by RNA and ATAC scores; None = the embedding is z, as in the paper
    joint: JointEmbedding | None = field(default=None, repr=False)
    #: makes the RNA reference of cells; None = none, or a model of an older version
    reference: RnaReference | None = field(default=None, repr=False)

    @property
    def network(self) -> VAE:
        """The trained network."""
        self.refuse_untrained()
        return self.vae

    def refuse_untrained(self) -> None:
        """Raise `InputError` if the run trained no network."""
        if self.settings.max_epochs == 0:
            raise InputError(
                "this needs a trained network, but the model was fitted with `max_epochs` = 0, which is enough to embed cells, "
                "transfer labels and predict RNA only. Fit it again without `max_epochs`."
            )

    def accessibility(self, mdata: MuData | AnnData) -> Accessibility:
        """Read x of the cells with columns in the model's order; a peak missing from the data is closed, with a warning."""
        name = self.record["atac"]
        atac = atac_of(mdata, name)
        x = binary_accessibility(atac, name, self.record["atac_layer"], in_memory=True)
        table = None if self.settings.single_block else peak_table(atac.var)
        here = pd.DataFrame(index=atac.var_names.astype(str)) if table is None else table
        columns = columns_in_order(here, self.peaks)
        n_missing = int((columns < 0).sum())
        if n_missing == len(self.peaks):
            raise InputError(
                f"the data share no peak with the model (its first: {self.peaks.index[0]!r}; theirs: "
                f"{atac.var_names[0]!r}). Count fragments on the model's peaks."
            )
        if n_missing:
            warnings.warn(
                f"{n_missing} of the model's {len(self.peaks)} peaks are not in the data and are taken as closed in all cells.",
                stacklevel=3,
            )
        return x.with_peaks(columns)

    def write_into(self, folder: Path) -> None:
        """Write the model's files into an existing empty folder."""
        weights = {name: tensor.cpu().contiguous() for name, tensor in self.vae.state_dict().items()}
        parts = {"joint.": self.joint, "reference.": self.reference}
        arrays = {
            prefix + name: np.ascontiguousarray(array)
            for prefix, part in parts.items()
            if part is not None
            for name, array in part.arrays().items()
        }
        try:
            save_file(weights, folder / _WEIGHTS)
            save_arrays(arrays, folder / _JOINT)
        except SafetensorError as error:  # a full disk, most often
            raise OSError(f"the model's weights could not be written: {error}") from error
        model = {
            "sailerx_model": MODEL_VERSION,
            "settings": asdict(self.settings),
            "blocks": list(self.vae.from_peaks.blocks),
            "confounders": self.confounders.to_dict(),
            "record": self.record,
            "joint": None if self.joint is None else self.joint.described(),
            "reference": None if self.reference is None else self.reference.described(),
        }
        self.peaks.to_csv(folder / _PEAKS, index_label="peak", encoding="utf-8")
        self.history.to_csv(folder / _HISTORY, index=False)
        model = json.loads(json.dumps(model, allow_nan=False))  # as it will be read
        model[CHECKSUMS] = checksums(folder, [_WEIGHTS, _JOINT, _PEAKS, _HISTORY], model)
        text = json.dumps(model, indent=1, ensure_ascii=False)
        (folder / MODEL_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read the folder of a model that `write_into` has written.

        Raises
        ------
        InputError
            If the folder is not a model, was written by a newer version, or is damaged.
        """
        folder = Path(path)
        _refuse_incomplete(folder)
        try:
            model = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
            _refuse_newer(folder, model["sailerx_model"])
            if model["sailerx_model"] >= MODEL_VERSION:
                refuse_changed(folder, model)
            settings = Settings(**_BEFORE | model["settings"])
            confounders = Confounders.from_dict(model["confounders"])
            peaks = _read_peaks(folder)
            history = pd.read_csv(folder / _HISTORY, float_precision="round_trip")
            blocks = tuple((int(a), int(b)) for a, b in model["blocks"])
            vae = VAE.from_settings(blocks, len(confounders.names), settings, torch.Generator())
            vae.load_state_dict(load_file(folder / _WEIGHTS))
            joint, reference = _read_joint(folder, model)
            if len(peaks) != blocks[-1][1]:
                raise ValueError(f"{len(peaks)} peaks are listed, the network has {blocks[-1][1]}")
        except (InputError, MemoryError):
            raise
        except Exception as error:  # whatever the libraries say of files that are not theirs
            found = " ".join(str(error).split())
            raise InputError(f"{folder} is damaged or not a sailerx model: {found}. Fit it again.") from error
        return cls(vae.eval(), settings, peaks, confounders, history, model["record"], joint, reference)


def _read_joint(folder: Path, model: dict[str, Any]) -> tuple[JointEmbedding | None, RnaReference | None]:
    if model["sailerx_model"] < 2:
        return None, None
    if model["sailerx_model"] == 2:
        raise InputError(
            f"{folder} was written by a version of sailerx between releases (model version 2), whose embedding cannot be computed "
            "any more. Fit it again."
        )
    arrays = load_arrays(folder / _JOINT)
    of_joint, of_reference = (
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in _PREFIXES
    )
    joint, reference = model["joint"], model["reference"]
    return (
        None if joint is None else JointEmbedding.restored(of_joint, joint),
        None if reference is None else RnaReference.restored(of_reference, reference),
    )


def _refuse_incomplete(folder: Path) -> None:
    needed = (MODEL_FILE, _WEIGHTS, _PEAKS, _HISTORY)
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is not a whole sailerx model: {', '.join(missing)} missing. Give a folder that `fit` wrote."
        )


def _refuse_newer(folder: Path, version: int) -> None:
    if version > MODEL_VERSION:
        raise InputError(
            f"{folder} was written by a newer sailerx (model version {version}; this one reads up to "
            f"{MODEL_VERSION}). Upgrade."
        )


def _read_peaks(folder: Path) -> pd.DataFrame:
    text = {"peak": str, "chrom": str}
    return pd.read_csv(folder / _PEAKS, index_col="peak", keep_default_na=False, dtype=text)


def atac_of(mdata: MuData | AnnData, name: str) -> AnnData:
    """Get the ATAC modality of a MuData object, or the AnnData object itself."""
    found = mdata.mod.get(name) if isinstance(mdata, MuData) else mdata
    if isinstance(found, AnnData):
        by_peak = any(isinstance(matrix, CSCDataset) for matrix in (found.X, *found.layers.values()))
        return found.to_memory() if by_peak else found
    there = ", ".join(mdata.mod) if isinstance(mdata, MuData) else type(mdata).__name__
    raise InputError(
        f"the model embeds modality {name!r}, found: {there}. Give a MuData object with this modality, or the modality as "
        "AnnData."
    )
