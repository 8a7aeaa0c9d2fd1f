"""Tell in three minutes whether something got slower: CPU seconds of a few tasks, in units of a fixed NumPy workload.

    python benchmarks/quick.py                 # beside the units that are committed
    python benchmarks/quick.py --before REF    # beside the code of a commit, run in turns with this one
    python benchmarks/quick.py --keep          # write what was measured into the committed file

The code before, this code and the workload take turns, so that what else the machine does affects all alike, and a task of a round is
divided by the workload of that round. Numbers are medians and quartiles over rounds. A task is slower if its lower quartile is above
the upper quartile before, and its median at least 10 % above the median before; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pages import markdown

HERE = Path(__file__).resolve().parent
COMMITTED = HERE / "results" / "quick.csv"
#: a median must be above the earlier one by this share at least
LEAST = 0.10
WORKLOAD = "workload"
#: of the rounds
Quartiles = pd.DataFrame


# Tasks: each takes data in a file and a trained model, and only the public functions, so that earlier code can run them too


def workload(data: Path, model: Any) -> None:
    """Multiply, sort, gather and count: the fixed workload that makes up one unit."""
    rng = np.random.default_rng(0)
    square = rng.random((700, 700), dtype=np.float32)
    for _ in range(12):
        square = square @ square
        square /= np.abs(square).max()
    numbers = rng.integers(0, 1_000_000, 2_000_000)
    np.bincount(np.sort(numbers)[numbers % 1000])


def start(data: Path, model: Any) -> None:
    """Import what `sailerx fit` imports, in a process of its own."""
    subprocess.run(
        [sys.executable, "-c", "import sailerx.api; from sailerx.cli import parser; parser('fit')"],
        check=True,
    )


def embedding(data: Path, model: Any) -> None:
    import sailerx

    sailerx.fit(data, max_epochs=1, progress="none").embed(data)


def default(data: Path, model: Any) -> None:
    import sailerx

    sailerx.fit(data, max_epochs=12, joint_embedding=False, progress="none")


def paper(data: Path, model: Any) -> None:
    import sailerx

    sailerx.fit(data, preset="paper", warmup_epochs=0, max_epochs=3, progress="none")


def imputation(data: Path, model: Any) -> None:
    model.impute(data, group_by="cell_type")


#: name → function, and its title
TASKS: dict[str, tuple[Callable[[Path, Any], None], str]] = {
    "start": (start, "imports of `sailerx fit`"),
    "embedding": (embedding, "file to embedding, with one epoch"),
    "default": (default, "12 epochs, default preset"),
    "paper": (paper, "3 epochs, paper preset"),
    "imputation": (imputation, "imputation by cell type"),
}


# A process that runs tasks


def cpu_seconds() -> float:
    """Return the CPU seconds, user and system, of this process and its children so far."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def serve(data: Path) -> None:
    """Run the tasks whose names come in by line, and answer with their CPU seconds."""
    import torch

    import sailerx

    torch.set_num_threads(1)
    model = sailerx.fit(data, max_epochs=1, progress="none")  # also compiles
    print("ready", flush=True)
    for line in sys.stdin:
        task = workload if line.strip() == WORKLOAD else TASKS[line.strip()][0]
        begun = cpu_seconds()
        task(data, model)
        print(cpu_seconds() - begun, flush=True)


@contextmanager
def runner(code: Path, data: Path) -> Iterator[Callable[[str], float]]:
    """Start a process with the code of a checkout; yield the function that times a task in it."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--serve", str(data)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | threads | {"PYTHONPATH": str(code / "python")}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdin
        assert process.stdout
        to, of = process.stdin, process.stdout

        def answer() -> str:
            line = of.readline()
            if not line:
                sys.exit(f"quick.py: the process with the code of {code} has ended, see above.")
            return line

        def timed(task: str) -> float:
            print(task, file=to, flush=True)
            return float(answer())

        answer()
        yield timed
        to.close()


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(code), commit], check=True)
        try:
            yield code
        finally:
            subprocess.run([*git, "remove", "--force", str(code)], check=True)


# Measuring and comparing


def measured(given: argparse.Namespace) -> tuple[Quartiles, Quartiles | None]:
    """Measure this code, and the code before if a commit is named, in turns: rows are tasks, columns quartiles, in units."""
    from sailerx import simulate_to_file

    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "cells.h5mu"
        cells, peaks = map(int, given.size.split("x"))
        simulate_to_file(data, cells, 500, peaks, seed=0)
        codes = {"now": HERE.parent}
        if given.before:
            codes = {"before": stack.enter_context(checkout(given.before)), **codes}
        runners = {name: stack.enter_context(runner(code, data)) for name, code in codes.items()}
        rounds = []
        for i in range(given.rounds):
            unit = {name: timed(WORKLOAD) for name, timed in runners.items()}
            for task in TASKS:
                for name, timed in runners.items():
                    rounds.append({"code": name, "task": task, "units": timed(task) / unit[name]})
            print(f"round {i + 1} of {given.rounds}", file=sys.stderr, flush=True)
    of = (
        pd.DataFrame(rounds)
        .groupby(["code", "task"], sort=False)["units"]
        .quantile([0.25, 0.5, 0.75])
        .unstack()
    )
    of.columns = pd.Index(["lower", "median", "upper"])
    return of.loc["now"], of.loc["before"] if given.before else None


def slower(before: Quartiles, now: Quartiles) -> list[str]:
    """Say in one sentence per task what has become slower by more than its spread."""
    found = []
    for task in now.index.intersection(before.index):
        old, new = before.loc[task], now.loc[task]
        if new["lower"] > old["upper"] and new["median"] > (1 + LEAST) * old["median"]:
            found.append(
                f"{TASKS[task][1]} takes {new['median'] / old['median']:.2f} times as long as before: {_text(new)} units of the NumPy "
                f"workload against {_text(old)}."
            )
    return found


def _text(of: Any) -> str:
    return f"{of['median']:.2f} ({of['lower']:.2f} to {of['upper']:.2f})"


def table(before: Quartiles, now: Quartiles) -> str:
    lines = [["task", "before", "now", "now / before"], ["---", "---:", "---:", "---:"]]
    for task in now.index:
        known = task in before.index
        ratio = f"{now.loc[task, 'median'] / before.loc[task, 'median']:.2f}" if known else ""
        lines.append([TASKS[task][1], _text(before.loc[task]) if known else "", _text(now.loc[task]), ratio])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", metavar="REF", help="a commit to run in turns with this code")
    parser.add_argument(
        "--committed", type=Path, default=COMMITTED, metavar="CSV", help="units measured before"
    )
    parser.add_argument("--keep", action="store_true", help="write what was measured into it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", default="1000x20000", metavar="CELLSxPEAKS")
    parser.add_argument("--serve", type=Path, metavar="DATA.h5mu", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(given.serve)
    begun = time.perf_counter()
    now, before = measured(given)
    if before is None:
        before = pd.read_csv(given.committed, index_col="task") if given.committed.exists() else now.iloc[:0]
    print(table(before, now))
    print(f"{time.perf_counter() - begun:.0f} seconds", file=sys.stderr)
    if given.keep:
        now.round(3).to_csv(given.committed, index_label="task")
        return None
    if texts := slower(before, now):
        more = (
            ""
            if given.before
            else " On another machine units differ: compare with a commit there, by BEFORE=REF."
        )
        sys.exit("\n".join(texts) + more)
    return None


if __name__ == "__main__":
    main()
