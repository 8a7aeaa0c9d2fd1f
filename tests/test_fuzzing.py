"""Mutated input through every verb: only clear errors, no crash, no traceback, nothing half-written, no hang.

`mutants` changes one thing of a valid .h5mu, .h5ad (genes and peaks in one matrix) or model folder, by a seed; `fuzzing` runs
``check``, ``fit`` and ``embed``, in Python and on the command line, in memory and backed; R reads the .h5mu with ``ReadH5MU()``.
What came of `N_MUTANTS` of each kind is printed by the test (``pytest -s``) as a table of mutations.

It has found, and these are refused now: indices and pointers of sparse matrices out of range (memory was corrupted, or terabytes
asked for), a global heap with zeros (HDF5 reads it for ever), damaged B-trees and missing parts of matrices (tracebacks), names
of thousands of letters (messages of a page), and model folders with other bytes (used as if nothing had happened).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fuzzing import originals, run_all
from mutants import KINDS, mutant

#: seeds of each kind of input: each mutation has eight or more
N_MUTANTS = {".h5mu": 220, ".h5ad": 180, "model": 120}
#: outcomes that a user can live with
GOOD = {"done", "refused"}
READ = """
files <- readLines(args[1])
library(sailerx)
for (file in files) {
  cat("begun", file, "\\n")
  start <- proc.time()[[1]]
  came <- tryCatch(
    { suppressMessages(suppressWarnings(ReadH5MU(file))); "done" },
    rlang_error = function(error) paste("refused", gsub("\\n", " ", conditionMessage(error))),
    error = function(error) paste("traceback", gsub("\\n", " ", conditionMessage(error)))
  )
  cat("came", if (proc.time()[[1]] - start > 20) "hung" else came, "\\n")
}
"""


def outcomes(folder: Path, kind: str, first: int, last: int) -> list[dict[str, Any]]:
    """What came of each mutant and verb; a process that dies is an outcome too, and the next goes on behind it."""
    rows: list[dict[str, Any]] = []
    while first < last:
        words = [sys.executable, "fuzzing.py", str(folder), kind, str(first), str(last)]
        answer = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True)
        told = [json.loads(line) for line in answer.stdout.splitlines()]
        rows += [row for row in told if row["came"] != "begun"]
        if answer.returncode == 0:
            break
        assert told, answer.stderr
        rows.append(told[-1] | {"came": "crashed", "text": f"{answer.returncode} {answer.stderr[-500:]}"})
        first = told[-1]["seed"] + 1
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Mutations and the number of verbs that ended in each way, as a table in Markdown."""
    counts = Counter((row["mutation"], row["came"]) for row in rows)
    came = sorted({row["came"] for row in rows})
    lines = [
        f"| {what} | {' | '.join(str(counts[what, c]) for c in came)} |"
        for what in sorted({r["mutation"] for r in rows})
    ]
    return "\n".join([f"| mutation | {' | '.join(came)} |", f"|---|{'---|' * len(came)}", *lines])


def assert_all_good(rows: list[dict[str, Any]]) -> None:
    print(table(rows))
    bad = [row for row in rows if row["came"] not in GOOD]
    assert not bad, "\n".join(
        f"{row['kind']} {row['seed']} {row['verb']}: {row['came']} {row['text']}" for row in bad[:20]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the originals are, made once."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_mutants_of_each_kind_are_met_well(kind: str, folder: Path) -> None:
    few = {".h5mu": (19, 23), ".h5ad": (8, 11), "model": (1, 4)}[kind]
    rows = list(run_all(folder, kind, range(*few)))
    assert {row["seed"] for row in rows} == set(range(*few))
    assert_all_good(rows)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_all_mutants_are_met_well(kind: str, tmp_path: Path) -> None:
    rows = outcomes(tmp_path / "fuzz", kind, 0, N_MUTANTS[kind])
    assert {row["seed"] for row in rows} == set(range(N_MUTANTS[kind]))
    assert_all_good(rows)
    original = {row["came"] for row in rows if row["mutation"].startswith("Nothing")}
    changed = {row["came"] for row in rows if not row["mutation"].startswith("Nothing")}
    assert original == {"done"}
    assert changed == ({"refused"} if kind == "model" else GOOD)  # checksums find every change of a model


@pytest.mark.full
@pytest.mark.r
def test_r_reads_or_refuses_all_mutants(run_r: Callable[..., str], tmp_path: Path) -> None:
    valid = originals(tmp_path / "fuzz")[".h5mu"]
    done = {str(tmp_path / f"{seed}.h5mu"): seed for seed in range(N_MUTANTS[".h5mu"])}
    mutations = {path: mutant(valid, ".h5mu", seed, Path(path)) for path, seed in done.items()}
    (tmp_path / "list.txt").write_text("\n".join(done))
    lines = run_r(READ, tmp_path / "list.txt", timeout=3600).splitlines()
    begun = [line.split()[1] for line in lines if line.startswith("begun ")]
    came = [line.removeprefix("came ") for line in lines if line.startswith("came ")]
    assert begun == list(done)
    assert len(came) == len(done)
    assert_all_good(
        [
            {
                "kind": "R",
                "seed": done[path],
                "verb": "ReadH5MU",
                "mutation": mutations[path],
                "came": what.split()[0],
                "text": what,
            }
            for path, what in zip(begun, came, strict=True)
        ]
    )
