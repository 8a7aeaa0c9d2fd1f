"""Time, memory and values of motif activity beside pychromVAR, and what planted motifs tell of counts and imputed accessibility.

    python benchmarks/motifs.py --out benchmarks/results/motifs.csv [--peers-python PYTHON] [--sizes 10000x130000x1000 ...]
    python benchmarks/motifs.py --truth --out benchmarks/results/motifs-truth.csv
    python benchmarks/motifs.py --table benchmarks/results/motifs.csv --into benchmarks/README.md

PYTHON is that of an environment with pychromvar 0.0.4 (`pip install pychromvar`); it gets the same counts, motifs and background
peaks. Each method runs in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pages
import scipy.sparse as sp
from cost import peak_mb

SIZES = ("2000x25000x500", "10000x130000x1000")
#: expected share of peaks with a motif, and of peaks that are open in a cell: those of JASPAR at p = 5e-5 in peaks of 500 bases, and
#: of 10x data
MOTIF_SHARE, OPEN_SHARE = 0.05, 0.04
#: pychromVAR holds cells × peaks and background × cells × motifs as dense matrices
LARGEST_DENSE_GB = 12.0
FIELDS = (
    "method",
    "cells",
    "peaks",
    "motifs",
    "open_peaks",
    "threads",
    "seconds",
    "cpu_seconds",
    "peak_mb",
    "largest_difference",
)
TRUTH_FIELDS = ("cell_type", "cells", "motif", "accessibility", "auroc", "rank", "difference", "motifs")


def draw(folder: Path, n_cells: int, n_peaks: int, n_motifs: int) -> None:
    """Write counts (cells × peaks), motifs (peaks × motifs) and 50 background peaks per peak."""
    rng = np.random.default_rng(0)
    level = np.exp(rng.normal(0, 1, n_peaks))
    share, cells = np.cumsum(level / level.sum()), []
    for _ in range(n_cells):
        n = rng.poisson(OPEN_SHARE * n_peaks * rng.lognormal(-0.1, 0.45))
        cells.append(np.unique(np.searchsorted(share, rng.random(max(n, 1)))).clip(max=n_peaks - 1))
    indptr = np.concatenate([[0], np.cumsum([len(c) for c in cells])])
    x = sp.csr_matrix((np.ones(indptr[-1], np.float32), np.concatenate(cells), indptr), (n_cells, n_peaks))
    hits = sp.random(n_peaks, n_motifs, MOTIF_SHARE, "csr", np.float32, rng)
    hits.data[:] = 1
    background = permutations(rng, np.asarray(x.sum(axis=0)).ravel(), 50)
    sp.save_npz(folder / "x.npz", x, compressed=False)
    sp.save_npz(folder / "hits.npz", hits, compressed=False)
    np.savez(folder / "rest.npz", background=background)


def permutations(rng: np.random.Generator, total: np.ndarray, n: int) -> np.ndarray:
    """Draw n permutations of the peaks among the 200 of like accessibility.

    pychromVAR permutes the motifs of peaks, chromVAR and sailerx take the counts of each peak's background: given a permutation
    and its inverse, that is the same.
    """
    order, drawn = np.argsort(total), np.empty((n, len(total)), np.int32)
    for row in drawn:
        for start in range(0, len(total), 200):
            own = order[start : start + 200]
            row[own] = rng.permutation(own)
    return drawn


def run_sailerx(folder: Path, threads: int) -> dict[str, Any]:
    from sailerx.regulators.deviations import Totals, deviations

    x, hits, rest = (
        sp.load_npz(folder / "x.npz"),
        sp.load_npz(folder / "hits.npz"),
        np.load(folder / "rest.npz"),
    )
    few = sp.csr_matrix(np.ones((64, 100), np.float32))  # compile first
    deviations(lambda: iter([few]), Totals.of(lambda: iter([few])), hits[:100], np.zeros((2, 100), np.int32))
    start, cpu = time.perf_counter(), time.process_time()
    _, z = deviations(
        lambda: iter([x]), Totals.of(lambda: iter([x])), hits, rest["background"], n_threads=threads
    )
    cost = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": peak_mb(),
    }
    np.save(folder / "sailerx.npy", z)
    return cost


PEER = """
import json, resource, sys, time, warnings
import numpy as np, scipy.sparse as sp
warnings.simplefilter("ignore")
import anndata
from anndata import AnnData
import pychromvar
module = sys.modules["pychromvar.compute_deviations"]
folder = sys.argv[1]
x, hits, rest = sp.load_npz(folder + "/x.npz"), sp.load_npz(folder + "/hits.npz"), np.load(folder + "/rest.npz")
class WithoutDtype(AnnData):  # newer anndata has no dtype
    def __init__(self, values, dtype=None):
        super().__init__(values)
module.AnnData = WithoutDtype
data = WithoutDtype(x)
data.varm["bg_peaks"] = np.argsort(rest["background"], axis=1).T.copy()
data.varm["motif_match"] = hits.toarray().astype(np.uint8)
data.uns["motif_name"] = [str(i) for i in range(hits.shape[1])]
start, cpu = time.perf_counter(), time.process_time()
z = module.compute_deviations(data, n_jobs=1)
cost = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
line = next(l for l in open("/proc/self/status") if l.startswith("VmHWM"))
cost["peak_mb"] = int(line.split()[1]) / 1024
np.save(folder + "/peer.npy", np.asarray(z.X))
print(json.dumps(cost))
"""


def measure(size: str, threads: int, peers: str | None) -> list[dict[str, Any]]:
    """Rows of one size: sailerx, and pychromVAR if its dense matrices fit."""
    n_cells, n_peaks, n_motifs = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, n_cells, n_peaks, n_motifs)
        about = {
            "cells": n_cells,
            "peaks": n_peaks,
            "motifs": n_motifs,
            "open_peaks": sp.load_npz(folder / "x.npz").nnz,
        }
        command = [sys.executable, __file__, "--run", str(folder), "--threads", str(threads)]
        rows = [about | {"method": "sailerx", "threads": threads} | _answer(command)]
        dense_gb = 4e-9 * (2 * n_cells * n_peaks + 50 * n_cells * n_motifs)
        if peers and dense_gb < LARGEST_DENSE_GB:
            rows.append(
                about
                | {"method": "pychromvar", "threads": threads}
                | _answer([peers, "-c", PEER, str(folder)])
            )
            # pychromVAR divides by the standard deviation of the 50, sailerx (as chromVAR) by that of a sample
            ours, theirs = np.load(folder / "sailerx.npy"), np.load(folder / "peer.npy") * np.sqrt(49 / 50)
            rows[-1]["largest_difference"] = float(np.abs(ours - theirs).max())
    return rows


def _answer(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[:3]} has failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def truth(out: Path, sizes: dict[str, int], max_epochs: int | None, every: int) -> None:
    """Rank and AUROC of the motif planted in the peaks of each type, among JASPAR's, by counts and by imputed accessibility."""
    import sailerx
    from sailerx import motifs

    with tempfile.TemporaryDirectory() as folder:
        genome = f"{folder}/genome.fa"
        mdata = sailerx.simulate(**sizes, seed=0, genome=genome)
        planted = list(mdata["atac"].uns["truth"]["motif"])
        known = [m for i, m in enumerate(motifs.jaspar()) if i % every == 0 or m.id in planted]
        matches = motifs.scan(mdata, genome, known, progress="none")
    model = sailerx.fit(mdata, batch_key="batch", seed=0, progress="none", max_epochs=max_epochs)
    found = {
        "counts": motifs.activity(mdata, matches, progress="none"),
        "imputed": model.motif_activity(mdata, matches, progress="none"),
    }
    rows = []
    for kind, own in zip(mdata.obs["cell_type"].cat.categories, planted, strict=True):
        for name, activity in found.items():
            table = motifs.differential(activity, "cell_type", kind).sort_values(
                "difference", ascending=False
            )
            rank = list(table.index).index(own) + 1
            row = [kind, int((mdata.obs["cell_type"] == kind).sum()), table.loc[own, "name"], name]
            rows.append(
                [
                    *row,
                    f"{table.loc[own, 'auroc']:.4f}",
                    rank,
                    f"{table.loc[own, 'difference']:.3f}",
                    len(table),
                ]
            )
    write(out, TRUTH_FIELDS, [dict(zip(TRUTH_FIELDS, row, strict=True)) for row in rows])


def write(path: Path, fields: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def table(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return truth_table(rows) if "auroc" in rows[0] else cost_table(rows)


def cost_table(rows: list[dict[str, str]]) -> str:
    lines = [
        [
            "method",
            "cells × peaks × motifs",
            "open peaks per cell",
            "threads",
            "seconds",
            "CPU seconds",
            "peak MB",
            "largest difference of z",
        ]
    ]
    lines.append(["---", "---", *["---:"] * 6])
    for row in rows:
        size = " × ".join(f"{int(row[name]):,}" for name in ("cells", "peaks", "motifs"))
        numbers = [f"{float(row[name]):,.0f}" for name in ("seconds", "cpu_seconds", "peak_mb")]
        name = "**sailerx**" if row["method"] == "sailerx" else "pychromVAR 0.0.4"
        difference = f"{float(row['largest_difference']):.1g}" if row["largest_difference"] else ""
        open_peaks = f"{int(row['open_peaks']) / int(row['cells']):,.0f}"
        lines.append([name, size, open_peaks, row["threads"], *numbers, difference])
    return pages.markdown(lines)


def truth_table(rows: list[dict[str, str]]) -> str:
    lines = [
        [
            "cell type",
            "cells",
            "planted motif",
            "AUROC, counts",
            "AUROC, imputed",
            f"rank of {rows[0]['motifs']}, counts",
            "rank, imputed",
            "difference of z, counts",
            "difference, imputed",
        ]
    ]
    lines.append(["---", "---:", "---", *["---:"] * 6])
    for counts, imputed in zip(rows[::2], rows[1::2], strict=True):
        pairs = [f"{float(row['auroc']):.3f}" for row in (counts, imputed)]
        pairs += [row["rank"] for row in (counts, imputed)]
        pairs += [f"{float(row['difference']):.2f}" for row in (counts, imputed)]
        lines.append([counts["cell_type"], counts["cells"], counts["motif"], *pairs])
    return pages.markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="CELLSxPEAKSxMOTIFS")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers-python")
    parser.add_argument("--truth", action="store_true")
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--peaks", type=int, default=20_000)
    parser.add_argument("--types", type=int, default=12)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--every", type=int, default=1, help="with --truth, use every n-th motif of JASPAR")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    given = pages.parse(parser, table)
    if given.run:
        print(json.dumps(run_sailerx(given.run, given.threads)))
    elif given.truth:
        sizes = {"n_cells": given.cells, "n_peaks": given.peaks, "n_types": given.types}
        truth(given.out, sizes, given.epochs, given.every)
    else:
        write(
            given.out,
            FIELDS,
            [row for size in given.sizes for row in measure(size, given.threads, given.peers_python)],
        )


if __name__ == "__main__":
    main()
