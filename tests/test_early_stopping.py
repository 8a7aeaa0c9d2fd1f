"""Held-out cells are not trained on, and the model is the one that was best on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sailerx
from data import TINY, minibatch_of, multiome, paired, tiny_settings
from sailerx.minibatches.loader import OnDevice
from sailerx.minibatches.sampler import Sampler
from sailerx.network.objective import minibatch_loss
from sailerx.network.schedules import LossWeights, loss_weights
from sailerx.network.vae import VAE
from sailerx.training.early_stopping import Watch, held_out

CPU = torch.device("cpu")
#: learns fast, then too much: 45 cells are few
OVERFITS = TINY | {"max_epochs": 200, "learning_rate": 3e-2, "held_out_share": 0.25, "patience": 8}


def fit(**options: Any) -> sailerx.Model:
    return sailerx.fit(paired(), **({"progress": "none"} | OVERFITS | options))


def test_a_share_of_the_cells_is_held_out() -> None:
    held = held_out(60, 0.25, 0)
    assert held.sum() == 15
    assert torch.equal(held, held_out(60, 0.25, 0))
    assert not torch.equal(held, held_out(60, 0.25, 1))
    assert not held_out(60, 0.0, 0).any()


@pytest.mark.parametrize("n_paired", [60, 30])
def test_held_out_cells_are_in_no_minibatch(n_paired: int) -> None:
    held = held_out(60, 0.25, 0)
    sampler = Sampler.of(torch.arange(60) < n_paired, 10, 0.5, ~held)
    generator = torch.Generator().manual_seed(0)
    seen = {int(i) for _ in range(20) for batch in sampler.epoch(generator) for i in batch}
    assert seen == set(np.flatnonzero(~held.numpy()).tolist())


def test_run_stops_when_it_no_longer_gets_better_and_returns_its_best() -> None:
    model = fit()
    watched = model.history["held_out"].to_numpy()
    assert len(watched) < 200
    lowest = np.minimum.accumulate(watched)
    assert watched[-8:].min() > 0.999 * lowest[-9]
    assert len(watched) - 1 - watched.argmin() <= 8
    data = multiome(settings=tiny_settings(**{k: v for k, v in OVERFITS.items() if k not in TINY}))
    settings = tiny_settings(**OVERFITS)
    watch = Watch.over(data, OnDevice.from_multiome(data, CPU), settings, 1.0, 0)
    assert watch is not None
    assert watch.loss(model.vae) == pytest.approx(watched.min(), rel=1e-4)


def test_a_loss_that_creeps_has_not_fallen() -> None:
    settings = tiny_settings(held_out_share=0.25, patience=3, warmup_epochs=1)
    data = multiome(settings=settings)
    watch = Watch.over(data, OnDevice.from_multiome(data, CPU), settings, 1.0, 0)
    assert watch is not None
    losses = [1.0, 100.0, 90.0, 89.95, 89.93, 89.92, 80.0]  # the first is the warm-up's
    history = [{"epoch": float(i), "held_out": loss} for i, loss in enumerate(losses)]
    assert [watch.last_fall(history[:n]) for n in range(2, 8)] == [1, 2, 2, 2, 2, 6]
    assert [watch.says_stop(history[:n]) for n in range(2, 8)] == [False, False, False, False, True, False]
    assert [watch.best_epoch(history[:n]) for n in range(2, 8)] == [1, 2, 3, 4, 5, 6]


def test_a_line_says_which_network_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    model = fit(progress="lines")
    n_epochs, best = len(model.history), int(model.history["held_out"].argmin()) + 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"ended early, after epoch {n_epochs}: the network of epoch {best} is kept, the best one for the 15 cells held out of training"
    )


def test_beside_the_joint_embedding_the_reconstruction_alone_is_watched() -> None:
    settings = tiny_settings(held_out_share=0.25, lambda_=1.0)
    data = multiome(settings=settings)
    cells = OnDevice.from_multiome(data, CPU)
    vae = VAE.from_settings(data.blocks, data.c.shape[1], settings, torch.Generator().manual_seed(0)).eval()
    watch = Watch.over(data, cells, settings, 1.0, 0)
    assert watch is not None
    rows = torch.from_numpy(np.flatnonzero(held_out(60, 0.25, 0)))
    noise = torch.Generator().manual_seed(0)
    terms = minibatch_loss(vae, minibatch_of(cells, rows), watch.weights, noise)[1]
    assert watch.loss(vae) == pytest.approx(terms[0].item(), rel=1e-6)


def test_watched_loss_is_that_of_the_end_of_the_run() -> None:
    settings = tiny_settings("paper", held_out_share=0.25, warmup_epochs=1, max_epochs=3)
    data = multiome(settings=settings)
    cells = OnDevice.from_multiome(data, CPU)
    vae = VAE.from_settings(data.blocks, data.c.shape[1], settings, torch.Generator().manual_seed(0)).eval()
    watch = Watch.over(data, cells, settings, 1.0, 0)
    assert watch is not None
    end = loss_weights(51.0, settings, 90)  # the middle of a cycle: annealing is done
    assert watch.weights == LossWeights(**end._asdict())
    rows = torch.from_numpy(np.flatnonzero(held_out(60, 0.25, 0)))
    noise = torch.Generator().manual_seed(0)
    expected = minibatch_loss(vae, minibatch_of(cells, rows), end, noise)[0].item()
    assert watch.loss(vae) == pytest.approx(expected, rel=1e-6)
    assert vae.training  # ready for the next epoch


def test_without_held_out_cells_the_run_goes_to_its_end() -> None:
    model = fit(held_out_share=0.0, max_epochs=12)
    assert len(model.history) == 12
    assert "held_out" not in model.history


def test_stopped_run_resumes_to_the_same_best(tmp_path: Path) -> None:
    straight = fit()
    path = tmp_path / "state"
    first = fit(checkpoint=path, checkpoint_epochs=3)
    again = fit(checkpoint=path, checkpoint_epochs=3)
    for model in (first, again):
        np.testing.assert_array_equal(model.embed(paired()), straight.embed(paired()))
