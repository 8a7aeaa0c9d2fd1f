"""The prior of the decoder's last weights: its strength by the ATAC scores, its term of the loss, and what it is for."""

from __future__ import annotations

import dataclasses
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.optimize import minimize_scalar

import sailerx
from data import TINY, minibatch_of, multiome, paired, tiny_settings
from sailerx.config import PAPER, Settings
from sailerx.data.atac_scores import AtacScores
from sailerx.minibatches.loader import OnDevice
from sailerx.network.decoder_prior import shrink_to_prior, with_decoder_decay
from sailerx.network.layers import ChromosomesToPeaks
from sailerx.network.losses import spread_of_weights
from sailerx.network.objective import minibatch_loss
from sailerx.network.schedules import LossWeights, loss_weights
from sailerx.network.vae import VAE
from sailerx.training import loop
from sailerx.training.early_stopping import Watch
from sailerx.training.progress import Progress
from sailerx.training.state import TrainingState


def test_spread_of_weights_is_that_of_a_loop_and_so_is_its_gradient() -> None:
    weight = torch.randn(11, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight.requires_grad_()
    chrom_of = torch.tensor([0, 0, 0, 0, 0, 2, 2, 2, 3, 4, 4])  # 1 has no peak, 3 a single one
    spread = spread_of_weights(weight, chrom_of, 6)
    expected = torch.zeros((), dtype=torch.float64)
    for k in range(6):
        of_chrom = weight[chrom_of == k]
        for row in of_chrom:
            expected = expected + sum((row[i] - of_chrom[:, i].mean()) ** 2 for i in range(3))
    assert spread.item() == pytest.approx(expected.item(), rel=1e-12)
    found, wanted = (torch.autograd.grad(value, weight)[0] for value in (spread, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def loss_of(vae: VAE, cells: OnDevice, peaks: torch.Tensor | None = None, **given: float) -> float:
    weights = LossWeights(1.0, 1.0, 0.5, None, 100.0, True, **given)
    noise = torch.Generator().manual_seed(0)
    return minibatch_loss(vae.eval(), minibatch_of(cells, torch.arange(40)), weights, noise, peaks)[0].item()


def test_loss_has_half_the_weighted_spread_and_random_peaks_estimate_it() -> None:
    data = multiome()
    cells = OnDevice.from_multiome(data, torch.device("cpu"))
    vae = VAE.from_settings(data.blocks, data.c.shape[1], tiny_settings(), torch.Generator().manual_seed(0))
    last = vae.to_peaks.rows()
    spread = spread_of_weights(last.weight, last.chrom_of, vae.n_chroms).item()
    added = loss_of(vae, cells, decoder=8.0) - loss_of(vae, cells)
    assert added == pytest.approx(4 * spread, rel=1e-3)
    peaks = torch.arange(0, data.n_peaks, 2)  # half of each chromosome, give or take one
    chosen = vae.to_peaks.rows(peaks)
    of_half = spread_of_weights(chosen.weight, chosen.chrom_of, vae.n_chroms).item()
    added = loss_of(vae, cells, peaks, decoder=8.0) - loss_of(vae, cells, peaks)
    assert added == pytest.approx(4 * of_half * data.n_peaks / len(peaks), rel=1e-3)


def drawn(spread: float, n: int = 1500, p: int = 3000, seed: int = 0) -> tuple[sp.csr_matrix, float]:
    """Open peaks of cells whose log shares vary along three directions, and the variance in the mean over open peaks."""
    rng = np.random.default_rng(seed)
    share = rng.gamma(2.0, size=p)
    change = spread * rng.normal(size=(n, 3)) @ rng.normal(size=(3, p)) / np.sqrt(3)
    rate = share * np.exp(change - spread**2 / 2)
    rate *= rng.uniform(50, 150, n)[:, None] / rate.sum(axis=1, keepdims=True)
    share /= share.sum()
    return sp.csr_matrix((rng.random((n, p)) < rate).astype(np.float32)), float(share @ change.var(axis=0))


@pytest.mark.parametrize(("spread", "least"), [(0.3, 0.5), (0.4, 0.75), (0.5, 0.85), (0.7, 0.75)])
def test_variance_of_logits_is_what_can_be_seen_of_the_drawn_ones(spread: float, least: float) -> None:
    x, true = drawn(spread)
    assert least < AtacScores.learn(x, 20).variance_of_logits / true < 1


def test_variance_of_logits_counts_confounders_that_scores_are_made_blind_to() -> None:
    x, _ = drawn(0.5)
    scores = AtacScores.learn(x, 20)
    z = scores.of(x)
    blind = scores.blind_to(z, z[:, :1], np.empty((len(z), 0)))
    assert len(blind.strength) < len(scores.strength)
    assert blind.variance_of_logits == blind.first(2).variance_of_logits == scores.variance_of_logits


def test_weight_decay_is_the_precision_per_cell() -> None:
    x, _ = drawn(0.5)
    scores, n_cells = AtacScores.learn(x, 20), x.shape[0]
    features = torch.nn.functional.prelu(torch.randn(10**6), torch.tensor([0.25]))
    for hybrid, reconstruction in ((False, 1.0), (True, 5.0)):
        settings = with_decoder_decay(Settings(n_hidden=48).for_data(3, hybrid=hybrid), scores, n_cells)
        variance = 48 * features.square().mean().item() / (settings.decoder_decay or 0) / n_cells
        assert variance * reconstruction == pytest.approx(scores.variance_of_logits, rel=0.01)


def test_without_signal_the_prior_is_tight_and_without_scores_there_is_none() -> None:
    x = sp.random(400, 900, 0.1, "csr", np.float32, np.random.default_rng(0), np.ones)
    settings = Settings().for_data(1, hybrid=False)
    assert with_decoder_decay(settings, None, 400).decoder_decay == 0
    decay = with_decoder_decay(settings, AtacScores.learn(x, 20), 400).decoder_decay
    assert decay == pytest.approx(64 * 0.53125 / 0.01 / 400)
    given = dataclasses.replace(settings, decoder_decay=0.7)
    assert with_decoder_decay(given, None, 400) is given


def test_the_model_says_how_strong_the_prior_was_and_the_paper_has_none() -> None:
    assert PAPER.decoder_decay == 0
    assert loss_weights(60.0, PAPER, 100).decoder is None
    found = sailerx.fit(paired(), progress="none", **TINY | {"max_epochs": 1}).settings.decoder_decay
    assert found is not None
    assert found > 0
    given = sailerx.fit(paired(), progress="none", decoder_decay=0.0, **TINY | {"max_epochs": 1})
    assert given.settings.decoder_decay == 0


def test_imputation_tells_more_than_peak_frequency_and_follows_depth() -> None:
    whole = sailerx.simulate(n_cells=1000, n_genes=200, n_peaks=2000, n_types=4, seed=1)
    x = sp.csr_matrix(whole["atac"].X > 0).astype(np.float32)
    removed = x.copy()
    removed.data[np.random.default_rng(0).random(x.nnz) >= 0.25] = 0
    removed.eliminate_zeros()
    left = sp.csr_matrix(x - removed)
    left.eliminate_zeros()
    with mudata.set_options(pull_on_update=False):
        atac = ad.AnnData(left, whole["atac"].obs, whole["atac"].var)
        data = mudata.MuData({"rna": whole["rna"], "atac": atac})
    share = np.asarray(left.mean(axis=0)).ravel() + 1e-3
    gain = {}
    for name, options in {"prior": {}, "none": {"decoder_decay": 0.0}}.items():
        model = sailerx.fit(data, progress="none", **options)
        p = model.impute(data, peaks=list(atac.var_names)).X
        rows, columns = removed.nonzero()
        ratio = (p / p.sum(axis=1, keepdims=True))[rows, columns] / (share / share.sum())[columns]
        gain[name] = np.log(ratio).mean()
        if name == "prior":
            for depth in (20, 80):
                found = model.impute(data, peaks=list(atac.var_names), depth=depth).X.sum(axis=1).mean()
                assert found == pytest.approx(depth, rel=0.2)
    assert gain["prior"] > 0.02
    assert gain["none"] < gain["prior"] - 0.01


def test_weights_start_at_the_prior_s_mean_and_held_out_cells_are_judged_without_it() -> None:
    data = multiome()
    for decay, starts_at_0 in ((0.3, True), (0.0, False)):
        settings = tiny_settings(decoder_decay=decay, held_out_share=0.25)
        state = TrainingState(data, settings, 0, torch.device("cpu"))
        assert bool((state.vae.to_peaks.weight == 0).all()) == starts_at_0
        watch = Watch.over(data, OnDevice.from_multiome(data, torch.device("cpu")), settings, 1.0, 0)
        assert watch is not None
        assert watch.weights.decoder is None


def test_the_prior_holds_from_the_middle_of_a_run_on_or_from_its_start_if_cells_are_held_out() -> None:
    def factors(**options: float) -> list[float | None]:
        settings = tiny_settings(**{"decoder_decay": 0.3, "max_epochs": 7, "warmup_epochs": 2} | options)
        return [loss_weights(epoch, settings, 90).decoder for epoch in np.arange(0, 9, 0.5)]

    assert factors() == [None] * 8 + [0.3] * 10
    assert factors(warmup_epochs=5) == [None] * 12 + [0.3] * 6  # the middle of 12 epochs is after the warm-up
    assert factors(warmup_epochs=8) == [None] * 16 + [0.3] * 2  # that of 15 is not
    assert factors(held_out_share=0.25) == [None] * 4 + [0.3] * 14
    assert factors(decoder_decay=0.0) == [None] * 18


def test_shrunk_weights_minimise_the_loss_along_the_line_to_the_mean() -> None:
    rng = np.random.default_rng(0)
    blocks, n_hidden, decay = ((0, 4), (4, 5), (5, 9)), 3, 0.2
    layer = ChromosomesToPeaks(blocks, n_hidden, torch.Generator().manual_seed(0))
    w = layer.weight.detach().double().numpy().copy()
    h = rng.normal(size=(50, 3, n_hidden)) @ rng.normal(size=(n_hidden, n_hidden))
    frequency = np.array([0.01, 0.1, 0.5, 0.9, 0.3, 0.0, 0.2, 0.02, 1.0])
    covariance = np.stack([np.cov(h[:, k].T, bias=True) for k in range(3)])
    given = (torch.tensor(covariance, dtype=torch.float32), torch.tensor(frequency, dtype=torch.float32))
    shrink_to_prior(layer, *given, 5.0, decay)
    for k, (start, end) in enumerate(blocks):
        mean = w[start:end].mean(axis=0)
        for j in range(start, end):
            d, f = w[j] - mean, frequency[j]

            def loss(s: float, d: np.ndarray = d, f: float = f, k: int = k) -> float:
                change = (h[:, k] - h[:, k].mean(axis=0)) @ d * (s - 1)
                return float(5 * f * (1 - f) / 2 * np.mean(change**2) + decay / 2 * s**2 * d @ d)

            best = minimize_scalar(loss, (0, 1), tol=1e-10).x if d.any() else 1.0
            np.testing.assert_allclose(layer.weight[j].detach(), mean + best * d, rtol=1e-4, atol=1e-5)


def test_weights_are_shrunk_once_and_nothing_else_of_the_network_is_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, seen = multiome(), []
    settings = tiny_settings(decoder_decay=0.5, max_epochs=4, warmup_epochs=0)

    def spied(vae: VAE, *rest: Any) -> None:
        before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
        begin(vae, *rest)
        after = vae.state_dict()
        seen.append([name for name in before if not torch.equal(before[name], after[name])])
        assert vae.training
        spread = [
            spread_of_weights(of["to_peaks.weight"], vae.to_peaks.chrom_of, vae.n_chroms)
            for of in (before, after)
        ]
        assert spread[1] < 0.9 * spread[0]

    begin = loop._begin_prior
    monkeypatch.setattr(loop, "_begin_prior", spied)
    loop.train(data, settings, seed=0, device=torch.device("cpu"), progress=Progress("none", 4))
    assert seen == [["to_peaks.weight"]]
