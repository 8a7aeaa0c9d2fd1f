"""The training loop: one for warm-up, paired, hybrid, resumed and multi-process runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sailerx.config import Settings
from sailerx.data.multiome import Multiome
from sailerx.device import out_of_memory
from sailerx.kernels.open_peaks import PaddedRows, SparseRows
from sailerx.minibatches.loader import Minibatch, OnDevice
from sailerx.minibatches.sampler import Sampler, random_peaks
from sailerx.network.objective import TERMS, minibatch_loss
from sailerx.network.schedules import LossWeights, kl_annealing, learning_rate, loss_weights
from sailerx.network.vae import VAE
from sailerx.training.checkpoint import Checkpoints
from sailerx.training.cuda_graph import captured_epochs
from sailerx.training.distributed.ranks import ALONE, Ranks
from sailerx.training.early_stopping import Watch, held_out
from sailerx.training.progress import Progress
from sailerx.training.state import TrainingState

#: fewest peaks from which a step estimates the reconstruction: from fewer it learns too little
FEWEST_PEAKS = 1000


def train(
    data: Multiome,
    settings: Settings,
    *,
    seed: int,
    device: torch.device,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    ranks: Ranks = ALONE,
) -> tuple[VAE, pd.DataFrame]:
    """Train a model on one data set.

    Parameters
    ----------
    data
        Validated cells; some may lack RNA.
    settings
        Constants of the run.
    seed
        Fixes initial weights, order of cells and noise. Two CPU runs with one seed and thread count are bit-identical.
    device
        Where to compute.
    progress
        Told after each epoch.
    checkpoints
        Where to write the state of the run; a run whose state is there is resumed.
    ranks
        The processes that train this model together, each of which calls this function. Mini-batches and result are those of
        one process, up to rounding. Checkpoints and progress of the first one are used.

    Returns
    -------
    The trained network in evaluation mode (with early stopping, that of the best epoch), and the history: one row per
    epoch with ``loss`` (weighted as trained), its terms in nats per cell (alignment: per pair of cells),
    ``learning_rate``, ``annealing``, ``seconds`` and ``cells_per_second``; with early stopping also ``held_out``.

    Raises
    ------
    FloatingPointError
        When the loss is no longer finite; says in which step, and which term.
    InputError
        When a mini-batch does not fit into the memory of the GPU.
    ProcessLostError
        When another process of the run is gone.
    """
    state = TrainingState(data, settings, seed, device, ranks)
    _share_first_state(state, checkpoints, ranks)
    on_device = OnDevice.from_multiome(data, device, ranks.read(data.x), ranks.shard(data.depth, device))
    sampler = sampler_of(data, settings, seed, ranks.world_size)
    peak_share = max(settings.peak_share, FEWEST_PEAKS / data.n_peaks)
    step = partial(training_step, state, settings=settings, peak_share=peak_share, ranks=ranks)
    run_epoch = captured_epochs(state, on_device, sampler, step, ranks) or partial(
        train_epoch, state, on_device, step
    )
    watch = Watch.over(data, on_device, settings, peak_share, seed)
    state.vae.train()
    for epoch in range(len(state.history), settings.n_epochs):
        if watch is not None and watch.says_stop(state.history):
            break
        start = time.perf_counter()
        batches = list(sampler.epoch(state.order))
        moments = [epoch + i / len(batches) for i in range(len(batches))]
        rates = [learning_rate(now, settings) for now in moments]
        weights = [loss_weights(now, settings, data.n_peaks) for now in moments]
        with _explained_if_too_large(state.vae, on_device, peak_share, len(batches[0])):
            terms = run_epoch(batches, rates, weights)
        ranks.from_first(partial(_refuse_nan, terms, epoch))
        state.history.append(_record(terms.mean(0), epoch, settings, time.perf_counter() - start, sampler))
        if watch is not None:
            # all processes compute it, the first one's number counts
            state.history[-1]["held_out"] = ranks.from_first(partial(float, watch.loss(state.vae)))
            if watch.best_epoch(state.history) == epoch:
                state.best = {name: value.clone() for name, value in state.vae.state_dict().items()}
        if checkpoints is not None and ranks.is_first:
            checkpoints.after_epoch(state, epoch + 1, settings.n_epochs)
        progress.update(epoch + 1, state.history[-1])
    progress.close()
    ranks.restore_batch_norm(state.vae)
    state.optimizer.zero_grad()  # frees the gradients
    if watch is not None:
        state.vae.load_state_dict(state.best)
    return state.vae.eval(), pd.DataFrame(state.history)


def train_epoch(
    state: TrainingState,
    on_device: OnDevice,
    step: partial[Tensor],
    batches: Sequence[Int[Tensor, " cells"]],
    rates: Sequence[float],
    weights: Sequence[LossWeights],
) -> Float[Tensor, "steps terms"]:
    """One step per mini-batch; returns each step's loss and terms, without waiting for the device."""
    terms = torch.empty(len(batches), 1 + len(TERMS), device=on_device.w.device)
    for i, minibatch in enumerate(on_device.minibatches(batches)):
        state.set_learning_rate(rates[i])
        terms[i] = step(minibatch, weights[i])
    return terms


def training_step(
    state: TrainingState,
    minibatch: Minibatch,
    weights: LossWeights,
    *,
    settings: Settings,
    peak_share: float,
    ranks: Ranks,
) -> Float[Tensor, " terms"]:
    """Loss, backward, optimiser step; returns the loss and its terms."""
    peaks = random_peaks(minibatch.x.n_peaks, peak_share, state.noise)
    loss, terms = minibatch_loss(state.vae, minibatch, weights, state.noise, peaks, settings.thinning)
    state.optimizer.zero_grad()
    loss.backward()
    ranks.average_gradients(state.vae, peaks)
    state.optimizer.step()
    return torch.stack([loss.detach(), *terms])


def sampler_of(data: Multiome, settings: Settings, seed: int, world_size: int = 1) -> Sampler:
    """The sampler of a run on these data by ``world_size`` processes."""
    trained = ~held_out(data.n_cells, settings.held_out_share, seed)
    has_rna = torch.from_numpy(data.has_rna)
    size, share = settings.minibatch_size, settings.paired_share
    return Sampler.of(has_rna, size, share, trained, data.n_buffers, world_size)


def _share_first_state(state: TrainingState, checkpoints: Checkpoints | None, ranks: Ranks) -> None:
    """Start all processes from the state of the first one: new, or that of its checkpoint."""

    def first_state() -> tuple[dict[str, Tensor], list[dict[str, float]]]:
        if checkpoints is not None:
            checkpoints.restore(state)
        return {name: tensor.cpu() for name, tensor in state.tensors().items()}, state.history

    tensors, history = ranks.from_first(first_state)
    if not ranks.is_first:
        state.load(tensors, history)
    ranks.synchronise_batch_norm(state.vae)


@contextmanager
def _explained_if_too_large(vae: VAE, on_device: OnDevice, peak_share: float, size: int) -> Iterator[None]:
    """Turn CUDA's out-of-memory error into one that names a mini-batch size that would fit."""
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
    """One row of the history, from the mean loss and terms of an epoch."""
    loss, *terms = means.tolist()
    return {
        "epoch": epoch,
        "loss": loss,
        **dict(zip(TERMS, terms, strict=True)),
        "learning_rate": learning_rate(epoch + 0.5, settings),
        "annealing": kl_annealing(epoch + 0.5, settings),
        "seconds": seconds,
        "cells_per_second": sampler.n_steps * sum(sampler.sizes) / seconds,
    }


def _refuse_nan(terms: Float[Tensor, "steps terms"], epoch: int) -> None:
    """Stop at the first step of the epoch in which a term is not a finite number."""
    bad = ~terms.isfinite()
    if bad.any():
        step = int(bad.any(dim=1).nonzero()[0])
        names = [name for name, is_bad in zip(("loss", *TERMS), bad[step].tolist(), strict=True) if is_bad]
        raise FloatingPointError(
            f"training stopped in epoch {epoch + 1}, step {step + 1}: {', '.join(names)} is no longer a finite number. A "
            "lower `learning_rate` (for example a third of it) usually helps."
        )
