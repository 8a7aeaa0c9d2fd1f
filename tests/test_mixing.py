"""Do batches mix, do types stay apart: against plain loops and cases whose answer is known."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

import sailerx
from sailerx.metrics import clisi, graph_connectivity, ilisi

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
MIXED = RNG.normal(size=(300, 5))
BATCH = np.repeat(["a", "b", "c"], 100)
APART = MIXED + 50 * np.repeat(np.eye(3, 5), 100, axis=0)


def test_mixed_and_separate_batches_have_the_extreme_scores() -> None:
    assert ilisi(MIXED, BATCH) > 0.85
    assert ilisi(APART, BATCH) == pytest.approx(0, abs=1e-3)
    assert clisi(APART, BATCH) == pytest.approx(1, abs=1e-3)
    assert clisi(MIXED, BATCH) < 0.15


def test_ilisi_is_the_inverse_simpson_index_of_the_neighbours() -> None:
    """At equal distances weights are equal: 7 of the 11 others of an `a`, which most cells are, are `a` too."""
    z, batch = np.zeros((12, 2)), ["a"] * 8 + ["b"] * 4
    share = np.array([7, 4]) / 11
    assert ilisi(z, batch, n_neighbors=12) == pytest.approx(1 / (share**2).sum() - 1, abs=1e-3)


def test_connectivity_is_the_share_of_the_largest_piece() -> None:
    pieces = [RNG.normal(size=(n, 2)) + far for n, far in ((60, 0), (20, 100), (40, -100))]
    found = graph_connectivity(np.vstack(pieces), ["torn"] * 80 + ["whole"] * 40)
    assert found == pytest.approx((60 / 80 + 1) / 2)


def test_bad_input_is_refused() -> None:
    with pytest.raises(
        sailerx.InputError, match="`batch` must have one value per cell: expected 300, found 2"
    ):
        ilisi(MIXED, ["a", "b"])
    with pytest.raises(sailerx.InputError, match="`labels` must have at least two values"):
        clisi(MIXED, ["a"] * 300)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_scib(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("scib_metrics"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_scib)
    with pytest.raises(sailerx.InputError, match=r"pip install 'sailerx\[scib\]'"):
        ilisi(MIXED, BATCH)
