"""What the tests share: threads, R, Signac, the real data, and the account of what was skipped.

A test says what it needs by a marker (``r``, ``signac``, ``data``) and is skipped, with the reason, where
that is absent. ``SAILERX_STRICT=1`` makes every skip a failure.
Tests marked ``full`` wait for ``make test-full``.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_THREADS = 2

# Before numpy and torch are imported, which read these once. On the small data of the tests one thread is fastest,
# and on a busy machine two wait for each other most of the time.
# numba, of which UMAP is made, otherwise sets the number for everybody when it starts.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    asked = os.environ.get(variable, "")
    os.environ[variable] = str(min(int(asked), MAX_THREADS)) if asked.isdigit() else "1"
# R finds the project's own library first, and its package the project's own Python.
if str(ROOT / ".rlib") not in os.environ.get("R_LIBS", "").split(os.pathsep):
    os.environ["R_LIBS"] = os.pathsep.join(filter(None, [str(ROOT / ".rlib"), os.environ.get("R_LIBS", "")]))
if (ROOT / ".venv" / "bin" / "python").exists():
    os.environ.setdefault("SAILERX_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell's background job ignores Ctrl-C and hands that on; what is tested here has to feel it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

from browser import Tab, find_browser, open_browser  # noqa: E402

# Shapes in the numerical core are checked while testing; its callers have validated their input before.
SHAPE_CHECKED = [f"sailerx.network.{name}" for name in ("layers", "losses", "vae", "schedules")]
jaxtyping.install_import_hook(SHAPE_CHECKED, "beartype.beartype")

# `make test` is the same every time; `make test-full` (--hypothesis-profile=full) looks further.
hypothesis.settings.register_profile("quick", max_examples=12, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("full", max_examples=200, deadline=None, print_blob=True)
hypothesis.settings.load_profile("quick")


# What a test may need


@functools.cache
def _r_packages() -> frozenset[str]:
    """Those of Seurat, sailerx and Signac that R has; asked once per session."""
    code = 'cat(Filter(function(p) nzchar(system.file(package = p)), c("Seurat", "sailerx", "Signac")))'
    if shutil.which("Rscript") is None:
        return frozenset()
    answer = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, check=True, timeout=60)
    return frozenset(answer.stdout.split())


def _why_no_r() -> str | None:
    if shutil.which("Rscript") is None:
        return "R is not installed; `make setup` says how"
    missing = {"Seurat", "sailerx"} - _r_packages()
    if missing:
        return f"R lacks {' and '.join(sorted(missing))}; `make setup` installs or says how"
    if importlib.util.find_spec("rpy2") is None:
        return "rpy2 is not installed; `make setup` installs it where R is"
    return None


def _why_no_signac() -> str | None:
    return _why_no_r() or (
        None
        if "Signac" in _r_packages()
        else "the R package Signac is not installed; `make setup` tries CRAN"
    )


def _data_folder() -> Path:
    return Path(os.environ.get("SAILERX_DATA", ROOT.parent / "shared" / "data"))


def _why_no_data() -> str | None:
    folder = _data_folder()
    return None if folder.is_dir() else f"no real data in {folder}; name its folder in SAILERX_DATA"


#: files that take longest, in the order in which they start; the others run beside and after them
LONGEST = [
    "test_rpkg.py",
    "test_vignettes.py",
    "test_large_files.py",
    "test_distributed.py",
    "test_both_ways.py",
    "test_demo.py",
    "test_readme.py",
    "test_parity.py",
    "test_roundtrip.py",
    "test_report.py",
    "test_checkpoint.py",
    "test_verbs.py",
    "test_cli.py",
]
#: parts of the names of tests that need not wait for the others of their file
ALONE = ["test_unit_tests_", "test_r_cmd_check", "test_demo_in_r", "test_vignette_knits"]
#: share a process, in which numba compiles UMAP once; that takes 20 seconds
DRAW_UMAP = [
    "test_demo.py",
    "test_report.py",
    "test_motif_plots.py",
    "test_plot.py",
    "test_paper.py",
    "(python)]",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Longest files first."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def group_of(nodeid: str) -> str:
    """Tests of one group are done by one process, one after the other."""
    if any(part in nodeid for part in ALONE):
        return nodeid
    if any(part in nodeid for part in DRAW_UMAP):
        return "UMAP"
    return nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return ByGroup(config, log)


NEEDS = {"r": _why_no_r, "signac": _why_no_signac, "data": _why_no_data}


@pytest.hookimpl(tryfirst=True)  # before the fixtures, which may need R themselves
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, why_not in NEEDS.items():
        if item.get_closest_marker(marker) and (reason := why_not()):
            pytest.skip(reason)


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute in two threads, however little there is to do."""
    import torch

    monkeypatch.setattr("sailerx.threads._WORTH_IT", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of a real headless browser."""
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium, Chrome or Edge is installed; name one in SAILERX_BROWSER")
    with open_browser(program, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="session")
def data_file() -> Callable[[str], Path]:
    """Path of a real data set by its file name; skips the test where it is absent."""

    def find(name: str) -> Path:
        path = _data_folder() / name
        if not path.is_file():
            pytest.skip(_why_no_data() or f"no {name} in {_data_folder()}")
        return path

    return find


@pytest.fixture(scope="session")
def run_r_in() -> Callable[..., str]:
    """Runs R code in a process of its own, in the given folder; returns what it printed.

    Further arguments reach the code as ``args``. A failing run shows R's own message.
    """
    if reason := _why_no_r():
        pytest.skip(reason)

    def run(folder: Path, code: str, *args: str | Path, timeout: float = 600) -> str:
        script = folder / "script.R"
        script.write_text(f"args <- commandArgs(trailingOnly = TRUE)\n{code}\n", encoding="utf-8")
        command = ["Rscript", str(script), *map(str, args)]
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)
        assert answer.returncode == 0, f"R ended with {answer.returncode}:\n{answer.stdout}\n{answer.stderr}"
        return answer.stdout

    return run


@pytest.fixture
def run_r(run_r_in: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """The same in the test's own folder."""
    return functools.partial(run_r_in, tmp_path)


# The account of what was skipped


def _strict(report: pytest.TestReport | pytest.CollectReport) -> pytest.TestReport | pytest.CollectReport:
    if os.environ.get("SAILERX_STRICT") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where SAILERX_STRICT=1 allows no skip: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    return _strict((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    return _strict((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Prints the number of skips below all else, pytest's own closing line included."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        skipped = len(reporter.stats.get("skipped", []))
        reporter.write_line(f"Skipped: {skipped}" + (", each for the reason given above" if skipped else ""))
    return result
