"""Measure training from a file on disk: cells per second of reading alone and of training, time of the embedding, and peak memory.

    python benchmarks/backed.py --sizes 10000x200000 100000x200000 --out benchmarks/results/backed.csv
    python benchmarks/backed.py --sizes 200000x200000 --whole --out benchmarks/results/backed.csv
    python benchmarks/backed.py --sizes 1000000x200000 --seconds 600 --out benchmarks/results/backed.csv
    python benchmarks/backed.py --table benchmarks/results/backed.csv --into benchmarks/README.md
    python benchmarks/backed.py --figure benchmarks/results/backed.svg --out benchmarks/results/backed.csv

The default preset with counts on disk, on data simulated straight to the file; each part runs in a process of its own. With
`--seconds` an epoch is left when they are over, and what it would have taken follows from the cells that it has seen; `--whole` also
runs all epochs. README.md has the details.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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


def one_epoch(found: Any) -> tuple[Any, Any, list[Any]]:
    """Prepare an epoch of the default preset: settings, training data and the mini-batches' cells."""
    import torch

    from sailerx.config import make_settings
    from sailerx.data.multiome import Multiome
    from sailerx.training.loop import sampler_of

    settings = make_settings("default")
    data = Multiome.from_mudata(found, settings, in_memory=False)
    sampler = sampler_of(data, settings, 0)
    settings = settings.for_data(sampler.n_steps, hybrid=False)
    return settings, data, list(sampler.epoch(torch.Generator().manual_seed(0)))


def reading(path: Path, seconds: float) -> dict[str, float]:
    """Time reading the mini-batches of one epoch, without training."""
    import torch

    from sailerx.data.reading import opened
    from sailerx.minibatches.loader import OnDevice

    with opened(path) as found:
        _, data, batches = one_epoch(found)
        on_device = OnDevice.from_multiome(data, torch.device("cpu"))
        rate, _ = timed((minibatch.x.n_cells for minibatch in on_device.minibatches(batches)), seconds)
    return {"reading_cells_per_second": rate}


def training(path: Path, seconds: float) -> dict[str, float]:
    """Time the steps of one epoch of training."""
    import numpy as np
    import torch

    from sailerx.data.reading import opened
    from sailerx.minibatches.loader import OnDevice
    from sailerx.network.schedules import loss_weights
    from sailerx.training.distributed.ranks import ALONE
    from sailerx.training.loop import FEWEST_PEAKS, training_step
    from sailerx.training.state import TrainingState

    with opened(path) as found:
        settings, data, batches = one_epoch(found)
        device = torch.device("cpu")
        state = TrainingState(data, settings, 0, device)
        scores = np.zeros((data.n_cells, settings.private), np.float32)
        on_device = OnDevice.from_multiome(data, device, scores=scores)
        options = {
            "settings": settings,
            "peak_share": max(settings.peak_share, FEWEST_PEAKS / data.n_peaks),
            "ranks": ALONE,
        }
        weights = loss_weights(0.5, settings, data.n_peaks)

        def steps() -> Iterator[int]:
            for minibatch in on_device.minibatches(batches):
                training_step(state, minibatch, weights, **options)
                yield minibatch.x.n_cells

        rate, n_cells = timed(steps(), seconds)
    return {
        "training_cells_per_second": rate,
        "trained_cells": n_cells,
        "epochs": settings.n_epochs,
        "peak_mb": peak_mb(),
    }


def embedding(path: Path, _: float) -> dict[str, float]:
    """Time the embedding: learn it, and embed all cells."""
    import sailerx

    start = time.perf_counter()
    sailerx.fit(path, backed=True, max_epochs=0, progress="none").embed(path)
    return {"embedding_seconds": time.perf_counter() - start, "embedding_mb": peak_mb()}


def whole(path: Path, _: float) -> dict[str, float]:
    """Time a whole run: train in all epochs, and embed all cells."""
    import sailerx

    start = time.perf_counter()
    sailerx.fit(path, backed=True, progress="none").embed(path)
    return {"whole_seconds": time.perf_counter() - start, "whole_mb": peak_mb()}


def timed(counts: Iterator[int], seconds: float) -> tuple[float, int]:
    """Count cells until the iterator ends or the seconds are over; return cells per second, and their number."""
    start, n_cells = time.perf_counter(), 0
    for n in counts:
        n_cells += n
        if time.perf_counter() - start > seconds:
            break
    return n_cells / (time.perf_counter() - start), n_cells


#: name of the part → function that measures it
PARTS: dict[str, Callable[[Path, float], dict[str, float]]] = {
    "reading": reading,
    "training": training,
    "embedding": embedding,
    "whole": whole,
}


def run(part: str, path: Path, threads: int, seconds: float) -> dict[str, float]:
    """Run one of `PARTS` in a process of its own, and return its measurements."""
    limit = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    command = [sys.executable, __file__, "--part", part, "--file", str(path), "--seconds", str(seconds)]
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
        *("cells", "peaks", "open peaks", "file GB", "cells per second: reading", "training", "epochs"),
        *("minutes of the embedding", "hours of a run", "measured", "peak MB"),
    ]
    lines = [head, ["---:"] * len(head)]
    for row in rows.sort_values("cells").to_dict("records"):
        counts = [row["cells"], row["peaks"], row["open_peaks"]]
        speeds = [row["reading_cells_per_second"], row["training_cells_per_second"], row["epochs"]]
        measured = f"{row['whole_seconds'] / 3600:.2f}" if row.get("whole_seconds", 0) > 0 else ""
        peak = max(row[name] for name in ("peak_mb", "embedding_mb", "whole_mb") if row.get(name, 0) > 0)
        cells = [*(f"{n:,.0f}" for n in counts), f"{row['file_gb']:.1f}", *(f"{n:,.0f}" for n in speeds)]
        times = [f"{row['embedding_seconds'] / 60:.1f}", f"{hours(row):.2f}", measured]
        lines.append([*cells, *times, f"{peak:,.0f}"])
    return markdown(lines)


def hours(row: dict[Any, Any]) -> float:
    """Compute the hours of a whole run: the embedding, and all epochs at the measured speed."""
    epochs: float = row["epochs"] * row["cells"] / row["training_cells_per_second"]
    return (row["embedding_seconds"] + epochs) / 3600


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw milliseconds per cell of each part against the number of cells."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    rows = rows.sort_values("cells")
    parts = {
        "training, per cell and epoch": 1000 / rows["training_cells_per_second"],
        "reading, per cell and epoch": 1000 / rows["reading_cells_per_second"],
        "embedding, per cell": 1000 * rows["embedding_seconds"] / rows["cells"],
    }
    for label, milliseconds in parts.items():
        axes.plot(rows["cells"], milliseconds, marker="o", label=label)
    axes.set(xscale="log", ylim=(0, None), xlabel="cells", ylabel="milliseconds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["300000x200000"], metavar="CELLSxPEAKS")
    parser.add_argument("--density", type=float, default=0.0175, help="molecules per cell and peak")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, default=HERE / "results" / "work" / "backed")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time given to an epoch")
    parser.add_argument("--whole", action="store_true", help="also measure a whole run")
    parser.add_argument("--figure", type=Path, metavar="FIGURE", help="draw OUT.csv, measure nothing")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    if given.part:
        print(json.dumps(PARTS[given.part](given.file, given.seconds)))
        return
    if not given.out:
        parser.error("--out is needed, or --table")
    if given.figure:
        draw(pd.read_csv(given.out), given.figure)
        return
    rows = pd.read_csv(given.out).to_dict("records") if given.out.exists() else []
    for size in given.sizes:
        path = simulated(size, given.density, given.work, **RNA)
        row: dict[str, Any] = sizes(path) | {"threads": given.threads}
        for part in [part for part in PARTS if part != "whole" or given.whole]:
            row |= run(part, path, given.threads, given.seconds)
        print(row, file=sys.stderr, flush=True)
        same = ("cells", "peaks", "threads")
        rows = [old for old in rows if any(old[name] != row[name] for name in same)] + [row]
        pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
