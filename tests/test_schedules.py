"""Warm-up, annealing and learning rate against loops written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sailerx.config import PAPER, Settings
from sailerx.network.schedules import kl_annealing, learning_rate, loss_weights


def test_paper_annealing_rises_over_half_of_each_cycle_and_starts_again() -> None:
    expected = [0.0] * 10  # warm-up
    for _ in range(4):
        expected += [step / 50 for step in range(50)] + [1.0] * 50
    assert [kl_annealing(float(epoch), PAPER) for epoch in range(410)] == pytest.approx(expected)


def test_annealing_is_continuous_within_an_epoch() -> None:
    assert kl_annealing(10 + 12.5, PAPER) == pytest.approx(0.25)


def test_annealing_can_be_switched_off() -> None:
    settings = Settings(kl_cycle_epochs=0, warmup_epochs=2)
    assert [kl_annealing(epoch, settings) for epoch in (0.0, 1.9, 2.0, 30.0)] == [0, 0, 1, 1]


def test_paper_rate_is_constant_in_the_warm_up_then_decays_once_per_epoch() -> None:
    expected, rate = [1e-4] * 10, 1e-4
    for _ in range(400):
        expected.append(rate)
        rate *= 0.995
    assert [learning_rate(float(epoch), PAPER) for epoch in range(410)] == pytest.approx(expected)
    assert learning_rate(10.99, PAPER) == learning_rate(10.0, PAPER)


def test_one_cycle_rate_follows_pytorchs() -> None:
    settings = Settings(warmup_epochs=10, max_epochs=90, learning_rate=2.0, lr_schedule="one-cycle")
    n_steps = 5000
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2.0, total_steps=n_steps, pct_start=0.3, div_factor=25, final_div_factor=40
    )
    for step in range(0, n_steps - 1):
        if step % 250 == 0:
            ours = learning_rate(100 * step / n_steps, settings)
            assert ours == pytest.approx(theirs.get_last_lr()[0], abs=2e-3)
        optimizer.step()
        theirs.step()


def test_one_cycle_rate_starts_low_peaks_once_and_ends_lower() -> None:
    settings = Settings(warmup_epochs=0, max_epochs=10, learning_rate=1.0, lr_schedule="one-cycle")
    rates = [learning_rate(10 * i / 1000, settings) for i in range(1001)]
    peak = rates.index(max(rates))
    assert (rates[0], rates[peak], peak, rates[-1]) == pytest.approx((0.04, 1.0, 300, 1e-3))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_paper_weights_of_the_warm_up_are_means_without_kl_or_w() -> None:
    n_peaks, m = 131_364, 200
    weights = loss_weights(9.99, PAPER, n_peaks)
    assert weights.reconstruction * m * n_peaks == pytest.approx(1)  # mean BCE over cells and peaks
    assert weights.positive_weight == 20
    assert weights.alignment * m == pytest.approx(6000)  # mean over pairs
    assert (weights.prior, weights.marginal, weights.weighted_cells) == (0, 0, False)


def test_paper_weights_of_the_main_phase_are_those_of_the_table_per_cell() -> None:
    weights = loss_weights(10 + 25.0, PAPER, 131_364)
    assert weights.reconstruction == 20
    assert weights.positive_weight == 1
    assert weights.prior == pytest.approx(0.5)
    assert weights.marginal == pytest.approx(0.5 * 0.005)
    assert weights.alignment == pytest.approx(1.2e6)
    assert weights.weighted_cells


def test_lambda_scales_the_invariance_term_alone() -> None:
    settings = Settings(warmup_epochs=0, kl_cycle_epochs=0).for_data(20, hybrid=False)
    one, three = (loss_weights(5.0, replace(settings, lambda_=value), 100) for value in (1.0, 3.0))
    assert three.marginal == 3 * one.marginal
    assert three._replace(marginal=one.marginal) == one
