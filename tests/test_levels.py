"""Levels of batches as text, and obs columns that several data sets hold in different types."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sailerx
from data import TINY, files_below, paired, together, write
from sailerx import InputError, cli, combine
from sailerx.data.confounders import Confounders
from sailerx.data.levels import level_of, level_text
from sailerx.data.stack_columns import stack_obs
from sailerx.results.selection import batch_of_words, neutral_confounders

SAME = {
    "double": ([1.0, 2.0, 1.0], ["1", "2", "1"]),
    "whole": ([1, 2, 1], ["1", "2", "1"]),
    "nullable": (pd.array([1, 2, None], dtype="Int64"), ["1", "2", None]),
    "fraction": ([0.5, 2.0, np.nan], ["0.5", "2", None]),
    "logical": ([True, False, True], ["True", "False", "True"]),
    "nullable logical": (pd.array([True, None, False], dtype="boolean"), ["True", None, "False"]),
    "text": (["1.0", "x", None], ["1.0", "x", None]),
    "mixed": (np.array([True, 1, "1"], dtype=object), ["True", "1", "1"]),
    "categories of numbers": (pd.Categorical([2.0, 1.0, 2.0]), ["2", "1", "2"]),
    "float32": (np.array([0.1, 3, 0.1], np.float32), ["0.1", "3", "0.1"]),
}


@pytest.mark.parametrize("kind", SAME)
def test_a_level_has_one_text_whatever_its_type(kind: str) -> None:
    values, expected = SAME[kind]
    assert level_text(pd.Series(values)).tolist() == expected


def test_levels_of_older_models_stand_for_the_same_numbers() -> None:
    assert level_of("1", ["1.0", "2.0"]) == "1.0"
    assert level_of("1.0", ["1", "2"]) == "1"
    assert level_of("3", ["1.0", "2.0"]) is None
    assert level_of("1", ["1", "1.0"]) == "1"


def confounders(**columns: list[object]) -> Confounders:
    obs = pd.DataFrame(columns)
    return Confounders.learn(np.arange(1.0, len(obs) + 1), obs, list(obs), [])


@pytest.mark.parametrize("later", [[1.0, 2.0], [1, 2], ["1", "2"], [np.int8(1), np.int8(2)]])
def test_later_data_may_hold_a_batch_in_another_type(later: list[object]) -> None:
    depth = np.array([1.0, 2.0])
    for levels in ([1.0, 2.0], ["1", "2"]):
        learned = confounders(lane=levels)
        encoded = learned.apply(depth, pd.DataFrame({"lane": later}))
        np.testing.assert_array_equal(encoded[:, 1:], np.eye(2))


def test_an_older_model_knows_its_levels_by_the_new_text() -> None:
    learned = confounders(lane=[1, 2])
    older = Confounders.from_dict(
        json.loads(json.dumps(learned.to_dict()).replace('["1", "2"]', '["1.0", "2.0"]'))
    )
    np.testing.assert_array_equal(older.apply(np.array([1.0]), pd.DataFrame({"lane": [2]}))[:, 1:], [[0, 1]])
    for batch in (2, 2.0, "2", {"lane": 2}):
        np.testing.assert_array_equal(neutral_confounders(older, None, batch)[1:], [0, 1])


AWKWARD = confounders(kit=["v=1", "v=2"], genotype=["-/-", "+/+"], **{"a=b": ["x", "y"]})


@pytest.mark.parametrize(
    ("words", "batch"),
    [
        (["v=1"], "v=1"),
        (["-/-"], "-/-"),
        (["kit=v=2"], {"kit": "v=2"}),
        (["a=b=x", "genotype=-/-"], {"a=b": "x", "genotype": "-/-"}),
        ([], None),
    ],
)
def test_levels_may_look_like_options_and_assignments(words: list[str], batch: object) -> None:
    assert batch_of_words(AWKWARD, words) == batch


def test_a_word_that_is_no_batch_is_refused_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"'v' .*There are: kit: v=1, v=2"):
        neutral_confounders(AWKWARD, None, batch_of_words(AWKWARD, ["v"]))
    with pytest.raises(InputError, match="COLUMN=LEVEL for each column, got 'x'"):
        batch_of_words(AWKWARD, ["x", "kit=v=1"])


def test_values_that_begin_with_a_hyphen_reach_every_command(tmp_path: Path) -> None:
    mdata = paired()
    mdata.obs["-genotype"] = np.where(np.arange(60) % 2, "-/-", "--help")
    file, run, out = write(mdata, tmp_path / "m.h5mu"), tmp_path / "run", tmp_path / "out.h5ad"
    sailerx.fit(file, batch_key="-genotype", progress="none", **TINY).save(run)
    given = ["--batch=-genotype=--help", "--group-by=-genotype", "--regions=chr1", "--regions=chr2"]
    assert cli.main(["impute", str(run), str(file), "-o", str(out), *given]) == 0
    result = sailerx.data.reading.read_cells(out)
    assert list(result.obs_names) == ["--help", "-/-"]
    assert set(result.var["chrom"]) == {"chr1", "chr2"}
    given = ["--group-by=-genotype", "--group1=-/-", "--batch=--help", "-o", str(tmp_path / "t.csv")]
    assert cli.main(["differential", str(run), str(file), *given]) == 2  # the groups are the batches
    assert files_below(tmp_path) >= {"m.h5mu", "run", "out.h5ad"}


# Columns of several sets

CELLS = {"a": ["a1", "a2"], "b": ["b1", "b2"]}
WHOLE = {
    "text and whole numbers": (["0", "1"], [0, 1], "category", ["0", "1", "0", "1"]),
    "text and truth values": (["x", "y"], [True, False], "category", ["x", "y", "True", "False"]),
    "doubles and text": ([1.0, 2.5], ["1", "z"], "category", ["1", "2.5", "1", "z"]),
    "truth values here only": ([True, False], None, "boolean", [True, False, pd.NA, pd.NA]),
    "truth values in both": ([True, False], [False, False], "bool", [True, False, False, False]),
    "whole numbers and doubles": ([1, 2], [0.5, 1.0], "float64", [1, 2, 0.5, 1]),
    "whole numbers here only": ([1, 2], None, "float64", [1, 2, np.nan, np.nan]),
    "nullable numbers": (pd.array([1, None], "Int64"), None, "Int64", [1, pd.NA, pd.NA, pd.NA]),
    "numbers in one, missing truth values in the other": (
        [1, 2],
        pd.array([True, None], "boolean"),
        "category",
        ["1", "2", "True", np.nan],
    ),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_column_of_several_types_is_stacked_by_one_rule(case: str) -> None:
    first, second, dtype, expected = WHOLE[case]
    tables = {"a": pd.DataFrame({"x": first}, index=CELLS["a"]), "b": pd.DataFrame(index=CELLS["b"])}
    if second is not None:
        tables["b"]["x"] = second
    found = stack_obs(tables)
    assert list(found.index) == ["a1", "a2", "b1", "b2"]
    assert str(found["x"].dtype) == dtype
    pd.testing.assert_series_equal(
        found["x"].astype(object).where(found["x"].notna(), None).reset_index(drop=True),
        pd.Series(expected, dtype=object).where(pd.notna(pd.Series(expected, dtype=object)), None),
        check_names=False,
    )


def test_the_order_of_categories_that_all_sets_share_is_kept() -> None:
    when = pd.Categorical(["late", "early"], ["early", "late"], ordered=True)
    tables = {"a": pd.DataFrame({"when": when}, index=CELLS["a"]), "b": pd.DataFrame(index=CELLS["b"])}
    found = stack_obs(tables)["when"]
    assert found.cat.ordered
    assert list(found.cat.categories) == ["early", "late"]


DATES = {
    "days, which the other set lacks": (
        pd.to_datetime(["2024-01-31", None]),
        None,
        ["2024-01-31", None, None, None],
    ),
    "a time of day": (
        pd.to_datetime(["2024-01-31 10:30", "2024-02-01 00:00"]),
        None,
        ["2024-01-31 10:30:00", "2024-02-01 00:00:00", None, None],
    ),
    "days and text": (
        pd.to_datetime(["2024-01-31", "2024-02-01"]),
        ["x", "y"],
        ["2024-01-31", "2024-02-01", "x", "y"],
    ),
    "Python's own dates": ([datetime.date(2024, 1, 31), None], None, ["2024-01-31", None, None, None]),
    "durations": (pd.to_timedelta([1, 2], unit="D"), None, ["1 days", "2 days", None, None]),
}


@pytest.mark.parametrize("case", DATES)
def test_dates_are_stacked_as_text(case: str) -> None:
    first, second, expected = DATES[case]
    tables = {"a": pd.DataFrame({"when": first}, index=CELLS["a"]), "b": pd.DataFrame(index=CELLS["b"])}
    if second is not None:
        tables["b"]["when"] = second
    found = stack_obs(tables)["when"]
    assert found.dtype == "category"
    assert [None if pd.isna(value) else value for value in found] == expected


def test_combined_columns_can_be_written_whatever_their_types(tmp_path: Path) -> None:
    first, second = paired(), paired()["atac"].copy()
    second.obs_names = [f"x{i}" for i in range(60)]
    first["atac"].obs["doublet"] = np.arange(60) % 7 == 0
    first["atac"].obs["leiden"] = pd.Categorical([str(i % 3) for i in range(60)])
    second.obs["leiden"] = [i % 3 for i in range(60)]
    second.obs["sampled"] = pd.Timestamp("2024-01-31")
    both = combine({"one": first}, {"two": second})
    read = sailerx.read(write(both, tmp_path / "both.h5mu"))["atac"].obs
    assert read["leiden"].tolist() == [str(i % 3) for i in range(60)] * 2
    assert read["doublet"][:60].tolist() == (np.arange(60) % 7 == 0).tolist()
    assert read["doublet"][60:].isna().all()
    assert read["sampled"][60:].tolist() == ["2024-01-31"] * 60


def test_counts_of_small_types_are_not_lost_by_combining() -> None:
    one, two = paired(), paired()["atac"].copy()
    merged = two.var.copy().iloc[::2]
    merged["end"] = two.var["end"].to_numpy()[1::2]
    two.X = (two.X > 0).astype(np.uint8) * np.uint8(200)
    keep = merged["end"] > merged["start"]
    wide = merged[keep].set_axis([f"wide{i}" for i in range(int(keep.sum()))])
    matched = sailerx.match_peaks(two, wide)
    assert matched.X.sum(dtype=float) == matched.uns["matched_peaks"]["counts_kept"]
    assert matched.X.max() > 255
    both = combine({"one": together(rna=one["rna"], atac=matched)}, {"two": two[:, :0:-1].copy()})
    assert both["atac"].X.sum(dtype=float) > matched.X.sum(dtype=float)
