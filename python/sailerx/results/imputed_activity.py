"""Motif activity from imputed accessibility, decoded in blocks of cells, so that no matrix cells × peaks is in memory."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
from anndata import AnnData

from sailerx.config import Style
from sailerx.regulators.activity import MatchesLike, activity_of
from sailerx.results.impute import imputed_rows
from sailerx.results.selection import Batch, neutral_confounders
from sailerx.results.trained import TrainedModel


def imputed_activity(
    model: TrainedModel,
    atac: AnnData,
    obs: pd.DataFrame,
    matches: MatchesLike,
    *,
    n_background: int = 50,
    depth: float | None = None,
    batch: Batch = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Style = "auto",
) -> AnnData:
    """Compute `sailerx.Model.motif_activity`, given the ATAC modality.

    Accessibility is decoded twice: for its totals, from which expectation and background follow, and for the sums over motifs.

    Parameters
    ----------
    model
        The trained model.
    atac
        The ATAC modality.
    obs
        Table of its cells, for the result.
    matches, n_background, depth, batch, seed, threads, progress
        As for `sailerx.Model.motif_activity`.
    """
    c = neutral_confounders(model.confounders, depth, batch)
    cells, peaks = np.arange(atac.n_obs), np.arange(len(model.peaks))
    times_read = iter(range(2))

    def reader() -> Iterator[np.ndarray]:
        with warnings.catch_warnings():
            if next(times_read):  # peaks that are missing were told when they were read first
                warnings.simplefilter("ignore", UserWarning)
            for (rows,) in imputed_rows(model, atac, cells, peaks, c):
                yield rows

    result = activity_of(
        reader, obs, model.peaks, matches,
        n_background=n_background, seed=seed, threads=threads, progress=progress,
    )  # fmt: skip
    about = json.loads(result.uns["sailerx"]["motifs"]) | {"imputed": True}
    result.uns["sailerx"]["motifs"] = json.dumps(about)
    return result
