"""The training loop. One for every kind of run."""

from __future__ import annotations

import time
from functools import partial

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sailerx.captured import steps_of
from sailerx.checkpoint import Checkpoints
from sailerx.config import Settings
from sailerx.device import out_of_memory
from sailerx.early_stopping import Watch, held_out
from sailerx.errors import InputError
from sailerx.minibatch import Sampler, SparseRows
from sailerx.model import VAE
from sailerx.multiome import Multiome
from sailerx.objective import TERMS, OnDevice
from sailerx.padded import PaddedRows
from sailerx.progress import Progress
from sailerx.ranks import ALONE, Ranks
from sailerx.run import Run
from sailerx.schedules import kl_annealing, learning_rate


def sampler_of(data: Multiome, settings: Settings, seed: int, world_size: int = 1) -> Sampler:
    """The mini-batches of a run on these data, by so many processes."""
    trained = ~held_out(data.n_cells, settings.held_out_share, seed)
    has_rna = torch.from_numpy(data.has_rna)
    size, share = settings.minibatch_size, settings.paired_share
    return Sampler.of(has_rna, size, share, trained, data.n_buffers, world_size)


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
        Where to write the state now and then; a run whose state is there goes on from it.
    ranks
        The processes that train this model together, each of which calls this function. Mini-batches and result are those of
        one process, up to rounding. The first one's checkpoints and progress are used.

    Returns
    -------
    The trained network in evaluation mode (with early stopping: as it was at its best), and the history: one row per
    epoch with ``loss`` (weighted as trained), its terms in nats per cell (alignment: per pair of cells),
    ``learning_rate``, ``annealing``, ``seconds`` and ``cells_per_second``; with early stopping also ``held_out``.

    Raises
    ------
    FloatingPointError
        When the loss stops being a number; says in which step, and which term.
    InputError
        When a mini-batch does not fit into the memory of the GPU.
    ProcessLostError
        When another process of the run is gone.
    """
    run = Run(data, settings, seed, device, ranks)
    _start(run, checkpoints, ranks)
    cells = OnDevice.from_multiome(data, device, ranks)
    sampler = sampler_of(data, settings, seed, ranks.world_size)
    steps = steps_of(run, cells, sampler, settings, ranks)
    watch = Watch.over(data, cells, settings, steps.peak_share, seed)
    run.vae.train()
    for epoch in range(len(run.history), settings.n_epochs):
        if watch is not None and watch.says_stop(run.history):
            break
        start = time.perf_counter()
        batches = list(sampler.epoch(run.order))
        try:
            terms = steps.epoch(epoch, batches)
        except torch.OutOfMemoryError as error:
            raise _too_large(run, cells, steps.peak_share, len(batches[0])) from error
        ranks.from_first(partial(_refuse_nan, terms, epoch))
        record = _record(terms.mean(0), epoch, settings, time.perf_counter() - start, sampler)
        run.history.append(record)
        if watch is not None:
            loss_of_held = watch.loss(run.vae)  # by all processes; the first one's number decides
            record["held_out"] = ranks.from_first(partial(float, loss_of_held))
            if watch.best_epoch(run.history) == epoch:
                run.best = {name: value.clone() for name, value in run.vae.state_dict().items()}
        if checkpoints is not None and ranks.is_first:
            checkpoints.after_epoch(run, epoch + 1, settings.n_epochs)
        progress.update(epoch + 1, record)
    progress.close()
    ranks.leave(run.vae)
    run.optimizer.zero_grad()  # gradients are not kept with the network
    if watch is not None:
        run.vae.load_state_dict(run.best)
    return run.vae.eval(), pd.DataFrame(run.history)


def _too_large(run: Run, cells: OnDevice, peak_share: float, size: int) -> InputError:
    n_parameters = sum(parameter.numel() for parameter in run.vae.parameters())
    n_bytes = 4 * len(cells.x.indices) if isinstance(cells.x, SparseRows | PaddedRows) else 0
    return out_of_memory(cells.w.device, n_parameters, n_bytes, cells.x.n_peaks, peak_share, size)


def _start(run: Run, checkpoints: Checkpoints | None, ranks: Ranks) -> None:
    """Bring all processes to the state that the first one starts from: new, or of its checkpoint."""

    def state() -> tuple[dict[str, Tensor], list[dict[str, float]]]:
        if checkpoints is not None:
            checkpoints.restore(run)
        return {name: tensor.cpu() for name, tensor in run.tensors().items()}, run.records()

    tensors, records = ranks.from_first(state)
    if not ranks.is_first:
        run.go_on_from(tensors, records)
    ranks.join(run.vae)


def _record(
    means: Tensor, epoch: int, settings: Settings, seconds: float, sampler: Sampler
) -> dict[str, float]:
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
