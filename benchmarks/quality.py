"""Measure quality, time and memory of embeddings of one file: a CSV row per method, seed and metric.

    python benchmarks/quality.py DATA.h5mu --labels cell_type --drop Mis --methods lsi_49 default --seeds 0 1 2 \\
        --out benchmarks/results/snareseq.csv
    python benchmarks/quality.py --table benchmarks/results/snareseq.csv --into benchmarks/README.md

Rows already in the CSV are kept, so that a stopped run can be continued; `--redo` replaces them. Each embedding and each score is
computed in a process of its own. README.md describes methods and scores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pages import markdown, parse
from peers import PEERS

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent.parent / "shared" / "tools"
SCORES = ["ari", "nmi", "silhouette", "knn", "gain_rna", "gain_atac", "cpu_seconds", "peak_mb"]
COLUMNS = [
    "method",
    "seed",
    "metric",
    "cells",
    "resolution",
    "clusters",
    *SCORES,
    "seconds",
    "threads",
    "settings",
]
UNSEEN = "@unseen"  # scored only on the cells that method `unseen` did not train on

#: method → title in the table; rows are in this order
TITLES = {
    "rna_pca_scanpy": "RNA PCA 50, scanpy's recipe",
    "rna_pca": "RNA PCA 50, as `sailerx` computes it",
    "lsi_20": "ATAC LSI, components 2 to 21",
    "lsi_49": "ATAC LSI, components 2 to 50",
    "concat": "the same RNA PCA and LSI 2 to 30, side by side",
    "wnn": "WNN of RNA PCA 30 and LSI 30 (muon)",
    "mofa": "MOFA+, 30 factors",
    "schema": "Schema, RNA towards LSI 30",
    "peakvi": "PeakVI (ATAC alone)",
    "multivi": "MultiVI",
    "reference": "reference implementation",
    "default": "**sailerx**",
    "network": "sailerx, z of the network (`joint_embedding=False`)",
    "from_file": "the same from the file, shuffled in buffers of chunks",
    "paper": "sailerx, paper preset",
    "atac_alone": "control: **sailerx**, ATAC alone",
    "shuffled_atac": "control: **sailerx**, ATAC shuffled between cells",
    "unseen_rna@unseen": "new cells, of which nothing was learned",
    "unseen@unseen": "new cells, from ATAC alone",
    "default@unseen": "the same cells, when they were learned from too",
    "lsi_49@unseen": "the same cells, ATAC LSI, components 2 to 50",
    "rna_pca@unseen": "the same cells, RNA PCA 50",
}
#: methods whose seconds and memory are in another row
COST_ABOVE = {"default@unseen", "lsi_49@unseen", "rna_pca@unseen"}
#: controls, without the network's training: their time is not that of a run
COST_ABOVE |= {"atac_alone", "shuffled_atac", "unseen@unseen", "unseen_rna@unseen"}
BOTH_METRICS = (
    "rna_pca",
    "lsi",
    "concat",
    "default",
    "atac_alone",
    "shuffled_atac",
    "unseen",
    "reference",
    *(PEERS.keys() - {"wnn"}),
)
METRICS = {"wnn": ["graph"]} | {
    name: ["euclidean", "cosine"] for name in TITLES if name.startswith(BOTH_METRICS)
}


# Running


def run(python: str, *arguments: Any, threads: int) -> str:
    """Run a Python script with the project on its path and limited threads; return its standard output."""
    limit = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    limit["NUMBA_NUM_THREADS"] = str(threads)
    path = os.pathsep.join(filter(None, [str(HERE.parent / "python"), os.environ.get("PYTHONPATH", "")]))
    command = [python, *map(str, arguments)]
    answer = subprocess.run(
        command, env=os.environ | limit | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, check=False
    )
    if answer.returncode != 0:
        sys.exit(f"quality.py: ended with {answer.returncode}, see above: {' '.join(command)}")
    return answer.stdout


def embedded(given: argparse.Namespace, method: str, seed: int, thinned: bool) -> Path:
    """Return the file of an embedding, computing it if it does not exist."""
    base = method.removesuffix(UNSEEN)
    suffix = "npz" if base == "wnn" else "npy"
    out = given.work / f"{base}-{seed}{'-thinned' if thinned else ''}.{suffix}"
    if not (out.exists() and out.with_suffix(".json").exists()):
        data = given.work / "thinned" / "train.h5mu" if thinned else given.data
        python = given.peers_python if base in PEERS else sys.executable
        options = ["--threads", given.threads]
        if base == "wnn" and given.drop and not thinned:
            options += ["--graph-without", given.labels, *given.drop]
        if base == "reference":
            options += ["--reference", given.reference]
        print(base, f"seed {seed}", "half of the molecules" if thinned else "", file=sys.stderr, flush=True)
        run(python, HERE / "methods.py", base, seed, data, out, *options, threads=given.threads)
    return out


def forget(given: argparse.Namespace, method: str, seed: int) -> None:
    """Delete the embeddings of a method and seed."""
    for path in given.work.glob(f"{method.removesuffix(UNSEEN)}-{seed}[.-]*"):
        path.unlink()


def score(given: argparse.Namespace, method: str, seed: int, metrics: list[str]) -> list[dict[str, Any]]:
    """Score a method and seed: a row per metric."""
    whole = embedded(given, method, seed, thinned=False)
    options = ["--labels", given.labels, "--seed", seed, "--metrics", *metrics]
    options += ["--drop", *given.drop] if given.drop else []
    options += ["--tools", given.tools] if given.tools else []
    options += ["--held-out"] if method.endswith(UNSEEN) else []
    if given.gain_seeds is None or seed in given.gain_seeds:
        options += ["--half", embedded(given, method, seed, thinned=True)]
    files = [whole, given.data, given.work / "thinned"]
    answer = run(given.peers_python, HERE / "scoring.py", "score", *files, *options, threads=given.threads)
    cost = json.loads(whole.with_suffix(".json").read_text())
    settings = cost.pop("settings")
    settings = json.dumps(settings) if settings else ""
    return [
        {"method": method, "seed": seed, "settings": settings, **cost, **row}
        for row in json.loads(answer.splitlines()[-1])
    ]


def fill(given: argparse.Namespace) -> None:
    """Compute missing rows, saving after each; other runs may fill the same CSV at the same time."""
    if given.redo:
        asked = [(method, seed) for method in given.methods for seed in given.seeds]
        kept = [r for r in read_rows(given.out) if (r["method"], int(r["seed"])) not in asked]
        write_rows(given.out, kept)
        for method, seed in asked:
            forget(given, method, seed)
    given.work.mkdir(parents=True, exist_ok=True)
    halves = given.work / "thinned"
    if not (halves / "train.h5mu").exists():
        run(sys.executable, HERE / "scoring.py", "split", given.data, halves, threads=given.threads)
    for seed in given.seeds:
        for method in given.methods:
            there = {key(r) for r in read_rows(given.out)}
            metrics = [m for m in METRICS.get(method, ["euclidean"]) if (method, seed, m) not in there]
            if metrics:
                new = score(given, method, seed, metrics)
                old = [r for r in read_rows(given.out) if key(r) not in {key(n) for n in new}]
                write_rows(given.out, old + new)


def key(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["method"], int(row["seed"]), row["metric"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    order = list(TITLES)
    rows = sorted(rows, key=lambda r: (order.index(r["method"]), int(r["seed"]), r["metric"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)
    os.replace(temporary, path)


# The table


def table(rows: list[dict[str, Any]]) -> str:
    """Format rows as a Markdown table: mean ± standard deviation over seeds, of the metric with the best mean NMI."""
    named = ["method", "neighbours", "ARI", "NMI", "silhouette", "kNN"]
    head = [*named, "gain RNA", "gain ATAC", "CPU seconds", "peak MB"]
    lines = [head, ["---"] * 2 + ["---:"] * len(SCORES)]
    for method, title in TITLES.items():
        of_method = [r for r in rows if r["method"] == method]
        metrics = sorted({r["metric"] for r in of_method}, reverse=True)
        if metrics:
            groups = [[r for r in of_method if r["metric"] == metric] for metric in metrics]
            best = max(groups, key=lambda group: statistics.mean(float(r["nmi"]) for r in group))
            shown = SCORES[:-2] if method in COST_ABOVE else SCORES
            cells = [mean_and_spread(s, [r[s] for r in best]) if s in shown else "" for s in SCORES]
            lines.append([title, best[0]["metric"], *cells])
    return markdown(lines)


def mean_and_spread(score: str, values: Sequence[str]) -> str:
    numbers = [float(v) for v in values if v != ""]
    if not numbers:
        return ""
    mean = statistics.mean(numbers)
    if score in ("cpu_seconds", "peak_mb"):
        return f"{mean:,.0f}"
    digits = 4 if score.startswith("gain") else 3
    spread = f" ± {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--labels", default="cell_type", help="obs column of cell types")
    parser.add_argument(
        "--drop", nargs="+", default=[], help="labels of cells left out of the scores by labels"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=TITLES,
        metavar="METHOD",
        help=f"by default all of: {', '.join(TITLES)}",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--gain-seeds",
        nargs="+",
        type=int,
        help="seeds with a score by unseen molecules, a second fit; by default all",
    )
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    parser.add_argument("--work", type=Path, help="folder of embeddings; by default work/NAME beside OUT.csv")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--tools", type=Path, default=TOOLS if TOOLS.is_dir() else None, help="folder with score.py"
    )
    parser.add_argument(
        "--no-tools", dest="tools", action="store_const", const=None, help="use sailerx.metrics"
    )
    parser.add_argument(
        "--peers-python", default=sys.executable, help="Python that has requirements-peers.txt"
    )
    parser.add_argument(
        "--reference", type=Path, metavar="DIR", help="checkout of the published implementation"
    )
    parser.add_argument("--redo", action="store_true", help="compute rows that are there already")
    return parser


def main() -> None:
    parser = make_parser()
    given = parse(parser, lambda path: table(read_rows(path)))
    if not (given.data and given.out):
        parser.error("DATA.h5mu and --out are needed, or --table")
    given.methods = given.methods or [m for m in TITLES if m != "reference" or given.reference]
    if "reference" in given.methods and not given.reference:
        parser.error("method reference needs --reference")
    given.work = given.work or given.out.parent / "work" / given.out.stem
    fill(given)


if __name__ == "__main__":
    main()
