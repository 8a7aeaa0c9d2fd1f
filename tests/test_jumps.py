"""Jumps of loss terms are found and told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sailerx.config import PRESETS, Settings
from sailerx.training.jumps import jumps

SETTINGS = Settings().for_data(4, hybrid=False)


def history(**changes: dict[int, float]) -> pd.DataFrame:
    """A quiet run of 50 epochs, with some values of some terms replaced."""
    table = pd.DataFrame(
        {
            "reconstruction": np.linspace(900, 500, 50),
            "kl_prior": np.linspace(1, 30, 50),
            "kl_marginal": np.full(50, 25.0),
            "alignment": np.linspace(0.1, 0.01, 50),
        }
    )
    for term, values in changes.items():
        table.loc[list(values), term] = list(values.values())
    return table


def test_a_quiet_run_has_none() -> None:
    assert jumps(history(), SETTINGS) == []
    assert jumps(history().iloc[:1], SETTINGS) == []


@pytest.mark.parametrize(("epoch", "told"), [(3, False), (5, True), (49, True)])
def test_a_jump_is_told_after_the_first_tenth(epoch: int, told: bool) -> None:
    found = jumps(history(kl_prior={epoch: 6e5}), SETTINGS)
    assert len(found) == told
    if told:
        assert f"kl_prior jumped to 6e+05 in epoch {epoch + 1}" in found[0]


def test_only_terms_of_the_loss_count() -> None:
    wild = history(kl_marginal={30: 6e5})
    assert jumps(wild, SETTINGS) == []
    assert len(jumps(wild, PRESETS["paper"])) == 1
    assert jumps(history(alignment={30: 9.0}), Settings(gamma=0.0).for_data(4, hybrid=False)) == []
