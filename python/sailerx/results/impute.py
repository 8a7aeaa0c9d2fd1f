"""Imputed accessibility: what the decoder says of chosen cells and peaks where depth and batch are made equal."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from sailerx.data.accessibility import Accessibility
from sailerx.data.csr_on_disk import is_on_disk
from sailerx.errors import InputError
from sailerx.files import result_writer
from sailerx.files.result_writer import ResultRows
from sailerx.network.vae import VAE
from sailerx.results.embed import posterior
from sailerx.results.selection import Batch, choose_cells, choose_peaks, labels_of, neutral_confounders
from sailerx.results.trained import TrainedModel
from sailerx.versions import versions

#: cells whose counts are read and encoded together; a multiple of the cells decoded together
_CELLS_READ = 1024
#: imputed values (cells × peaks) worked on at a time: 64 MB
_VALUES_AT_ONCE = 2**24
#: bytes of the largest dense result that is made in memory
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
    """What `sailerx.Model.impute` does, once the ATAC modality and the groups of its cells are known.

    Parameters
    ----------
    atac
        The ATAC modality, in memory or backed by its file, of which then a few cells are read at a time.
    groups
        A label for each of its cells; makes the result groups × peaks.
    peaks, regions, cells, depth, batch, threshold, samples, seed, out
        As there.
    """
    _refuse_numbers(threshold, samples)
    if out is not None:
        result_writer.refuse_path(out)
    columns = choose_peaks(model.peaks, peaks, regions)
    rows = choose_cells(atac.obs_names, cells)
    c = neutral_confounders(model.confounders, depth, batch)
    labels = None if groups is None else labels_of(groups.iloc[rows])
    frame = _frame(atac, rows, labels, model.peaks.iloc[columns])
    n_matrices = 1 if samples is None else 2
    if out is None and threshold is None:
        _refuse_large(frame.shape, n_matrices)
    frame.uns["sailerx"] = _record(model, depth, batch, threshold, samples, seed)
    rows_of_result = _imputed_rows(model, atac, rows, columns, c, samples, seed)
    if labels is not None:
        rows_of_result = iter([_group_means(rows_of_result, labels, len(columns), n_matrices)])
    if out is None:
        return result_writer.collect(rows_of_result, frame, threshold)
    result_writer.write(out, rows_of_result, frame, n_matrices=n_matrices, threshold=threshold)
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
            f"the dense result would take {size / 1e9:.1f} GB ({shape[0]:,} × {shape[1]:,}), and at most "
            f"{_LARGEST_DENSE / 1e9:g} GB are made in memory. Choose `peaks`, `regions` or `cells`, take group means "
            "(`group_by`), keep what exceeds a `threshold`, or write to disk (`out`, an .h5ad or .zarr)."
        )


def _frame(atac: AnnData, rows: np.ndarray, labels: pd.Categorical | None, var: pd.DataFrame) -> AnnData:
    """The result without its matrix."""
    if labels is None:
        return AnnData(obs=atac.obs.iloc[rows].copy(), var=var.copy())
    n_cells = np.bincount(labels.codes, minlength=len(labels.categories))
    return AnnData(
        obs=pd.DataFrame({"n_cells": n_cells}, index=labels.categories.astype(str)), var=var.copy()
    )


def _record(model: TrainedModel, depth: float | None, batch: Batch, *rest: Any) -> dict[str, str]:
    """How the result was made, as text."""
    batch = batch if batch is None or isinstance(batch, str) else dict(batch)
    names = ("depth", "batch", "threshold", "samples", "seed")
    settings = dict(zip(names, (depth, batch, *rest), strict=True)) | {"model_seed": model.record.get("seed")}
    return {"impute": json.dumps(settings, ensure_ascii=False), "versions": json.dumps(versions())}


def _imputed_rows(
    model: TrainedModel,
    atac: AnnData,
    rows: np.ndarray,
    columns: np.ndarray,
    c: np.ndarray,
    samples: int | None,
    seed: int,
) -> Iterator[ResultRows]:
    """Imputed rows, some cells at a time."""
    device = next(model.vae.parameters()).device
    decoder = _Decoder(model.vae, columns, torch.from_numpy(c).to(device))
    rng = np.random.default_rng(seed)
    n_at_once = _cells_at_once(len(columns))
    for x in read_accessibility(model, atac, rows):
        mean, std = (torch.from_numpy(part) for part in posterior(model.vae, x))
        for some in torch.arange(len(mean)).split(n_at_once):
            if samples is None:
                yield (decoder.probability(mean[some].to(device)).cpu().numpy(),)
            else:
                noise = rng.standard_normal((len(some), int(samples), mean.shape[1]), np.float32)
                z = mean[some, None] + std[some, None] * torch.from_numpy(noise)
                yield decoder.moments(z.to(device))


def read_accessibility(model: TrainedModel, atac: AnnData, rows: np.ndarray) -> Iterator[Accessibility]:
    """x of chosen cells in the model's order of peaks, some cells at a time."""
    for start in range(0, len(rows), _CELLS_READ):
        with warnings.catch_warnings():
            if start:  # what there is to say about the peaks is said once
                warnings.simplefilter("ignore", UserWarning)
            yield model.accessibility(_in_memory(atac, rows[start : start + _CELLS_READ]))


def _cells_at_once(n_peaks: int) -> int:
    """A power of two, so that blocks divide what is read and chunks on disk are written whole."""
    return min(_CELLS_READ, 2 ** int(math.log2(max(1, _VALUES_AT_ONCE // n_peaks))))


def _in_memory(atac: AnnData, rows: np.ndarray) -> AnnData:
    if not (atac.isbacked or is_on_disk(atac.X)):
        return atac[rows]
    order = np.argsort(rows)  # files are read in their order
    return atac[rows[order]].to_memory()[np.argsort(order)]


class _Decoder:
    """The decoder at chosen peaks and neutral confounders."""

    def __init__(self, vae: VAE, columns: np.ndarray, c: torch.Tensor) -> None:
        self.vae, self.c = vae, c
        ascending = np.sort(columns)
        everything = len(columns) == vae.to_peaks.blocks[-1][1]
        self.peaks = None if everything else torch.from_numpy(ascending).to(c.device)
        self.order = None if (ascending == columns).all() else np.searchsorted(ascending, columns)

    @torch.no_grad()
    def probability(self, z: torch.Tensor) -> torch.Tensor:
        """Probability that each peak is open, cells × peaks."""
        p = self.vae.decode(z, self.c.expand(len(z), -1), self.peaks).sigmoid_()
        return p if self.order is None else p[:, self.order]

    def moments(self, z: torch.Tensor) -> ResultRows:
        """Mean and standard deviation of the probability over samples of z (cells × samples × latent)."""
        mean = self.probability(z[:, 0])
        square = torch.zeros_like(mean)
        for n, z_s in enumerate(z[:, 1:].unbind(dim=1), start=2):
            # Welford's update: no difference of two large sums
            p = self.probability(z_s)
            change = p - mean
            mean += change / n
            square += change * (p - mean)
        return mean.cpu().numpy(), (square / z.shape[1]).sqrt().cpu().numpy()


def _group_means(
    parts: Iterator[ResultRows], labels: pd.Categorical, n_peaks: int, n_matrices: int
) -> ResultRows:
    """Mean over the cells of each group, groups × peaks, and the standard deviation of that mean.

    Posterior samples of different cells are independent, so variances of their mean are their sum / n².
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
