"""Measure whole runs, from a file on disk to the embedding on disk: seconds, CPU seconds, peak memory, and quality.

    python benchmarks/whole.py --sizes 10000x100000 --files DATA.h5mu --drop Mis --peers-python PYTHON \\
        --out benchmarks/results/whole.csv
    python benchmarks/whole.py --table benchmarks/results/whole.csv --into benchmarks/README.md

Each run is one process, whose time begins before its imports and ends after it has written its file. Methods of other tools follow
peers.py, on a CPU, with their own stopping rules and at most `--hours` of training; the row says so of those stopped by it. Quality:
the share of cells of each type whose type the 15 nearest cells name right, in the mean over types. A tool that is not installed in
PYTHON has a row that says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peers
from pages import markdown, parse
from peers import PEERS
from speed import data_name, simulated

HERE = Path(__file__).resolve().parent
#: method → title, and options of `sailerx fit`; None = a function of peers.py
METHODS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "embedding": ("**sailerx, embedding alone** (`--max-epochs 0`)", ("--max-epochs", "0")),
    "backed": (
        "**sailerx, embedding alone, counts left on disk** (`--backed`)",
        ("--max-epochs", "0", "--backed"),
    ),
    "default": ("**sailerx, default preset**", ()),
    "wnn": ("WNN of RNA PCA 30 and LSI 30 (muon)", None),
    "mofa": ("MOFA+, 30 factors", None),
    "peakvi": ("PeakVI (ATAC alone)", None),
    "multivi": ("MultiVI", None),
    "glue": ("GLUE, paired", None),
}
KEY = ["data", "device", "threads", "method", "seed"]
NOT_INSTALLED = "not installed"


def command_of(given: argparse.Namespace, method: str, data: Path, folder: Path) -> Sequence[object]:
    """Make the command of a run that writes `embedding` into the folder."""
    options = METHODS[method][1]
    if options is None:
        return [
            given.peers_python,
            __file__,
            "--one",
            method,
            given.seed,
            data,
            folder / "embedding.npy",
            given.hours,
        ]
    run = ["-o", folder / "run", "--embed", folder / "embedding.h5ad", "--progress", "none"]
    machine = ["--seed", given.seed, "--threads", given.threads, "--device", given.device]
    return [sys.executable, "-m", "sailerx", "fit", data, *run, *machine, *options]


def measured(command: Sequence[object], threads: int) -> dict[str, float]:
    """Run a command; return its wall seconds, CPU seconds and peak memory in MB, those of its own processes included."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    begun = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), env=os.environ | dict.fromkeys(names, str(threads)))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"whole.py: ended with {process.returncode}, see above: {' '.join(map(str, command))}")
    in_kb = 1024 if sys.platform == "linux" else 1024**2
    return {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / in_kb,
    }


def embedding_in(folder: Path) -> np.ndarray | None:
    """Read the embedding that a run has written; None if the method gives a graph."""
    import anndata

    if (folder / "embedding.h5ad").exists():
        return np.asarray(anndata.read_h5ad(folder / "embedding.h5ad").obsm["X_sailerx"])
    return np.load(folder / "embedding.npy") if (folder / "embedding.npy").exists() else None


def accuracy(z: np.ndarray, data: Path, labels: str, drop: Sequence[str]) -> float:
    from sailerx import metrics, read

    atac = read(data, backed=True)["atac"]
    of_cell = atac.obs[labels].astype(str).to_numpy()
    scored = ~np.isin(of_cell, drop)
    return metrics.knn_accuracy(z[scored], of_cell[scored])


def is_installed(given: argparse.Namespace, method: str) -> bool:
    """Tell whether the modules of a method are in the Python of the peers; ours always are."""
    if METHODS[method][1] is not None:
        return True
    if not given.peers_python:
        return False
    code = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {PEERS[method][1]!r})))"
    return subprocess.run([given.peers_python, "-c", code], check=False).returncode == 0


def run(given: argparse.Namespace, method: str, data: Path) -> dict[str, Any]:
    """Run a method, and make its row."""
    if not is_installed(given, method):
        return {"note": NOT_INSTALLED}
    with tempfile.TemporaryDirectory() as name:
        row: dict[str, Any] = measured(command_of(given, method, data, Path(name)), given.threads)
        record = Path(name) / "settings.json"
        row |= {"note": cut_short(json.loads(record.read_text()))} if record.exists() else {}
        z = embedding_in(Path(name))
        return row | ({} if z is None else {"knn": accuracy(z, data, given.labels, given.drop)})


def cut_short(settings: dict[str, Any]) -> str:
    """Say where a run was stopped by the limit of time; nothing if it was not."""
    if not settings.get("stopped at the limit of time"):
        return ""
    return f"stopped in epoch {settings['epochs']}" if "epochs" in settings else "stopped by the limit"


def one(method: str, seed: str, data: str, out: str, hours: str) -> None:
    """Compute the embedding of another tool, and its settings; a graph is written to another name."""
    import mudata

    peers.HOURS = float(hours)
    with mudata.set_options(pull_on_update=False):
        found, settings = PEERS[method][0](mudata.read_h5mu(data), int(seed))
    Path(out).with_name("settings.json").write_text(json.dumps(settings, default=str))
    if isinstance(found, dict):
        np.savez(out.replace(".npy", ".npz"), near=found["near"])
    else:
        np.save(out, np.asarray(found))


def table(path: Path) -> str:
    """Format the CSV as a Markdown table: medians over seeds."""
    rows = pd.read_csv(path)
    head = ["data", "device", "threads", "method", "seconds", "CPU seconds", "peak MB", "kNN"]
    lines = [head, ["---", "---", "---:", "---", "---:", "---:", "---:", "---:"]]
    for (data, device, threads), of_data in rows.groupby(["data", "device", "threads"], sort=False):
        for method, (title, _) in METHODS.items():
            found = of_data[of_data["method"] == method]
            if len(found):
                numbers = found.reindex(columns=["seconds", "cpu_seconds", "peak_mb", "knn"]).median()
                digits = zip(numbers, (0, 0, 0, 3), strict=True)
                text = ["" if np.isnan(value) else f"{value:,.{n}f}" for value, n in digits]
                for note in found["note"].dropna().unique() if "note" in found else []:
                    text[0] = f"{text[0]} {note}".strip()
                lines.append([data, device, str(threads), title, *text])
    return markdown(lines)


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        return one(*sys.argv[2:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", nargs="*", default=["10000x100000"], metavar="CELLSxPEAKS", help="of simulated data"
    )
    parser.add_argument("--density", type=float, default=0.05, help="their molecules per cell and peak")
    parser.add_argument("--files", nargs="+", default=[], type=Path, metavar="DATA.h5mu", help="real data")
    parser.add_argument("--labels", default="cell_type", help="obs column of cell types, for quality")
    parser.add_argument("--drop", nargs="+", default=[], help="labels that are not scored")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of sailerx")
    parser.add_argument("--peers-python", help="Python that has requirements-peers.txt")
    parser.add_argument("--hours", type=float, default=peers.HOURS, help="limit for training another tool")
    parser.add_argument("--work", type=Path, default=HERE / "results" / "work" / "speed")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    given = parse(parser, table)
    if not given.out:
        parser.error("--out is needed, or --table")
    files = {
        data_name(size, given.density): simulated(size, given.density, given.work) for size in given.sizes
    }
    for name, data in (files | {path.stem: path for path in given.files}).items():
        for method in given.methods:
            row = {
                "data": name,
                "device": given.device,
                "threads": given.threads,
                "method": method,
                "seed": given.seed,
            }
            row |= run(given, method, data)
            print(row, file=sys.stderr, flush=True)
            old = pd.read_csv(given.out) if given.out.exists() else pd.DataFrame()
            pd.concat([old, pd.DataFrame([row])]).drop_duplicates(KEY, keep="last").to_csv(
                given.out, index=False
            )
    return None


if __name__ == "__main__":
    main()
