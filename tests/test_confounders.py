"""Confounders c: encoding learned on training cells and applied to others."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sailerx import InputError
from sailerx.data.confounders import Confounders

DEPTH = np.array([10.0, 20.0, 40.0, 80.0])


def obs(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns, index=["a", "b", "c", "d"])


def test_first_column_is_log_depth_with_mean_0_and_deviation_1() -> None:
    c = Confounders.learn(DEPTH, obs(), [], []).apply(DEPTH, obs())
    expected = (np.log(DEPTH) - np.log(DEPTH).mean()) / np.log(DEPTH).std()
    np.testing.assert_allclose(c, expected[:, None], rtol=1e-6)
    assert c.dtype == np.float32


def test_categorical_columns_become_one_hot_and_continuous_ones_standardised() -> None:
    table = obs(donor=["y", "x", "y", "z"], plate=pd.Categorical([1, 2, 2, 1]), mito=[0.0, 0.0, 4.0, 4.0])
    recipe = Confounders.learn(DEPTH, table, ["donor", "plate"], ["mito"])
    assert recipe.names == ["log_atac_depth", "donor=x", "donor=y", "donor=z", "plate=1", "plate=2", "mito"]
    expected = [[0, 1, 0, 1, 0, -1], [1, 0, 0, 0, 1, -1], [0, 1, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1]]
    np.testing.assert_allclose(recipe.apply(DEPTH, table)[:, 1:], expected)


def test_mean_and_deviation_of_the_training_cells_apply_to_other_cells() -> None:
    recipe = Confounders.learn(DEPTH, obs(mito=[0.0, 0.0, 4.0, 4.0]), [], ["mito"])
    new = recipe.apply(np.array([20.0]), pd.DataFrame({"mito": [6.0]}))
    assert new[0, 1] == pytest.approx(2)
    assert new[0, 0] == pytest.approx((np.log(20) - np.log(DEPTH).mean()) / np.log(DEPTH).std())


def test_unused_levels_make_no_column() -> None:
    donors = pd.Categorical(["x", "y", "x", "y"], categories=["x", "y", "unused"])
    assert Confounders.learn(DEPTH, obs(donor=donors), ["donor"], []).names[1:] == ["donor=x", "donor=y"]


def test_constant_continuous_column_is_zero_not_infinite() -> None:
    table = obs(mito=[3.0] * 4)
    recipe = Confounders.learn(np.full(4, 7.0), table, [], ["mito"])
    np.testing.assert_allclose(recipe.apply(np.full(4, 7.0), table), 0, atol=1e-6)


def test_one_level_is_ignored_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"batch column 'donor' has one level \('x'\) and is ignored"):
        recipe = Confounders.learn(DEPTH, obs(donor=["x"] * 4), ["donor"], [])
    assert recipe.names == ["log_atac_depth"]


@pytest.mark.parametrize(
    ("column", "batch_key", "continuous_key"),
    [
        (["x", None, "y", "x"], ["bad"], []),
        (pd.Categorical(["x", None, "y", "x"]), ["bad"], []),
        ([1.0, np.nan, 2.0, 1.0], [], ["bad"]),
        (pd.array([1, None, 2, 1], dtype="Int64"), [], ["bad"]),
    ],
)
def test_missing_values_are_refused_with_column_and_cell(
    column: object, batch_key: list[str], continuous_key: list[str]
) -> None:
    with pytest.raises(
        InputError, match=r"'bad' must have a value for every cell: 1 of 4 are missing, first 'b'"
    ):
        Confounders.learn(DEPTH, obs(bad=column), batch_key, continuous_key)


def test_text_as_continuous_column_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"'donor' must be numeric, found .*Name it among the batches"):
        Confounders.learn(DEPTH, obs(donor=["x", "y", "x", "y"]), [], ["donor"])


def test_infinite_values_are_refused() -> None:
    with pytest.raises(InputError, match="'mito' must be finite"):
        Confounders.learn(DEPTH, obs(mito=[0.0, np.inf, 1.0, 2.0]), [], ["mito"])


def test_encoding_survives_json() -> None:
    table = obs(donor=["ü", "x", "ü", "x"], mito=[0.1, 0.2, 0.7, 0.3])
    recipe = Confounders.learn(DEPTH, table, ["donor"], ["mito"])
    again = Confounders.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    np.testing.assert_array_equal(again.apply(DEPTH, table), recipe.apply(DEPTH, table))
