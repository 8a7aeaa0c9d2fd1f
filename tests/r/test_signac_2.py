"""Signac 2, whose classes differ from Signac 1's, from a library of its own: the folder named by ``SAILERX_SIGNAC_2``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.r, pytest.mark.full]

HERE = Path(__file__).parent
VERSION = """
found <- requireNamespace("Signac", lib.loc = args[1], quietly = TRUE)
cat(if (found) as.character(packageVersion("Signac")) else "none")
"""
EXPECTATIONS = """
.libPaths(c(args[1], .libPaths()))
library(sailerx)
inside <- new.env(parent = asNamespace("sailerx"))
for (file in list.files(args[2], "^helper-", full.names = TRUE)) sys.source(file, inside)
results <- testthat::test_file(args[3], env = inside, reporter = "silent", stop_on_failure = FALSE)
rows <- lapply(results, function(test) lapply(test$results, function(result) list(
  test = test$test, kind = sub("expectation_", "", class(result)[1]), text = conditionMessage(result)
)))
cat(jsonlite::toJSON(unlist(rows, recursive = FALSE), auto_unbox = TRUE))
"""


@pytest.fixture
def signac_2(run_r: Callable[..., str]) -> Path:
    """Library with Signac 2."""
    library = os.environ.get("SAILERX_SIGNAC_2", "")
    if not library:
        pytest.skip("SAILERX_SIGNAC_2 names no library with Signac 2, which is not released")
    version = run_r(VERSION, library).splitlines()[-1]
    if not version.startswith(("1.9999", "2")):
        pytest.skip(f"the Signac in {library} is {version}, not Signac 2")
    return Path(library)


def test_assays_of_signac_2_are_kept(signac_2: Path, run_r: Callable[..., str]) -> None:
    helpers = HERE.parents[1] / "rpkg" / "tests" / "testthat"
    answer = run_r(EXPECTATIONS, signac_2, helpers, HERE / "signac_2.R")
    results = json.loads(answer.splitlines()[-1])
    bad = [f"{row['test']}: {row['text']}" for row in results if row["kind"] != "success"]
    assert not bad, "\n".join(bad)
    assert len({row["test"] for row in results}) == (HERE / "signac_2.R").read_text().count("test_that(")
