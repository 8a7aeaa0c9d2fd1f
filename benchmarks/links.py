"""Time of peak-to-gene links, and what they find of the simulated truth.

python benchmarks/links.py --out benchmarks/results/links.csv
python benchmarks/links.py --table benchmarks/results/links.csv --into benchmarks/README.md
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np
import pages
from sklearn.metrics import roc_auc_score

#: nominal shares of false links
NOMINAL = (0.01, 0.05, 0.1)
#: error rates of single pairs
ERRORS = (0.05, 1e-3, 1e-4)
FIELDS = (
    "cells",
    "types",
    "genes",
    "peaks",
    "distance",
    "pairs",
    "true",
    "cpu_seconds",
    "auroc",
    *(f"others_below_{p:g}" for p in ERRORS),
    *(f"{what}_{q:g}" for q in NOMINAL for what in ("linked", "linked_true")),
)


def measure(sizes: list[int], types: int, distance: int, max_epochs: int | None) -> dict[str, object]:
    import sailerx

    n_cells, n_genes, n_peaks, n_links = sizes
    mdata = sailerx.simulate(
        n_cells, n_genes, n_peaks, types, seed=0, n_links=n_links, rna_depth=2.0 * n_genes, atac_depth=0.06 * n_peaks
    )  # fmt: skip
    model = sailerx.fit(mdata, batch_key="batch", progress="none", max_epochs=max_epochs)
    genes = mdata["rna"].var
    start = time.process_time()
    table = model.links(mdata, genes, distance=distance)
    seconds = time.process_time() - start
    table = table[table["z"].notna()]
    true = genes["linked_peak"].astype(str)[table["gene"]].to_numpy() == table["peak"].to_numpy()
    p, fdr = table["p_value"].to_numpy(), table["fdr"].to_numpy()
    row = {"cells": n_cells, "types": types, "genes": n_genes, "peaks": n_peaks, "distance": distance}
    row |= {"pairs": len(table), "true": true.sum(), "cpu_seconds": f"{seconds:.2f}"}
    row |= {"auroc": f"{roc_auc_score(true, table['z']):.4f}"}
    row |= {f"others_below_{q:g}": f"{np.mean(p[~true] < q):.3g}" for q in ERRORS}
    for q in NOMINAL:
        row |= {f"linked_{q:g}": (fdr <= q).sum(), f"linked_true_{q:g}": ((fdr <= q) & true).sum()}
    return row


def table(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ["cells", "types", "genes", "peaks", "within, kb", "pairs", "true", "CPU seconds", "AUROC"]
    names += [f"others with p < {p:g}" for p in ERRORS]
    names += [f"linked at {q:.0%}, of which false" for q in NOMINAL]
    lines = [names, ["---:"] * len(names)]
    for row in rows:
        line = [f"{int(row[name]):,}" for name in ("cells", "types", "genes", "peaks")]
        line += [f"{int(row['distance']) / 1000:.0f}", f"{int(row['pairs']):,}", row["true"]]
        line += [f"{float(row['cpu_seconds']):.0f}", f"{float(row['auroc']):.3f}"]
        line += [f"{float(row[f'others_below_{p:g}']):.2g}" for p in ERRORS]
        lines.append(
            line + [_called(int(row[f"linked_{q:g}"]), int(row[f"linked_true_{q:g}"])) for q in NOMINAL]
        )
    return pages.markdown(lines)


def _called(linked: int, true: int) -> str:
    return f"{linked}, {(linked - true) / linked:.1%}" if linked else "0"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs=4,
        default=[1500, 1000, 8000, 600],
        metavar="N",
        help="cells, genes, peaks, links",
    )
    parser.add_argument("--types", type=int, nargs="+", default=[12, 60], help="numbers of cell types")
    parser.add_argument(
        "--distances", type=int, nargs="+", default=[200_000, 30_000], help="for each of these"
    )
    parser.add_argument("--epochs", type=int)
    given = pages.parse(parser, table)
    rows = [
        measure(given.sizes, *one, given.epochs) for one in zip(given.types, given.distances, strict=True)
    ]
    temporary = given.out.with_name(f".{given.out.name}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, given.out)


if __name__ == "__main__":
    main()
