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

FIELDS = (
    "cells",
    "genes",
    "peaks",
    "pairs",
    "cpu_seconds",
    "auroc",
    "linked",
    "linked_true",
    "true",
    "others_below_5_percent",
)


def measure(
    n_cells: int, n_genes: int, n_peaks: int, n_links: int, max_epochs: int | None
) -> dict[str, object]:
    import sailerx

    mdata = sailerx.simulate(
        n_cells, n_genes, n_peaks, seed=0, n_links=n_links, rna_depth=2.0 * n_genes, atac_depth=0.06 * n_peaks
    )
    model = sailerx.fit(mdata, batch_key="batch", progress="none", max_epochs=max_epochs)
    genes = mdata["rna"].var
    start = time.process_time()
    table = model.links(mdata, genes)
    seconds = time.process_time() - start
    table = table[table["z"].notna()]
    true = genes["linked_peak"].astype(str)[table["gene"]].to_numpy() == table["peak"].to_numpy()
    linked = table["linked"].to_numpy()
    values = (
        n_cells,
        n_genes,
        n_peaks,
        len(table),
        f"{seconds:.2f}",
        f"{roc_auc_score(true, table['z']):.4f}",
    )
    counts = (
        linked.sum(),
        (linked & true).sum(),
        true.sum(),
        f"{np.mean(table['p_value'][~true] < 0.05):.4f}",
    )
    return dict(zip(FIELDS, (*values, *counts), strict=True))


def table(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = (
        "cells",
        "genes",
        "peaks",
        "pairs",
        "CPU seconds",
        "AUROC",
        "linked",
        "of which true",
        "true",
        "others with p < 0.05",
    )
    lines = [list(names), ["---:"] * len(names)]
    for row in rows:
        line = [f"{int(row[name]):,}" for name in FIELDS[:4]] + [
            f"{float(row['cpu_seconds']):.0f}",
            f"{float(row['auroc']):.3f}",
        ]
        line += [f"{int(row[name]):,}" for name in FIELDS[6:9]] + [
            f"{float(row['others_below_5_percent']):.1%}"
        ]
        lines.append(line)
    return pages.markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs=4,
        default=[2000, 2000, 20_000, 600],
        metavar="N",
        help="cells, genes, peaks, links",
    )
    parser.add_argument("--epochs", type=int)
    given = pages.parse(parser, table)
    row = measure(*given.sizes, given.epochs)
    temporary = given.out.with_name(f".{given.out.name}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerow(row)
    os.replace(temporary, given.out)


if __name__ == "__main__":
    main()
