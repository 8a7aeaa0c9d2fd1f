"""Imputed accessibility: decoder probabilities of chosen cells and peaks at equal depth and batch for all cells."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from sailerx.data.accessibility import Accessibility
from sailerx.data.csr_on_disk import is_on_disk
from sailerx.data.levels import value_text
from sailerx.errors import InputError
from sailerx.files import result_writer
from sailerx.files.result_writer import ResultRows
from sailerx.network.vae import VAE
from sailerx.results.embed import posterior
from sailerx.results.selection import Batch, choose_cells, choose_peaks, labels_of, neutral_confounders
from sailerx.results.trained import TrainedModel
from sailerx.versions import versions

#: cells per chunk that is read and encoded; a multiple of the number of cells decoded at a time
_CELLS_READ = 1024
#: imputed values (cells × peaks) decoded at a time: 64 MB
_VALUES_AT_ONCE = 2**24
#: largest dense result in memory, in bytes
_LARGEST_DENSE = 2e9


def impute(
    model: TrainedModel,
    atac: AnnData,
    *,
    peaks: str | Sequence[str] | None = None,
    regions: str | Sequence[str] | None = None,
    cells: Sequence[str] | np.ndarray | None = None,
    groups: pd.Series | None = None,
    depth: float | None = None,
    batch: Batch = None,
    threshold: float | None = None,
    samples: int | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
) -> AnnData | None:
    """Impute accessibility: `sailerx.Model.impute`, given the ATAC modality and the groups of its cells.

    Parameters
    ----------
    model
        The trained model.
    atac
        The ATAC modality, in memory or backed by its file, which is then read in chunks of cells.
    groups
        Label of each cell; makes the result groups × peaks.
    peaks, regions, cells, depth, batch, threshold, samples, seed, out
        As for `sailerx.Model.impute`.
    """
    _refuse_numbers(threshold, samples)
    if out is not None:
        result_writer.refuse_path(out)
    if not atac.n_obs:
        raise InputError("accessibility is imputed for cells, but the data have none. Were all dropped?")
    columns = choose_peaks(model.peaks, peaks, regions)
    rows = choose_cells(atac.obs_names, cells)
    c = neutral_confounders(model.confounders, depth, batch)
    labels = None if groups is None else labels_of(groups.iloc[rows])
    frame = _frame(atac, rows, labels, model.peaks.iloc[columns])
    n_matrices = 1 if samples is None else 2
    if out is None and threshold is None:
        _refuse_large(frame.shape, n_matrices)
    frame.uns["sailerx"] = _record(model, depth, batch, threshold, samples, seed)
    imputed = imputed_rows(model, atac, rows, columns, c, samples, seed)
    if labels is not None:
        imputed = iter([_group_means(imputed, labels, len(columns), n_matrices)])
    if out is None:
        return result_writer.collect(imputed, frame, threshold)
    result_writer.write(out, imputed, frame, n_matrices=n_matrices, threshold=threshold)
    return None


def _refuse_numbers(threshold: float | None, samples: int | None) -> None:
    if threshold is not None and not 0 <= threshold < 1:
        raise InputError(f"`threshold` must be a probability, at least 0 and below 1, got {threshold!r}.")
    if samples is not None and (isinstance(samples, bool) or samples != int(samples) or samples < 2):
        raise InputError(f"`samples` must be a whole number of at least 2, got {samples!r}.")


def _refuse_large(shape: tuple[int, int], n_matrices: int) -> None:
    size = 4.0 * shape[0] * shape[1] * n_matrices
    if size > _LARGEST_DENSE:
        raise InputError(
            f"the dense result must take at most {_LARGEST_DENSE / 1e9:g} GB of memory, but would take {size / 1e9:.1f} GB "
            f"({shape[0]:,} × {shape[1]:,}). Choose `peaks`, `regions` or `cells`, take group means (`group_by`), keep only "
            "probabilities above a `threshold`, or write to disk (`out`, an .h5ad or .zarr)."
        )


def _frame(atac: AnnData, rows: np.ndarray, labels: pd.Categorical | None, var: pd.DataFrame) -> AnnData:
    """Make the result without its matrix: obs and var of the chosen cells (or groups) and peaks."""
    if labels is None:
        return AnnData(obs=atac.obs.iloc[rows].copy(), var=var.copy())
    n_cells = np.bincount(labels.codes, minlength=len(labels.categories))
    return AnnData(
        obs=pd.DataFrame({"n_cells": n_cells}, index=labels.categories.astype(str)), var=var.copy()
    )


def _record(model: TrainedModel, depth: float | None, batch: Batch, *rest: Any) -> dict[str, str]:
    """Describe as JSON how the result was made: arguments, the model's seed, versions."""
    if batch is not None:
        batch = dict(batch) if isinstance(batch, Mapping) else value_text(batch)
    names = ("depth", "batch", "threshold", "samples", "seed")
    settings = dict(zip(names, (depth, batch, *rest), strict=True)) | {"model_seed": model.record.get("seed")}
    return {"impute": json.dumps(settings, ensure_ascii=False), "versions": json.dumps(versions())}


def imputed_rows(
    model: TrainedModel,
    atac: AnnData,
    rows: np.ndarray,
    columns: np.ndarray,
    c: np.ndarray,
    samples: int | None = None,
    seed: int = 0,
) -> Iterator[ResultRows]:
    """Impute the chosen cells, `_cells_at_once` rows at a time: mean, and with ``samples`` standard deviation."""
    device = next(model.network.parameters()).device
    decoder = _Decoder(model.vae, columns, torch.from_numpy(c).to(device))
    rng = np.random.default_rng(seed)
    n_at_once = _cells_at_once(len(columns))
    for x in read_accessibility(model, atac, rows):
        posteriors = (torch.from_numpy(moment).split(n_at_once) for moment in posterior(model.vae, x))
        for mean, std in zip(*posteriors, strict=True):
            if samples is None:
                yield (decoder.probability(mean.to(device)).cpu().numpy(),)
            else:
                noise = rng.standard_normal((len(mean), int(samples), mean.shape[1]), np.float32)
                z = mean[:, None] + std[:, None] * torch.from_numpy(noise)
                yield decoder.moments(z.to(device))


def read_accessibility(model: TrainedModel, atac: AnnData, rows: np.ndarray) -> Iterator[Accessibility]:
    """Read x of the chosen cells in the model's order of peaks, in chunks of `_CELLS_READ` cells."""
    for start in range(0, len(rows), _CELLS_READ):
        with warnings.catch_warnings():
            if start:  # the first chunk has warned about peaks that are missing
                warnings.simplefilter("ignore", UserWarning)
            yield model.accessibility(_in_memory(atac, rows[start : start + _CELLS_READ]))


def _cells_at_once(n_peaks: int) -> int:
    """Choose the number of cells decoded at a time: a power of two, which divides `_CELLS_READ` and chunks on disk."""
    return min(_CELLS_READ, 2 ** int(math.log2(max(1, _VALUES_AT_ONCE // n_peaks))))


def _in_memory(atac: AnnData, rows: np.ndarray) -> AnnData:
    if not (atac.isbacked or is_on_disk(atac.X)):
        return atac[rows]
    order = np.argsort(rows)  # h5py reads ascending rows only
    return atac[rows[order]].to_memory()[np.argsort(order)]


class _Decoder:
    """The decoder for chosen peaks, at one row of neutral confounders for all cells."""

    def __init__(self, vae: VAE, columns: np.ndarray, c: torch.Tensor) -> None:
        self.vae, self.c = vae, c
        ascending = np.sort(columns)
        everything = len(columns) == vae.to_peaks.blocks[-1][1]
        self.peaks = None if everything else torch.from_numpy(ascending).to(c.device)
        self.order = None if (ascending == columns).all() else np.searchsorted(ascending, columns)

    @torch.no_grad()
    def probability(self, z: torch.Tensor) -> torch.Tensor:
        """Decode z to the probability that each peak is open, cells × peaks."""
        p = self.vae.decode(z, self.c.expand(len(z), -1), self.peaks).sigmoid_()
        return p if self.order is None else p[:, self.order]

    def moments(self, z: torch.Tensor) -> ResultRows:
        """Compute mean and standard deviation of the probability over samples of z (cells × samples × latent)."""
        mean = self.probability(z[:, 0])
        square = torch.zeros_like(mean)
        for n, z_s in enumerate(z[:, 1:].unbind(dim=1), start=2):
            # Welford's update: avoids the difference of two large sums
            p = self.probability(z_s)
            change = p - mean
            mean += change / n
            square += change * (p - mean)
        return mean.cpu().numpy(), (square / z.shape[1]).sqrt().cpu().numpy()


def _group_means(
    parts: Iterator[ResultRows], labels: pd.Categorical, n_peaks: int, n_matrices: int
) -> ResultRows:
    """Average over the cells of each group, groups × peaks; with ``n_matrices`` 2, also the standard deviation of the mean.

    Posterior samples of different cells are independent, so the variance of a mean is the sum of their variances / n².
    """
    n = np.bincount(labels.codes)[:, None]
    sums = [np.zeros((len(n), n_peaks)) for _ in range(n_matrices)]
    start = 0
    for matrices in parts:
        codes = labels.codes[start : start + len(matrices[0])]
        member = np.eye(len(n))[codes].T.astype(np.float32)
        for total, part, power in zip(sums, matrices, (1, 2), strict=False):
            total += member @ part**power
        start += len(matrices[0])
    mean = (sums[0] / n).astype(np.float32)
    return (mean,) if n_matrices == 1 else (mean, (np.sqrt(sums[1]) / n).astype(np.float32))
