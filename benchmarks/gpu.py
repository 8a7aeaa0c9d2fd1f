"""Measure whole runs on a GPU: seconds, memory, time relative to the memory-bandwidth bound, quality beside the CPU.

    python benchmarks/gpu.py --files DATA.h5mu --labels cell_type --drop Mis --out benchmarks/results/gpu.csv
    python benchmarks/gpu.py --table benchmarks/results/gpu.csv --into benchmarks/README.md

Both presets train on simulated data of `--sizes`, by default 11,331 × 131,364 with 5 % of the peaks open; on `--files`, which
have labels, the default preset trains on the CPU too. A CSV row per run; `--profile` prints the GPU's longest operations. README.md
has the details.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd
import torch
from pages import markdown, parse
from speed import data_name, simulated

import sailerx

HERE = Path(__file__).resolve().parent


def bandwidth(device: torch.device, n_bytes: int = 2**30) -> float:
    """Measure the memory bandwidth in bytes per second (read plus written) by a copy on the device, best of ten."""
    a = torch.zeros(n_bytes, dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    times = []
    for _ in range(10):
        wait(device)
        start = time.perf_counter()
        b.copy_(a)
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * n_bytes / min(times)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def least_bytes(model: sailerx.Model, n_peaks: int) -> float:
    """Compute a lower bound for the memory traffic of one step, in bytes.

    Adam moves 28 bytes per parameter. In half precision, each entry (cell × peak) of the encoder's input is written once and read
    twice; for each entry that is decoded, a logit and its gradient are written and read.
    """
    n_parameters = sum(parameter.numel() for parameter in model.vae.parameters())
    size, share = model.settings.minibatch_size, model.settings.peak_share
    return 28 * n_parameters + 2 * size * n_peaks * (3 + 4 * share)


def trained(data: mudata.MuData, preset: str, device: torch.device, seed: int, **options: Any) -> Any:
    """Train a model; return it and the time and memory of the run."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    model = sailerx.fit(data, preset=preset, device=device.type, seed=seed, progress="none", **options)
    seconds, history = time.perf_counter() - start, model.history
    n_steps = len(history) * (data["atac"].n_obs // min(data["atac"].n_obs, model.settings.minibatch_size))
    return model, {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "preset": preset,
        "seed": seed,
        "epochs": len(history),
        "steps": n_steps,
        "fit_seconds": seconds,
        "training_seconds": float(history["seconds"].sum()),
        "ms_per_step": 1000 * float(history["seconds"].iloc[1:].mean()) * len(history) / n_steps,
        "gpu_mb": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None,
    }


def timed(data: mudata.MuData, preset: str, given: argparse.Namespace, speed: float) -> dict[str, Any]:
    """Time a whole run with a random RNA reference, whose values do not change the time."""
    data["rna"].obsm["X_any"] = np.random.default_rng(0).normal(size=(data.n_obs, 50)).astype(np.float32)
    limit = {"max_epochs": given.epochs} if given.epochs else {}
    model, row = trained(data, preset, given.device, 0, rna_embedding="X_any", **limit)
    floor_ms = 1000 * least_bytes(model, data["atac"].n_vars) / speed
    return row | {"least_ms_per_step": floor_ms, "share_of_limit": floor_ms / row["ms_per_step"]}


def scored(data: mudata.MuData, device: torch.device, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train with the default preset, and score the embedding by labels."""
    limit = {"max_epochs": given.epochs} if given.epochs else {}
    model, row = trained(data, "default", device, seed, **limit)
    found = sailerx.metrics.score(
        model.embed(data), data["atac"].obs[given.labels], drop=given.drop, seed=seed
    )
    return row | {name: found[name] for name in ("ari", "nmi", "knn")}


def profile(data: mudata.MuData, preset: str, given: argparse.Namespace) -> str:
    """Profile three epochs; return a table of the 20 longest operations."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (given.device.type == "cuda")
    with profiled(activities=activities) as found:
        trained(data, preset, given.device, 0, rna_embedding="X_any", max_epochs=3)
    by = "self_cuda_time_total" if given.device.type == "cuda" else "self_cpu_time_total"
    return str(found.key_averages().table(sort_by=by, row_limit=20, max_name_column_width=60))


def table(rows: pd.DataFrame) -> str:
    """Markdown: a line for each kind of run, means over seeds."""
    lines = [["data", "device", "preset", "epochs", "steps", "seconds", "ms per step", "share of limit"]]
    lines[0] += ["GPU MB", "ARI", "NMI", "kNN"]
    lines.append(["---"] * 3 + ["---:"] * 9)
    digits = {"epochs": 0, "steps": 0, "training_seconds": 1, "ms_per_step": 2, "share_of_limit": 2}
    digits |= {"gpu_mb": 0, "ari": 3, "nmi": 3, "knn": 3}
    for kind, found in rows.groupby(["data", "device", "preset"], sort=False):
        means = found.reindex(columns=list(digits)).astype(float).mean()
        cells = [f"{means[name]:,.{n}f}" if pd.notna(means[name]) else "" for name, n in digits.items()]
        lines.append([*map(str, kind), *cells])
    return markdown(lines)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="*", default=["11331x131364"], metavar="CELLSxPEAKS")
    parser.add_argument("--density", type=float, default=0.05, help="molecules per cell and peak")
    parser.add_argument("--presets", nargs="+", default=["default", "paper"], choices=["default", "paper"])
    parser.add_argument("--files", nargs="*", default=[], type=Path, metavar="DATA.h5mu", help="with labels")
    parser.add_argument("--labels", default="cell_type", help="obs column of cell types")
    parser.add_argument("--drop", nargs="+", default=[], help="labels that are not scored")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the runs on files")
    parser.add_argument("--epochs", type=int, help="by default the presets' own")
    parser.add_argument("--device", type=torch.device, default="cuda", help="cpu, to try this script")
    parser.add_argument("--profile", action="store_true", help="print the longest operations")
    parser.add_argument("--work", type=Path, default=HERE / "results" / "work" / "speed")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    return parser


def main() -> None:
    parser = make_parser()
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    if not given.out:
        parser.error("--out is needed, or --table")
    mudata.set_options(pull_on_update=False)
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
        pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.6g")

    for size in given.sizes:
        name = {"data": data_name(size, given.density)}
        data = mudata.read_h5mu(simulated(size, given.density, given.work))
        for preset in given.presets:
            keep(name | timed(data, preset, given, bandwidth(given.device)))
            if given.profile:
                print(profile(data, preset, given))
    for path in given.files:
        data = mudata.read_h5mu(path)
        for device in dict.fromkeys([given.device, torch.device("cpu")]):
            for seed in given.seeds:
                keep({"data": path.stem} | scored(data, device, seed, given))


if __name__ == "__main__":
    main()
