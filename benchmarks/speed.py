"""Measure seconds per epoch and peak memory of sailerx, the reference implementation and scvi-tools: a CSV row per run.

    python benchmarks/speed.py --sizes 2000x100000 --reference DIR --out benchmarks/results/speed.csv
    python benchmarks/speed.py --table benchmarks/results/speed.csv --into benchmarks/README.md

Methods alternate for `--rounds` rounds, each run in a process of its own, so that other load on the machine affects all methods
alike. Data are simulated with 5 % of the peaks open (`--density`). README.md describes the methods.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from pages import markdown, parse

HERE = Path(__file__).resolve().parent
TITLES = {
    "reference": "reference implementation",
    "paper": "**sailerx, paper preset** (the same mathematics)",
    "default": "**sailerx, default preset**",
    "peakvi": "PeakVI (scvi-tools)",
    "multivi": "MultiVI (scvi-tools)",
}
IN_PEERS = {"peakvi", "multivi"}


def simulated(size: str, density: float, work: Path, n_genes: int = 2000, **options: Any) -> Path:
    """Return the file of simulated data of a size such as 2000x100000, making it if it does not exist."""
    from sailerx import simulate_to_file

    cells, peaks = map(int, size.split("x"))
    path = work / f"{size}-{density:g}.h5mu"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        options |= {"n_chroms": 22, "atac_depth": density * peaks, "compression": None}
        simulate_to_file(path, cells, n_genes, peaks, **options)
    return path


def data_name(size: str, density: float) -> str:
    """Return the name of simulated data in the table, such as "2,000 × 100,000, 5 %"."""
    cells, peaks = map(int, size.split("x"))
    return f"{cells:,} × {peaks:,}, {100 * density:g} %"


def run(given: argparse.Namespace, method: str, data: Path) -> dict[str, float]:
    """Run a method by epochs.py in a process of its own, and return its measurements."""
    python = given.peers_python if method in IN_PEERS else sys.executable
    command = [python, HERE / "epochs.py", method, data, given.epochs]
    command += ["--threads", given.threads, "--device", given.device]
    command += ["--reference", given.reference] if method == "reference" else []
    limit = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(given.threads))
    answer = subprocess.run(
        list(map(str, command)), env=os.environ | limit, stdout=subprocess.PIPE, text=True, check=False
    )
    if answer.returncode != 0:
        sys.exit(f"speed.py: ended with {answer.returncode}, see above: {' '.join(map(str, command))}")
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def table(rows: pd.DataFrame) -> str:
    """Format rows as a Markdown table: medians over rounds, and the median ratio of reference time to time in each round."""
    head = ["data", "device", "threads", "method", "seconds per epoch", "reference / it", "peak MB", "GPU MB"]
    lines = [["---" if name in ("data", "device", "method") else "---:" for name in head]]
    for (data, device, threads), of_data in rows.groupby(["data", "device", "threads"], sort=False):
        times = of_data.pivot(index="round", columns="method", values="seconds_per_epoch")
        for method, title in TITLES.items():
            found = of_data[of_data["method"] == method]
            if len(found):
                known = "reference" in times and method != "reference"
                ratio = f"{(times['reference'] / times[method]).median():.1f}" if known else ""
                gpu = f"{found['gpu_mb'].median():,.0f}" if device == "cuda" else ""
                seconds, peak = found["seconds_per_epoch"].median(), found["peak_mb"].median()
                what = [data, device, str(threads), title]
                lines.append([*what, f"{seconds:.2f}", ratio, f"{peak:,.0f}", gpu])
    kept = [i for i in range(len(head)) if any(line[i] for line in lines[1:])]
    return markdown([line[i] for i in kept] for line in [head, *lines])


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", nargs="*", default=["2000x100000"], metavar="CELLSxPEAKS", help="of simulated data"
    )
    parser.add_argument("--density", type=float, default=0.05, help="their molecules per cell and peak")
    parser.add_argument("--files", nargs="+", default=[], type=Path, metavar="DATA.h5mu", help="real data")
    parser.add_argument("--methods", nargs="+", choices=TITLES, help="by default all that can run")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="checkout of the reference")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4, help="of each run; the first is not timed")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--peers-python", help="Python that has requirements-peers.txt; without it no scvi-tools"
    )
    parser.add_argument("--work", type=Path, default=HERE / "results" / "work" / "speed")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    return parser


def main() -> None:
    parser = make_parser()
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    if not given.out:
        parser.error("--out is needed, or --table")
    can_run = [
        method
        for method in TITLES
        if (method != "reference" or given.reference) and (method not in IN_PEERS or given.peers_python)
    ]
    simulations = {data_name(size, given.density): size for size in given.sizes}
    files = {name: simulated(size, given.density, given.work) for name, size in simulations.items()}
    for name, data in (files | {path.stem: path for path in given.files}).items():
        for i in range(given.rounds):
            for method in given.methods or can_run:
                row = {"data": name, "device": given.device, "method": method, "round": i}
                row |= {"threads": given.threads, **run(given, method, data)}
                print(row, file=sys.stderr, flush=True)
                old = pd.read_csv(given.out) if given.out.exists() else pd.DataFrame()
                together = pd.concat([old, pd.DataFrame([row])])
                key = ["data", "device", "threads", "method", "round"]
                together.drop_duplicates(key, keep="last").to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
