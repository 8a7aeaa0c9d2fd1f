"""The training loop: one for warm-up, paired, hybrid, resumed and multi-process runs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.config import Settings, known
from sailerx.data import csr_on_disk
from sailerx.data.accessibility import Accessibility
from sailerx.data.atac_scores import AtacScores
from sailerx.data.multiome import Multiome
from sailerx.device import out_of_memory
from sailerx.kernels.open_peaks import PaddedRows, SparseRows
from sailerx.kernels.peak_layers import captures_steps
from sailerx.minibatches.loader import Minibatch, OnDevice
from sailerx.minibatches.sampler import Sampler, random_peaks
from sailerx.network.decoder_prior import first_epoch_of_prior, shrink_to_prior
from sailerx.network.objective import minibatch_loss, terms_of
from sailerx.network.schedules import LossWeights, kl_annealing, learning_rate, loss_weights
from sailerx.network.vae import VAE
from sailerx.threads import operations_alone
from sailerx.training.checkpoint import Checkpoints
from sailerx.training.cuda_graph import captured_epochs
from sailerx.training.distributed.ranks import ALONE, Ranks
from sailerx.training.early_stopping import Watch, held_out
from sailerx.training.jumps import jumps
from sailerx.training.progress import Progress
from sailerx.training.state import TrainingState

#: minimum number of random peaks per step for the reconstruction term: with fewer a step learns too little
FEWEST_PEAKS = 1000


@operations_alone()
def train(
    data: Multiome,
    settings: Settings,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    ranks: Ranks = ALONE,
    scores: AtacScores | None = None,
) -> tuple[VAE, pd.DataFrame]:
    """Train a network on one data set.

    Parameters
    ----------
    data
        Validated data; cells may lack RNA.
    settings
        Settings of the run.
    seed
        Fixes initial weights, order of cells and noise. Two CPU runs with equal seed and thread count are bit-identical.
    device
        Device to compute on.
    progress
        Shows each finished epoch.
    checkpoints
        File for the training state; if it exists, the run is resumed from it.
    ranks
        The processes that train this network together; each calls this function. Mini-batches and result equal those of
        a single process, up to rounding. Only the first process writes checkpoints and shows progress.
    scores
        ATAC scores for the private dimensions; without them these keep their prior.

    Returns
    -------
    The trained network in evaluation mode (with early stopping, that of the best epoch), and the history: one row per
    epoch with ``loss`` (weighted as trained), its terms (`terms_of`) in nats per cell (alignment: per pair of cells),
    ``learning_rate``, ``annealing``, ``seconds`` and ``cells_per_second``; with early stopping also ``held_out``
    (`sailerx.training.early_stopping`).

    Raises
    ------
    FloatingPointError
        If the loss is not finite; names the step and the term.
    InputError
        If a mini-batch does not fit into the memory of the GPU.
    ProcessLostError
        If another process of the run has ended.
    """
    state = TrainingState(data, settings, seed, device, ranks, scores)
    _share_first_state(state, checkpoints, ranks)
    x, shard = ranks.read(data.x), ranks.shard(data.n_cells)
    own = np.arange(data.n_cells)[shard.own(torch.arange(data.n_cells))]
    cell_scores = None
    # a CUDA graph has one shape for all steps: it computes the scores of all cells, instead of those of thinned ones
    if len(state.history) < settings.n_epochs and not captures_steps(device):
        cell_scores = private_scores(x, own, settings.private, scores)
    on_device = OnDevice.from_multiome(data, device, x, shard, cell_scores)
    sampler = sampler_of(data, settings, seed, ranks.world_size)
    peak_share = max(settings.peak_share, FEWEST_PEAKS / data.n_peaks)
    step = partial(training_step, state, settings=settings, peak_share=peak_share, ranks=ranks)
    run_epoch = captured_epochs(state, on_device, sampler, step, ranks, settings) or partial(
        train_epoch, state, on_device, step
    )
    watch = Watch.over(data, on_device, settings, peak_share, seed)
    state.vae.train()
    for epoch in range(len(state.history), settings.n_epochs):
        if watch is not None and watch.says_stop(state.history):
            break
        start = time.perf_counter()
        minibatch_rows = list(sampler.epoch(state.order))
        rates, weights = _schedules(epoch, len(minibatch_rows), settings, data.n_peaks)
        with _explained_if_too_large(state.vae, on_device, peak_share, len(minibatch_rows[0])):
            if settings.decoder_decay and epoch == first_epoch_of_prior(settings) > 0:
                _begin_prior(state.vae, on_device, minibatch_rows[0], data.frequency, settings)
            terms = run_epoch(minibatch_rows, rates, weights)
        ranks.from_first(partial(_refuse_nan, terms, epoch, settings))
        state.history.append(_record(terms.mean(0), epoch, settings, time.perf_counter() - start, sampler))
        if watch is not None:
            _record_held_out(watch, state, ranks)
        if checkpoints is not None and ranks.is_first:
            checkpoints.after_epoch(state, epoch + 1, settings.n_epochs)
        progress.update(epoch + 1, state.history[-1])
    progress.close()
    if watch is not None and state.history:
        progress.say(watch.in_words(state.history))
    for text in jumps(pd.DataFrame(state.history), settings) if ranks.is_first else []:
        warnings.warn(text, stacklevel=2)
    ranks.restore_batch_norm(state.vae)
    state.optimizer.zero_grad()  # frees the gradients
    if watch is not None and state.history:
        state.vae.load_state_dict(state.best)
    return state.vae.eval(), pd.DataFrame(state.history, columns=None if state.history else ["epoch", "loss"])


def train_epoch(
    state: TrainingState,
    on_device: OnDevice,
    step: partial[Tensor],
    minibatch_rows: Sequence[Int[Tensor, " cells"]],
    rates: Sequence[float],
    weights: Sequence[LossWeights],
) -> Float[Tensor, "steps terms"]:
    """Run one step per mini-batch; return loss and terms of each, without synchronising with the device."""
    terms = []
    for i, minibatch in enumerate(on_device.minibatches(minibatch_rows)):
        state.set_learning_rate(rates[i])
        terms.append(step(minibatch, weights[i]))
    return torch.stack(terms)


def training_step(
    state: TrainingState,
    minibatch: Minibatch,
    weights: LossWeights,
    *,
    settings: Settings,
    peak_share: float,
    ranks: Ranks,
) -> Float[Tensor, " terms"]:
    """Compute the loss of one mini-batch, backpropagate and update the weights; return the loss and its terms."""
    state.optimizer.zero_grad()
    peaks = random_peaks(minibatch.x.n_peaks, peak_share, state.noise)
    loss, terms = minibatch_loss(state.vae, minibatch, weights, state.noise, peaks, settings.thinning)
    loss.backward()
    ranks.average_gradients(state.vae, peaks)
    state.optimizer.step()
    return torch.stack([loss.detach(), *terms])


@torch.no_grad()
def _begin_prior(
    vae: VAE, on_device: OnDevice, rows: Int[Tensor, " cells"], frequency: np.ndarray, settings: Settings
) -> None:
    """Shrink the decoder's last weights to their prior, given the features of the cells of a mini-batch."""
    [minibatch] = on_device.minibatches([rows])
    part, n = minibatch.part, minibatch.part.n_cells
    vae.eval()  # leaves the statistics of batch normalisation as they are
    h = vae.before_peaks(vae.encode(minibatch.x, minibatch.scores).mean, minibatch.c)
    vae.train()
    mean = part.summed(h.sum(dim=0)) / n
    covariance = part.summed(torch.einsum("nkh,nkg->khg", h, h)) / n - mean[:, :, None] * mean[:, None, :]
    weights = known(settings.reconstruction), known(settings.decoder_decay)
    shrink_to_prior(vae.to_peaks, covariance, torch.from_numpy(frequency).to(h), *weights)


def private_scores(
    x: Accessibility, cells: np.ndarray, n_private: int, scores: AtacScores | None
) -> np.ndarray | None:
    """Compute the scores that the private dimensions of whole cells follow, once, because training does not change them.

    Parameters
    ----------
    x
        Open peaks, cells × peaks.
    cells
        Positions of the cells that this process reads, ascending.
    n_private
        Number of private dimensions.
    scores
        ATAC scores; None = 0 for all cells.

    Returns
    -------
    Cells × private, 0 for cells of other processes; None without private dimensions.
    """
    if not n_private:
        return None
    found = np.zeros((x.shape[0], n_private), np.float32)
    if scores is not None:
        first, at_once = scores.first(n_private), 10 * csr_on_disk.CELLS_PER_CHUNK
        for rows in np.split(cells, range(at_once, len(cells), at_once)):
            found[rows, : len(first.strength)] = first.of(x[rows])
    return found


def sampler_of(data: Multiome, settings: Settings, seed: int, world_size: int = 1) -> Sampler:
    """Make the sampler of a run: it draws from all cells that are not held out, for ``world_size`` processes."""
    trained = ~held_out(data.n_cells, settings.held_out_share, seed)
    has_rna = torch.from_numpy(data.has_rna)
    size, share = settings.minibatch_size, settings.paired_share
    return Sampler.of(has_rna, size, share, trained, data.n_buffers, world_size)


def _share_first_state(state: TrainingState, checkpoints: Checkpoints | None, ranks: Ranks) -> None:
    """Copy the first process's state, new or restored from its checkpoint, to all processes."""

    def first_state() -> tuple[dict[str, Tensor], list[dict[str, float]]]:
        if checkpoints is not None:
            checkpoints.restore(state)
        return {name: tensor.cpu() for name, tensor in state.tensors().items()}, state.history

    tensors, history = ranks.from_first(first_state)
    if not ranks.is_first:
        state.load(tensors, history)
    ranks.synchronise_batch_norm(state.vae)


def _schedules(
    epoch: int, n_steps: int, settings: Settings, n_peaks: int
) -> tuple[list[float], list[LossWeights]]:
    """Compute learning rate and loss weights of each step of an epoch."""
    moments = [epoch + i / n_steps for i in range(n_steps)]
    rates = [learning_rate(now, settings) for now in moments]
    return rates, [loss_weights(now, settings, n_peaks) for now in moments]


@contextmanager
def _explained_if_too_large(vae: VAE, on_device: OnDevice, peak_share: float, size: int) -> Iterator[None]:
    """Turn CUDA's out-of-memory error into one that names a mini-batch size that should fit."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        n_parameters = sum(parameter.numel() for parameter in vae.parameters())
        x = on_device.x
        n_bytes = 4 * len(x.indices) if isinstance(x, SparseRows | PaddedRows) else 0
        raise out_of_memory(on_device.w.device, n_parameters, n_bytes, x.n_peaks, peak_share, size) from error


def _record(
    means: Tensor, epoch: int, settings: Settings, seconds: float, sampler: Sampler
) -> dict[str, float]:
    """Make one row of the history, from the mean loss and terms of an epoch."""
    loss, *terms = means.tolist()
    return {
        "epoch": epoch,
        "loss": loss,
        **dict(zip(terms_of(settings), terms, strict=True)),
        "learning_rate": learning_rate(epoch + 0.5, settings),
        "annealing": kl_annealing(epoch + 0.5, settings),
        "seconds": seconds,
        "cells_per_second": sampler.n_steps * sum(sampler.sizes) / seconds,
    }


def _record_held_out(watch: Watch, state: TrainingState, ranks: Ranks) -> None:
    """Add the held-out loss to the last row of the history, and keep the network if this epoch is the best so far."""
    # all processes compute the loss, since they share its mini-batches; the first one's number is used
    state.history[-1]["held_out"] = ranks.from_first(partial(float, watch.loss(state.vae)))
    if watch.best_epoch(state.history) == state.history[-1]["epoch"]:
        state.best = {name: value.clone() for name, value in state.vae.state_dict().items()}


def _refuse_nan(terms: Float[Tensor, "steps terms"], epoch: int, settings: Settings) -> None:
    """Raise an error for the first step of the epoch whose loss or term is NaN or infinite."""
    bad = ~terms.isfinite()
    if bad.any():
        step = int(bad.any(dim=1).nonzero()[0])
        all_names = ("loss", *terms_of(settings))
        names = [name for name, is_bad in zip(all_names, bad[step].tolist(), strict=True) if is_bad]
        raise FloatingPointError(
            f"training stopped in epoch {epoch + 1}, step {step + 1}: {', '.join(names)} is no longer a finite number. A "
            "lower `learning_rate` (for example a third of it) usually helps."
        )
