"""Measure weak scaling over gloo: two processes on twice the cells against one process, one thread each.

    python benchmarks/scaling.py --size 4000x50000 --out benchmarks/results/scaling.csv
    python benchmarks/scaling.py --table benchmarks/results/scaling.csv --into benchmarks/README.md

Mini-batches have 500 cells per process, so that each process computes as much per step in both. Numbers are of the epochs after the
first; one process and two take turns. The machine needs two free cores.
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
KEY = ["cells", "peaks", "processes", "round"]


def seconds_per_epoch(data: Path, processes: int, epochs: int) -> float:
    """Train with so many processes; return the median seconds of the epochs after the first."""
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
        command = [sys.executable, "-m", "sailerx", "fit", data, "-o", f"{folder}/run", *options]
        subprocess.run(list(map(str, command)), env=os.environ | limit, check=True)
        return float(pd.read_csv(f"{folder}/run/history.csv")["seconds"].iloc[1:].median())


def table(path: Path) -> str:
    """Format the CSV as a Markdown table: medians over rounds, and the efficiency in each round."""
    rows = pd.read_csv(path)
    lines = [
        ["cells per process × peaks", "one process, seconds per epoch", "two", "efficiency"],
        ["---:"] * 4,
    ]
    for (cells, peaks), of in rows.groupby(["cells", "peaks"], sort=False):
        seconds = of.pivot(index="round", columns="processes", values="seconds")
        efficiency = (seconds[1] / seconds[2]).median()
        times = [f"{seconds[n].median():.2f}" for n in (1, 2)]
        lines.append([f"{cells:,} × {peaks:,}", *times, f"{100 * efficiency:.0f} %"])
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
        for n, data in files.items():
            seconds = seconds_per_epoch(data, n, given.epochs)
            rows.append({"cells": cells, "peaks": peaks, "processes": n, "round": i, "seconds": seconds})
            pd.DataFrame(rows).to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
