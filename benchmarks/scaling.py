"""Measure weak scaling over gloo: two processes on twice the cells against one process, one thread each.

    python benchmarks/scaling.py --size 4000x50000 --out benchmarks/results/scaling.csv
    python benchmarks/scaling.py --table benchmarks/results/scaling.csv --into benchmarks/README.md

Mini-batches have 500 cells per process, so that each process computes as much per step in both. Two runs of one process each, at
once, show what the machine's cores lose to each other without any communication. Numbers are of the epochs after the first; the three
take turns. The machine needs two free cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from pages import markdown, parse
from speed import simulated

HERE = Path(__file__).resolve().parent
CELLS_PER_STEP = 500
#: processes that train one network, and such runs at once
WAYS = {"one": (1, 1), "two": (2, 1), "apart": (1, 2)}


def seconds_per_epoch(data: Path, processes: int, at_once: int, epochs: int) -> float:
    """Train with so many processes, in so many runs at once; return seconds of an epoch: median after the first, mean of the runs."""
    options = ["--devices", processes, "--threads", 1, "--device", "cpu", "--progress", "none"]
    options += [
        "--max-epochs",
        epochs,
        "--minibatch-size",
        CELLS_PER_STEP * processes,
        "--no-joint-embedding",
    ]
    limit = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        places = [f"{folder}/run{i}" for i in range(at_once)]
        commands = [[sys.executable, "-m", "sailerx", "fit", data, "-o", place, *options] for place in places]
        runs = [subprocess.Popen(list(map(str, command)), env=os.environ | limit) for command in commands]
        if any([run.wait() for run in runs]):
            sys.exit("scaling.py: a run has failed, see above")
        medians = [pd.read_csv(f"{place}/history.csv")["seconds"].iloc[1:].median() for place in places]
    return float(sum(medians) / at_once)


def table(path: Path) -> str:
    """Format the CSV as a Markdown table: medians over rounds, and the efficiency in each round."""
    rows = pd.read_csv(path)
    head = [
        "cells per process × peaks",
        "one process, seconds per epoch",
        "two of one run",
        "two runs at once",
    ]
    lines = [[*head, "efficiency", "without communication"], ["---:"] * 6]
    for (cells, peaks), of in rows.groupby(["cells", "peaks"], sort=False):
        seconds = of.pivot(index="round", columns="way", values="seconds")
        times = [f"{seconds[way].median():.2f}" for way in WAYS]
        shares = [f"{100 * (seconds['one'] / seconds[way]).median():.0f} %" for way in ("two", "apart")]
        lines.append([f"{cells:,} × {peaks:,}", *times, *shares])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="4000x50000", metavar="CELLSxPEAKS", help="cells of each process")
    parser.add_argument("--density", type=float, default=0.05, help="molecules per cell and peak")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="of each run; the first is not timed")
    parser.add_argument("--work", type=Path, default=HERE / "results" / "work" / "speed")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    given = parse(parser, table)
    if not given.out:
        parser.error("--out is needed, or --table")
    cells, peaks = map(int, given.size.split("x"))
    files = {n: simulated(f"{n * cells}x{peaks}", given.density, given.work) for n in (1, 2)}
    rows = []
    for i in range(given.rounds):
        for way, (processes, at_once) in WAYS.items():
            seconds = seconds_per_epoch(files[processes], processes, at_once, given.epochs)
            rows.append({"cells": cells, "peaks": peaks, "way": way, "round": i, "seconds": seconds})
            pd.DataFrame(rows).to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
