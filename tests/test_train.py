"""The training loop: seeded, honest in its history, and stopped when it diverges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

import sailerx
from data import Silent, minibatch_of, multiome, paired, tiny_settings, with_part, without_times
from sailerx.data.atac_scores import AtacScores
from sailerx.data.multiome import Multiome
from sailerx.minibatches.loader import OnDevice
from sailerx.minibatches.sampler import thinned
from sailerx.network.objective import minibatch_loss
from sailerx.network.schedules import LossWeights, learning_rate, loss_weights
from sailerx.network.vae import VAE
from sailerx.training.adam import Adam
from sailerx.training.loop import private_scores, train
from sailerx.training.state import TrainingState

CPU = torch.device("cpu")


def run(data: Multiome | None = None, *, seed: int = 0, **options: Any) -> tuple[VAE, pd.DataFrame]:
    settings = tiny_settings(**options)
    return train(data or multiome(), settings, seed=seed, device=CPU, progress=Silent())


def same(a: VAE, b: VAE) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_two_runs_with_one_seed_are_bit_identical() -> None:
    (first, a), (again, b) = run(), run()
    assert same(first, again)
    pd.testing.assert_frame_equal(without_times(a), without_times(b), check_exact=True)


def test_another_seed_gives_another_model() -> None:
    assert not same(run()[0], run(seed=1)[0])


def test_global_random_state_is_neither_read_nor_moved() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, _ = run()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(6)
    assert same(first, run()[0])


def test_history_has_one_row_per_epoch_with_every_term() -> None:
    _, history = run(warmup_epochs=2, max_epochs=3, kl_cycle_epochs=2)
    assert history["epoch"].tolist() == [0, 1, 2, 3, 4]
    terms = ["reconstruction", "kl_prior", "alignment"]  # lambda is 0
    columns = ["epoch", "loss", *terms, "learning_rate", "annealing", "seconds", "cells_per_second"]
    assert list(history.columns) == columns
    assert np.isfinite(history.to_numpy(dtype=float)).all()
    assert history["annealing"].tolist() == [0, 0, 0.5, 1, 0.5]


def test_history_loss_is_the_weighted_sum_of_its_terms() -> None:
    _, history = run(max_epochs=3, kl_cycle_epochs=0, lambda_=0.3, gamma=50.0)
    a = history["annealing"]
    expected = (
        history["reconstruction"]
        + a * history["kl_prior"]
        + a * 0.3 * history["kl_marginal"]
        + 50 * history["alignment"]
    )
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)


def test_without_lambda_the_invariance_term_is_not_computed() -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("computed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sailerx.network.losses.kl_to_marginal", refuse)
        _, history = run(max_epochs=3, kl_cycle_epochs=0, gamma=50.0)
        with pytest.raises(AssertionError, match="computed"):
            run(max_epochs=1, lambda_=0.1)
    expected = history["reconstruction"] + history["kl_prior"] + 50 * history["alignment"]
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)


def test_history_rate_follows_the_schedule() -> None:
    settings = tiny_settings("paper", warmup_epochs=1, max_epochs=3)
    _, history = train(multiome(settings=settings), settings, seed=0, device=CPU, progress=Silent())
    np.testing.assert_allclose(history["learning_rate"], [1e-4, 1e-4, 0.995e-4, 0.995**2 * 1e-4])
    assert history["learning_rate"][1] == learning_rate(1.5, settings)


def test_training_lowers_the_loss() -> None:
    for seed in range(3):
        _, history = run(max_epochs=60, learning_rate=2e-2, kl_cycle_epochs=0, seed=seed)
        assert history["loss"].iloc[-3:].mean() < 0.9 * history["loss"].iloc[0]


def test_weight_decay_shrinks_the_weights() -> None:
    plain, decayed = (run(weight_decay=value, learning_rate=1e-2)[0] for value in (0.0, 1e6))
    assert decayed.mean_head.weight.norm() < 0.95 * plain.mean_head.weight.norm()


def minibatch(weights: LossWeights) -> tuple[float, list[float], dict[str, Any]]:
    """Loss and terms of one mini-batch, and the network and data they are from."""
    data = multiome()
    vae = VAE(data.blocks, data.c.shape[1], 5, 8, 4, torch.Generator().manual_seed(0)).eval()
    rows = torch.arange(0, 60, 3)
    loss, terms = minibatch_loss(
        vae,
        minibatch_of(OnDevice.from_multiome(data, CPU), rows),
        weights,
        torch.Generator().manual_seed(1),
    )
    return loss.item(), [term.item() for term in terms], {"data": data, "vae": vae, "rows": rows}


def test_loss_of_a_minibatch_matches_torch_distributions() -> None:
    weights = LossWeights(0.5, 1.0, 0.25, 0.1, 10.0, True)
    loss, terms, used = minibatch(weights)
    data, vae, rows = used["data"], used["vae"], used["rows"]
    x = torch.from_numpy(data.x[rows.numpy()].toarray()).float()
    q = vae.encode(OnDevice.from_multiome(data, CPU).x.take(rows))
    z = q.mean + q.stddev * torch.randn(q.mean.shape, generator=torch.Generator().manual_seed(1))
    reconstruction = (
        -Bernoulli(logits=vae.decode(z, torch.from_numpy(data.c[rows]))).log_prob(x).sum(dim=1).mean()
    )
    prior = kl_divergence(q, Normal(0.0, 1.0)).sum(dim=1).mean()
    pairs = kl_divergence(
        Normal(q.mean[:, None], q.stddev[:, None]), Normal(q.mean[None], q.stddev[None])
    ).sum(dim=-1)
    g, w = torch.from_numpy(data.g[rows]), torch.from_numpy(data.w[rows])
    cosine = torch.cosine_similarity
    difference = cosine(g[:, None], g[None], dim=-1) - cosine(q.mean[:, None], q.mean[None], dim=-1)
    alignment = (w[:, None] * w[None] * difference**2).mean()
    expected = [reconstruction, prior, pairs.mean(), alignment]
    assert terms == pytest.approx([term.item() for term in expected], rel=1e-4)
    assert loss == pytest.approx(
        sum(k * t.item() for k, t in zip((0.5, 0.25, 0.1, 10), expected, strict=True)), rel=1e-4
    )


def test_reconstruction_from_a_share_of_peaks_is_right_on_average() -> None:
    weights = LossWeights(1.0, 1.0, 0.0, 0.0, 0.0, True)
    used = minibatch(weights)[2]
    cells = OnDevice.from_multiome(used["data"], CPU)

    def reconstruction(peaks: torch.Tensor | None) -> float:
        noise = torch.Generator().manual_seed(1)
        return minibatch_loss(used["vae"], minibatch_of(cells, used["rows"]), weights, noise, peaks)[1][
            0
        ].item()

    order = torch.randperm(90, generator=torch.Generator().manual_seed(2))
    parts = [reconstruction(part.sort().values) for part in order.split(30)]
    assert np.mean(parts) == pytest.approx(reconstruction(None), rel=1e-4)
    assert np.std(parts) > 0


def test_thinned_cells_are_encoded_from_what_is_left_and_explained_in_full() -> None:
    weights = LossWeights(1.0, 1.0, 0.0, 0.0, 0.0, True)
    used = minibatch(weights)[2]
    cells, vae, rows = OnDevice.from_multiome(used["data"], CPU), used["vae"], used["rows"]
    noise, again = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    found = minibatch_loss(vae, minibatch_of(cells, rows), weights, noise, thinning=(0.5, 0.3))[1][0].item()
    x = cells.x.take(rows)
    q = vae.encode(thinned(x, 0.5, 0.3, again)[0])
    z = q.mean + q.stddev * torch.randn(q.mean.shape, generator=again)
    logits = vae.decode(z, torch.from_numpy(used["data"].c[rows]))
    expected = -Bernoulli(logits=logits).log_prob(x.dense()).sum(dim=1).mean()
    assert found == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("n_epochs", [0, 1])
def test_scores_of_all_cells_are_computed_only_for_a_network(
    n_epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    monkeypatch.setattr("sailerx.training.loop.private_scores", lambda *_: computed.append("scores"))
    sailerx.fit(paired(), max_epochs=n_epochs, n_latent=8, n_private=4, progress="none")
    assert len(computed) == n_epochs


@pytest.mark.parametrize("thinning", [(0.0, 1.0), (0.5, 0.3)])
def test_scores_at_hand_are_those_that_a_step_would_compute(thinning: tuple[float, float]) -> None:
    data = multiome()
    scores = AtacScores.learn(data.x, 3)
    settings = tiny_settings(n_latent=8, n_private=4)
    vae = TrainingState(data, settings, 0, CPU, scores=scores).vae
    weights = LossWeights(1.0, 1.0, 1.0, None, 10.0, True)
    every_cell = private_scores(data.x, np.arange(data.n_cells), 4, scores)
    assert every_cell is not None
    losses = [
        minibatch_loss(
            vae,
            minibatch_of(OnDevice.from_multiome(data, CPU, scores=given), torch.arange(40)),
            weights,
            torch.Generator().manual_seed(1),
            thinning=thinning,
        )[0]
        for given in (every_cell, None, np.zeros_like(every_cell))
    ]
    torch.testing.assert_close(losses[0], losses[1])
    assert not torch.isclose(losses[0], losses[2])


def test_run_on_a_share_of_the_peaks_is_seeded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sailerx.training.loop.FEWEST_PEAKS", 1)
    assert same(run(peak_share=0.5)[0], run(peak_share=0.5)[0])
    assert not same(run(peak_share=0.5)[0], run()[0])


def test_warm_up_aligns_without_w() -> None:
    weighted = LossWeights(1.0, 1.0, 0.0, 0.0, 1.0, True)
    assert minibatch(weighted)[1][3] < minibatch(weighted._replace(weighted_cells=False))[1][3]


@pytest.mark.filterwarnings("ignore:.*trained without alignment:UserWarning")
def test_cells_without_rna_have_no_alignment_but_all_else() -> None:
    mdata = paired()
    data = multiome(with_part(mdata, rna=mdata["rna"][:30].copy()))
    cells = OnDevice.from_multiome(data, CPU)
    vae = VAE(data.blocks, data.c.shape[1], 5, 8, 4, torch.Generator().manual_seed(0)).eval()
    weights = loss_weights(30.0, tiny_settings(), 90)
    noise = torch.Generator().manual_seed(0)
    with_rna, without = (
        minibatch_loss(vae, minibatch_of(cells, rows), weights, noise)[1]
        for rows in torch.arange(60).split(30)
    )
    assert with_rna[-1] > 0
    assert without[-1] == 0
    assert without[0] > 0


@pytest.mark.filterwarnings("ignore:.*trained without alignment:UserWarning")
@pytest.mark.parametrize("weighted", [True, False])
def test_alignment_is_the_mean_over_pairs_of_cells_with_rna(weighted: bool) -> None:
    mdata = paired()
    data = multiome(with_part(mdata, rna=mdata["rna"][:30].copy()))
    cells = OnDevice.from_multiome(data, CPU)
    vae = VAE(data.blocks, data.c.shape[1], 5, 8, 4, torch.Generator().manual_seed(0)).eval()
    weights, noise = LossWeights(1.0, 1.0, 0.0, 0.0, 1.0, weighted), torch.Generator().manual_seed(0)
    rows = torch.tensor([3, 40, 8, 21, 55, 59, 30])
    found = minibatch_loss(vae, minibatch_of(cells, rows), weights, noise)[1][3].item()
    mean = vae.encode(cells.x.take(rows)).mean[data.has_rna[rows]]
    own = rows[rows < 30]
    g, w = torch.from_numpy(data.g[own]), torch.from_numpy(data.w[own]) if weighted else torch.ones(3)
    cosine = torch.cosine_similarity
    difference = cosine(g[:, None], g[None], dim=-1) - cosine(mean[:, None], mean[None], dim=-1)
    assert found == pytest.approx((w[:, None] * w[None] * difference**2).mean().item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*trained without alignment:UserWarning")
def test_run_with_cells_without_rna_stays_finite() -> None:
    mdata = paired()
    _, history = run(multiome(with_part(mdata, rna=mdata["rna"][:3].copy())), minibatch_size=5)
    assert np.isfinite(history["loss"]).all()


def test_divergence_stops_the_run_and_says_what_helps() -> None:
    with pytest.raises(
        FloatingPointError, match=r"training stopped in epoch \d+, step \d+: loss, .*A lower `learning_rate`"
    ):
        run(max_epochs=60, learning_rate=1e6)


def test_progress_is_told_after_each_epoch() -> None:
    told: list[tuple[int, float]] = []

    class Listener(Silent):
        def update(self, epoch: int, record: Any) -> None:
            told.append((epoch, record["loss"]))

        def close(self) -> None:
            told.append((-1, 0.0))

    settings = tiny_settings(max_epochs=3)
    _, history = train(multiome(), settings, seed=0, device=CPU, progress=Listener())
    assert told == [*zip([1, 2, 3], history["loss"], strict=True), (-1, 0.0)]


def test_adam_takes_the_steps_of_pytorchs_and_restores_its_state() -> None:
    numbers = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(4, 3, generator=numbers), torch.randn(6, 4, 3, generator=numbers)

    def steps(optimizer_class: Any, n_before: int) -> torch.Tensor:
        """Take six steps, and save and load the state after the first ``n_before``."""
        weights = start.clone().requires_grad_()
        options: Any = {"lr": 0.1, "weight_decay": 0.01, "fused": True}
        optimizer = optimizer_class([weights], **options)
        for i, gradient in enumerate(gradients):
            if i == n_before:
                state, optimizer = optimizer.state_dict(), optimizer_class([weights], **options)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            (weights * gradient).sum().backward()
            optimizer.step()
        return weights.detach()

    expected = steps(torch.optim.Adam, 6)
    assert torch.equal(steps(Adam, 6), expected)
    assert torch.equal(steps(Adam, 3), expected)
