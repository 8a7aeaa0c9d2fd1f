"""Small data that many tests share: 60 cells, 90 peaks on 3 chromosomes, seconds on a CPU."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

import sailerx
from sailerx.config import Settings, make_settings
from sailerx.data.accessibility import Accessibility, PeaksInMemory
from sailerx.data.multiome import Multiome
from sailerx.kernels.open_peaks import CsrPeaks, SparseRows
from sailerx.minibatches.loader import Minibatch, OnDevice
from sailerx.training.progress import Progress


class Silent(Progress):
    """Training that shows nothing; tests override `update` to look on."""

    def __init__(self) -> None:
        super().__init__("none", 0)


#: options of a run that takes a moment
TINY: dict[str, Any] = {
    "max_epochs": 2,
    "n_latent": 5,
    "n_hidden": 8,
    "n_chrom": 4,
    "minibatch_size": 20,
    "start_from_lsi": True,
    "thinned_cells": 0.2,
    "reconstruction": 1.0,
    "gamma": 2e4,
    "patience": 20,
}


def as_flags(options: dict[str, Any]) -> list[str]:
    """Options as they are typed on the command line."""
    flags = {name: f"--{name.replace('_', '-')}" for name in options}
    return [flags[name] if value is True else f"{flags[name]}={value}" for name, value in options.items()]


TINY_FLAGS = as_flags(TINY)


def paired(**options: Any) -> mudata.MuData:
    """Simulated cells with RNA and ATAC, columns `cell_type` and `batch`."""
    sizes = {"n_cells": 60, "n_genes": 80, "n_peaks": 90, "n_types": 3, "n_chroms": 3, "n_contigs": 0}
    return sailerx.simulate(**(sizes | {"seed": 0} | options))


def together(**mods: ad.AnnData) -> mudata.MuData:
    """Modalities as one MuData; their obs columns stay where they are."""
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData(mods)


def with_part(mdata: mudata.MuData, **mods: ad.AnnData) -> mudata.MuData:
    """The same data with some modalities replaced."""
    return together(**({name: mdata.mod[name] for name in mdata.mod} | mods))


def with_atac(mdata: mudata.MuData, x: Any) -> mudata.MuData:
    """The same data with another matrix of accessibility."""
    old = mdata["atac"]
    return with_part(mdata, atac=ad.AnnData(sp.csr_matrix(x), old.obs.copy(), old.var.copy()))


def write(mdata: mudata.MuData, path: Path) -> Path:
    """Write an .h5mu file as mudata does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        mdata.write_h5mu(path)
    return path


def multiome(mdata: mudata.MuData | None = None, **arguments: Any) -> Multiome:
    """Training data of small sizes; `settings` by default the tiny run's."""
    settings = arguments.pop("settings", None) or tiny_settings()
    return Multiome.from_mudata(paired() if mdata is None else mdata, settings, **arguments)


def without_times(history: pd.DataFrame) -> pd.DataFrame:
    """What two equal runs record: all but the time."""
    return history.drop(columns=["seconds", "cells_per_second"])


def tiny_settings(preset: str = "default", **options: Any) -> Settings:
    """Settings of the tiny run with some changed."""
    return make_settings(preset, **(TINY | options))


def open_peaks(x: Tensor) -> CsrPeaks:
    """A dense 0/1 matrix as the network takes it."""
    return SparseRows.of(PeaksInMemory.of(sp.csr_matrix(x.numpy()))).take(torch.arange(len(x)))


def minibatch_of(cells: OnDevice, rows: Tensor) -> Minibatch:
    """The mini-batch of these cells."""
    return next(cells.minibatches([rows]))


def named_peaks(names: list[str]) -> pd.DataFrame:
    """A var table that holds names alone."""
    return pd.DataFrame(index=pd.Index(names, dtype=object))


def files_below(folder: Path) -> set[str]:
    """Every file and folder below a folder, to see what an error leaves behind."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def unit_rows(x: np.ndarray) -> bool:
    """Whether every row has length 1."""
    return bool(np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5))


def dense(x: Accessibility) -> np.ndarray:
    """X of all cells, whether in memory or in its file."""
    return x.read().toarray()
