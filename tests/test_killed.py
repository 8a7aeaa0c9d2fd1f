"""SIGKILL, a full disk and lost permission: under the final name is the new, the old or nothing, never a half.

`killing` kills each verb at random moments, and at each of its openings, renamings and removals of files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import killing
from data import files_below
from killing import VERBS

HERE = Path(__file__).parent
#: kills at random moments, of each verb, without and with something under the name before
MOMENTS = 20


def kills(folder: Path, verb: str, moments: int) -> list[dict[str, Any]]:
    answer = subprocess.run(
        [sys.executable, HERE / "killing.py", folder, verb, str(moments)],
        capture_output=True,
        text=True,
        cwd=HERE,
    )
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def assert_whole(found: list[dict[str, Any]]) -> None:
    bad = [row for row in found if not row["good"]]
    assert not bad, bad[:5]
    assert any(row["killed"] and not row["new"] for row in found), "no kill came before the end"
    assert any(row["new"] for row in found), "no run came to its end"
    print(
        f"{found[0]['verb']}: {sum(row['killed'] for row in found)} of {len(found)} killed, {len(bad)} halves"
    )


def test_a_model_that_is_replaced_is_there_at_every_moment(tmp_path: Path) -> None:
    found = kills(tmp_path, "fit", 2)
    assert_whole(found)
    assert sum("event" in row for row in found) > 10


@pytest.mark.full
@pytest.mark.parametrize("verb", VERBS)
def test_a_killed_verb_leaves_no_half(verb: str, tmp_path: Path) -> None:
    assert_whole(kills(tmp_path, verb, MOMENTS))


WRITE_H5MU = """
suppressMessages(library(sailerx))
source(args[2])
object <- random_object()
out <- "out/object.h5mu"
dir.create("out")
whole <- function() tryCatch({ back <- ReadH5MU(out); identical(dim(back), dim(object)) }, error = function(error) FALSE)
seconds <- system.time({ WriteH5MU(object, out) })[["elapsed"]]
stopifnot(whole())
set.seed(0)
for (before in c(FALSE, TRUE)) for (moment in stats::runif(as.integer(args[1]), 0, 1.1 * seconds)) {
  unlink("out/object.h5mu")
  if (before) writeLines("what was there", out)
  child <- parallel::mcparallel(WriteH5MU(object, out, overwrite = TRUE))
  Sys.sleep(moment)
  tools::pskill(child$pid, tools::SIGKILL)
  suppressWarnings(parallel::mccollect(child))
  is_old <- file.exists(out) && identical(readLines(out, 1, warn = FALSE), "what was there")
  left <- if (!file.exists(out)) "nothing" else if (is_old) "old" else if (whole()) "new" else "half"
  cat(before, left, "\\n")
}
"""


@pytest.mark.full
@pytest.mark.r
def test_r_killed_while_it_writes_leaves_no_half(run_r: Callable[..., str]) -> None:
    helpers = HERE.parent / "rpkg" / "tests" / "testthat" / "helper-h5mu.R"
    lines = [line.split() for line in run_r(WRITE_H5MU, str(MOMENTS), helpers, timeout=1800).splitlines()]
    left = [(before == "TRUE", what) for before, what in lines]
    assert len(left) == 2 * MOMENTS
    assert {what for before, what in left if not before} <= {"nothing", "new"}
    assert {what for before, what in left if before} <= {"old", "new"}
    assert left.count((True, "old")) > 1


RUN = """
suppressMessages(library(sailerx))
for (file in args[2:3]) source(file)
object <- toy_object()
cat("ready\\n")
toy_run(object, keep = args[1], backend = "subprocess")
cat("done\\n")
"""


@pytest.mark.full
@pytest.mark.r
def test_r_killed_while_it_trains_keeps_no_half_model(run_r: Callable[..., str], tmp_path: Path) -> None:
    import random
    import time

    from sailerx import load

    helpers = [
        HERE.parent / "rpkg" / "tests" / "testthat" / name for name in ("helper-h5mu.R", "helper-objects.R")
    ]
    (tmp_path / "run.R").write_text(f"args <- commandArgs(trailingOnly = TRUE)\n{RUN}")
    draw = random.Random(0)
    seconds = None
    for n in range(MOMENTS + 1):
        keep = tmp_path / f"kept-{n}"
        with subprocess.Popen(
            ["Rscript", tmp_path / "run.R", keep, *helpers], stdout=subprocess.PIPE, text=True
        ) as r:
            assert r.stdout is not None
            assert r.stdout.readline() == "ready\n"
            start = time.perf_counter()
            if seconds is None:
                r.wait()
                seconds = time.perf_counter() - start
                assert keep.exists()
            else:
                time.sleep(draw.uniform(0, 1.1 * seconds))
                r.kill()
        if keep.exists():
            load(keep / "run")


# A full disk


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    before = Path.cwd()
    os.chdir(folder)
    killing.prepare(Path())
    os.chdir(before)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def words_of(verb: str, out: Path) -> list[str]:
    return [str(out / word) if word.startswith("OUT") else word for word in VERBS[verb]]


def failing(verb: str, out: Path, inputs: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    """The message of a verb that cannot write."""
    before = Path.cwd()
    os.chdir(inputs)
    try:
        status = killing.main(words_of(verb, out))
    finally:
        os.chdir(before)
    err = capsys.readouterr().err
    assert status == 2, err
    assert "Traceback" not in err
    return [line for line in err.splitlines() if line.startswith("sailerx: error: ")][-1]


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_said_and_nothing_is_left(
    verb: str, inputs: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filler = small_disk / "full"
    filler.write_bytes(b"x" * (60 * 1024))
    old = small_disk / next(word for word in VERBS[verb] if word.startswith("OUT"))
    if old.suffix:
        old.write_bytes(b"old")
    said = failing(verb, small_disk, inputs, capsys)
    assert "disk is full" in said or "No space left" in said, said
    assert files_below(small_disk) == {"full"} | ({old.name} if old.suffix else set())
    assert not old.suffix or old.read_bytes() == b"old"


# Lost permission


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="takes on another user's rights, as root"
)
@pytest.mark.parametrize("verb", ["fit", "embed", "combine"])
def test_a_folder_that_must_not_be_written_to_is_said(
    verb: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in {tmp_path, *tmp_path.parents, inputs}:
        if not folder.stat().st_mode & 0o001:  # pytest keeps its folders to itself
            folder.chmod(0o755)
    os.setegid(65534)
    os.seteuid(65534)
    try:
        said = failing(verb, tmp_path, inputs, capsys)
    finally:
        os.seteuid(0)
        os.setegid(0)
    assert "no permission to write there" in said
    assert files_below(tmp_path) == set()
