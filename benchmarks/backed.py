"""Measure training from a file on disk: cells per second of reading alone and of training, and peak memory.

    python benchmarks/backed.py --sizes 300000x200000 --density 0.0175 --out benchmarks/results/backed.csv
    python benchmarks/backed.py --table benchmarks/results/backed.csv --into benchmarks/README.md

One epoch of the default preset with `backed=True`, on data simulated straight to the file; reading and training run in separate
processes. README.md has the details.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from cost import peak_mb
from pages import markdown, parse
from speed import simulated

HERE = Path(__file__).resolve().parent
#: simulation options: little RNA, because it is read into memory for PCA and would hide the cost of ATAC
RNA = {"n_genes": 500, "rna_depth": 150}


def reading(path: Path) -> dict[str, float]:
    """Time reading the mini-batches of one epoch, without training."""
    import torch

    from sailerx.config import make_settings
    from sailerx.data.multiome import Multiome
    from sailerx.data.reading import opened
    from sailerx.minibatches.loader import OnDevice
    from sailerx.training.loop import sampler_of

    settings = make_settings("default")
    with opened(path) as found:
        data = Multiome.from_mudata(found, settings, in_memory=False)
        on_device = OnDevice.from_multiome(data, torch.device("cpu"))
        batches = list(sampler_of(data, settings, 0).epoch(torch.Generator().manual_seed(0)))
        start = time.perf_counter()
        n_cells = sum(minibatch.x.n_cells for minibatch in on_device.minibatches(batches))
    return {"reading_cells_per_second": n_cells / (time.perf_counter() - start)}


def training(path: Path) -> dict[str, float]:
    """Time one epoch of training."""
    import sailerx

    start = time.perf_counter()
    model = sailerx.fit(path, backed=True, max_epochs=1, progress="none")
    record = model.history.iloc[0]
    return {
        "training_cells_per_second": float(record["cells_per_second"]),
        "epoch_seconds": float(record["seconds"]),
        "seconds": time.perf_counter() - start,
        "peak_mb": peak_mb(),
    }


#: name of the part → function that measures it
PARTS: dict[str, Callable[[Path], dict[str, float]]] = {"reading": reading, "training": training}


def run(part: str, path: Path, threads: int) -> dict[str, float]:
    """Run one of `PARTS` in a process of its own, and return its measurements."""
    limit = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    command = [sys.executable, __file__, "--part", part, "--file", str(path)]
    answer = subprocess.run(command, env=os.environ | limit, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"backed.py: {part} ended with {answer.returncode}, see above")
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def sizes(path: Path) -> dict[str, float]:
    """Read the numbers of cells, peaks and open peaks of a file, and its size in GB."""
    with h5py.File(path) as file:
        x = file["mod/atac/X"]
        n_cells, n_peaks = map(int, x.attrs["shape"])
        n_open = len(x["indices"])
    return {"cells": n_cells, "peaks": n_peaks, "open_peaks": n_open, "file_gb": path.stat().st_size / 1e9}


def table(rows: pd.DataFrame) -> str:
    """Format measurements as a Markdown table, one line per file."""
    head = [
        *("cells", "peaks", "open peaks", "file GB", "cells per second: reading", "training"),
        *("minutes of an epoch", "peak MB"),
    ]
    lines = [head, ["---:"] * len(head)]
    for row in rows.to_dict("records"):
        numbers = [row["cells"], row["peaks"], row["open_peaks"]]
        speeds = [row["reading_cells_per_second"], row["training_cells_per_second"]]
        cells = [*(f"{n:,.0f}" for n in numbers), f"{row['file_gb']:.1f}", *(f"{n:,.0f}" for n in speeds)]
        lines.append([*cells, f"{row['epoch_seconds'] / 60:.1f}", f"{row['peak_mb']:,.0f}"])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["300000x200000"], metavar="CELLSxPEAKS")
    parser.add_argument("--density", type=float, default=0.0175, help="molecules per cell and peak")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, default=HERE / "results" / "work" / "backed")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    if given.part:
        print(json.dumps(PARTS[given.part](given.file)))
        return
    if not given.out:
        parser.error("--out is needed, or --table")
    rows: list[dict[str, Any]] = []
    for size in given.sizes:
        path = simulated(size, given.density, given.work, **RNA)
        row: dict[str, Any] = sizes(path) | {"threads": given.threads}
        for part in PARTS:
            row |= run(part, path, given.threads)
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
        pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
