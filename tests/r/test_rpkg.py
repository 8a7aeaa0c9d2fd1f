"""The R package: its unit tests, its interrupt, and R's own check of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import sailerx

pytestmark = pytest.mark.r

RPKG = Path(__file__).resolve().parents[2] / "rpkg"

UNIT_TESTS = """
for (package in c("testthat", "withr")) {
  if (!requireNamespace(package, quietly = TRUE)) {
    cat(jsonlite::toJSON(list(lacking = package), auto_unbox = TRUE))
    quit()
  }
}
names <- gsub("^test-|[.]R$", "", list.files(args[1], "^test-"))
part <- ifelse(names == "slow", "slow", ifelse(grepl(args[2], names), "verbs", "others"))
names <- names[part == args[3]]
results <- testthat::test_dir(
  args[1], package = "sailerx", load_package = "installed", reporter = "silent", stop_on_failure = FALSE,
  filter = paste0("^(", paste(names, collapse = "|"), ")$")
)
rows <- lapply(results, function(test) lapply(test$results, function(result) list(
  where = paste0(test$file, ": ", test$test),
  kind = sub("expectation_", "", class(result)[1]),
  text = conditionMessage(result)
)))
cat(jsonlite::toJSON(list(results = unlist(rows, recursive = FALSE)), auto_unbox = TRUE))
"""


#: files about what Python does for R; the others, but that of slow tests, are about objects and files, and take as long
VERBS = "^(backend|hybrid|impute|interrupt|links|map|markers|match|motifs|plot|progress|result|run|sitrep)$"


@pytest.mark.parametrize("part", ["verbs", "others", pytest.param("slow", marks=pytest.mark.full)])
def test_unit_tests_pass(part: str, run_r: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOT_CRAN", "true")
    answer = json.loads(
        run_r(UNIT_TESTS, RPKG / "tests" / "testthat", VERBS, part, timeout=1800).splitlines()[-1]
    )
    if "lacking" in answer:
        pytest.skip(f"the R package {answer['lacking']} is not installed")
    results = answer["results"]
    kinds = Counter(result["kind"] for result in results)
    print(f"testthat: {dict(kinds)}")
    bad = [f"{r['where']}: {r['text']}" for r in results if r["kind"] in ("failure", "error", "warning")]
    assert not bad, "\n".join(bad)
    assert kinds["success"] > (10 if part == "slow" else 150)
    skips = [f"{r['where']}: {r['text']}" for r in results if r["kind"] == "skip"]
    if skips:
        pytest.skip(f"{len(skips)} of R's unit tests: " + "; ".join(skips))


def test_no_function_is_defined_twice() -> None:
    pattern = re.compile(r"^([\w.]+) <- function", re.MULTILINE)
    names = Counter(name for file in RPKG.glob("R/*.R") for name in pattern.findall(file.read_text("utf-8")))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.full  # a stand-in for Python is interrupted in R's unit tests
def test_interrupting_r_ends_the_real_python_and_removes_its_files(tmp_path: Path) -> None:
    data = tmp_path / "data.h5mu"
    sailerx.simulate_to_file(data, 100, 80, 120, 3, seed=0)
    script = tmp_path / "script.R"
    script.write_text(
        "library(sailerx)\n"
        f'object <- ReadH5MU("{data}")\n'
        "run <- function() RunSAILERX(object, max_epochs = 1e6, threads = 1)\n"
        'tryCatch(run(), interrupt = function(condition) message("interrupted"))\n'
        'message("left: ", length(list.files(tempdir(), pattern = "^sailerx")))\n'
    )
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(
        ["Rscript", str(script)], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as r:
        assert r.stderr is not None
        until(r.stderr, "epoch 1/")
        assert processes_about(folder, patience=0), "Python is running"
        os.killpg(r.pid, signal.SIGINT)
        rest = r.stderr.read()
    assert "interrupted" in rest
    assert "left: 0" in rest
    assert not processes_about(folder)
    # torch makes an empty cache folder in every process
    assert [path.name for path in folder.iterdir() if not path.name.startswith("torchinductor")] == []


def until(lines: object, text: str) -> None:
    """Read lines up to the one that holds the text."""
    seen = []
    for line in lines:  # type: ignore[attr-defined]
        seen.append(line)
        if text in line:
            return
    raise AssertionError("".join(seen))


def processes_about(folder: Path, patience: float = 5) -> list[str]:
    """Command lines of running Python processes of R that name the folder, once they are none or time is up."""
    deadline = time.monotonic() + patience
    while True:
        table = subprocess.run(["ps", "-eww", "-o", "stat=,args="], capture_output=True, text=True).stdout
        found = [line for line in table.splitlines() if str(folder) in line and "-m sailerx" in line]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


COVERAGE = """
if (!requireNamespace("covr", quietly = TRUE)) {
  cat("{}")
  quit()
}
options(covr.rstudio_source_markers = FALSE) # else it needs the package rstudioapi
coverage <- covr::package_coverage(args[1], type = "tests", quiet = TRUE)
missed <- covr::zero_coverage(coverage)
cat("\\n", jsonlite::toJSON(list(
  percent = covr::percent_coverage(coverage), missed = paste0(basename(missed$filename), ":", missed$line)
), auto_unbox = TRUE), sep = "")
"""


@pytest.mark.full
def test_unit_tests_reach_nine_tenths_of_the_code(
    run_r: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOT_CRAN", "true")
    answer = json.loads(run_r(COVERAGE, RPKG, timeout=3600).splitlines()[-1])
    if not answer:
        pytest.skip("the R package covr is not installed")
    print(f"{answer['percent']:.1f} % of the R code; not reached: {answer['missed']}")
    assert answer["percent"] >= 90


EXAMPLES = """
library(sailerx)
for (page in tools::Rd_db("sailerx")) {
  tools::Rd2ex(page, script <- tempfile(fileext = ".R"))
  if (file.exists(script)) source(script, echo = TRUE, local = new.env())
}
"""


@pytest.mark.full
def test_examples_run(run_r: Callable[..., str]) -> None:
    assert "key SAILERX_" in run_r(EXAMPLES), "examples that need Python ran"


#: what `R CMD check --as-cran` may note, and why
NOTES = {
    "CRAN incoming feasibility": "the package is new there; the rest needs a network",
    "for future file timestamps": "asks a server for the time",
    "HTML version of manual": "needs the program tidy",
}


def test_notes_that_are_allowed_are_explained_where_publishing_is() -> None:
    text = (RPKG.parent / "docs" / "publishing.md").read_text("utf-8")
    table = text.split("| note | why |")[1].split("\n\n")[0]
    assert dict(re.findall(r"^\| ([^|-]+) \| ([^|]+) \|$", table, re.MULTILINE)).keys() == NOTES.keys()


@pytest.mark.full
def test_r_cmd_check_finds_nothing(tmp_path: Path) -> None:
    """As on CRAN's machines, where no Python has sailerx: there, what needs it is passed over."""
    if shutil.which("R") is None:
        pytest.skip("R is not installed; `make setup` says how")
    if shutil.which("qpdf") is None:
        pytest.skip(
            "qpdf is not installed, without which R CMD check warns; setup/debian-packages.txt names it"
        )
    environment = os.environ | {"_R_CHECK_FORCE_SUGGESTS_": "false", "SAILERX_PYTHON": str(tmp_path / "none")}
    environment |= {
        "_R_CHECK_EXAMPLE_TIMING_THRESHOLD_": "30"
    }  # examples of a second take longer on a busy machine
    check = ["check", "--as-cran", "--no-manual", f"sailerx_{sailerx.__version__}.tar.gz"]
    for command in (["build", str(RPKG)], check):
        answer = subprocess.run(
            ["R", "CMD", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=3600,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
    log = (tmp_path / "sailerx.Rcheck" / "00check.log").read_text("utf-8")
    found = re.findall(r"^\* checking (.*?) \.\.\..*?(NOTE|WARNING|ERROR)$", log, re.MULTILINE)
    assert {what for what, kind in found if kind != "NOTE"} | {what for what, _ in found} - set(
        NOTES
    ) == set(), log
    assert re.search(r"^Status: (OK|\d+ NOTEs?)$", log, re.MULTILINE), log
