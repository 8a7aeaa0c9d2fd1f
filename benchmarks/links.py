"""Time of peak-to-gene links, and what they find of the simulated truth.

python benchmarks/links.py --out benchmarks/results/links.csv
python benchmarks/links.py --calls --out benchmarks/results/links-calls.csv
python benchmarks/links.py --table benchmarks/results/links.csv --into benchmarks/README.md

--calls: false calls where tails are heavy, on drawn metacells whose links are strong enough to be called.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pandas as pd
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

#: nominal shares of false links
NOMINAL = (0.01, 0.05, 0.1)
#: kinds of p-values
KINDS = {
    "empirical": "**by pairs on different chromosomes**",
    "normal": "by Student's distribution, as before",
}
#: error rates of single pairs
ERRORS = (0.05, 1e-3, 1e-4)


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


def few_patterns(
    seed: int, n_metacells: int = 150, n_types: int = 4
) -> tuple[pd.DataFrame, np.ndarray, tuple[Any, ...]]:
    """Draw pairs and data of metacells that fall into few types, so that peaks fall into few patterns and z has heavy tails.

    A linked gene follows what its peak does within types; all other genes share types with peaks alone.

    Returns
    -------
    Pairs (``gene``, ``peak``), which of them are links, and the other arguments of `link_statistics`.
    """
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, n_types, n_metacells)
    of_peaks, of_genes = rng.normal(size=(n_types, 1500)), rng.normal(size=(n_types, 300))
    of_peaks *= rng.random(1500) < 0.2
    x = 5 + of_peaks[kind] + 0.3 * rng.standard_t(4, (n_metacells, 1500))
    y = of_genes[kind] + rng.normal(size=(n_metacells, 300))
    chrom = np.repeat(["a", "b", "c", "d", "e"], 300)
    gene = np.repeat(np.arange(300), 20)
    peak = (gene % 5) * 300 + rng.integers(0, 300, len(gene))
    pairs = pd.DataFrame({"gene": gene, "peak": peak}).drop_duplicates(ignore_index=True)
    true = (~pairs["gene"].duplicated() & (pairs["gene"] % 3 == 0)).to_numpy()
    linked = pairs[true]
    within = x[:, linked["peak"]] - of_peaks[kind][:, linked["peak"]]
    y[:, linked["gene"]] = of_genes[kind][:, linked["gene"]] + 3 * within
    y[:, linked["gene"]] += 0.5 * rng.normal(size=(n_metacells, len(linked)))
    return pairs, true, (y, x.astype(np.float32), chrom, None)


def calls(n_draws: int) -> list[dict[str, object]]:
    """Count calls and false ones over draws of `few_patterns`, by both kinds of p-values."""
    from sailerx.regulators.links import link_statistics
    from sailerx.regulators.statistics import false_discovery_rate

    counts = {(name, q): np.zeros(2, int) for name in KINDS for q in NOMINAL}
    n_true = 0
    for seed in range(n_draws):
        pairs, true, data = few_patterns(seed)
        found = link_statistics(pairs, *data, seed=seed)
        normal = 2 * student.sf(found["z"].abs(), 199)
        fdrs = {"empirical": found["fdr"].to_numpy(), "normal": false_discovery_rate(normal)}
        for (name, q), total in counts.items():
            total += [(fdrs[name] <= q).sum(), ((fdrs[name] <= q) & true).sum()]
        n_true += int(true.sum())
    return [
        {"p_values": name, "nominal": q, "draws": n_draws, "true": n_true, "linked": total[0], "linked_true": total[1]}
        for (name, q), total in counts.items()
    ]  # fmt: skip


def calls_table(rows: list[dict[str, str]]) -> str:
    lines = [["p-values", *(f"linked at {q:.0%}, of which false" for q in NOMINAL), "true"]]
    lines.append(["---", *["---:"] * (len(NOMINAL) + 1)])
    for name, title in KINDS.items():
        own = [row for row in rows if row["p_values"] == name]
        lines.append(
            [title, *(_called(int(r["linked"]), int(r["linked_true"])) for r in own), own[0]["true"]]
        )
    return pages.markdown(lines)


def table(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if "p_values" in rows[0]:
        return calls_table(rows)
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
    parser.add_argument("--calls", action="store_true", help="count false calls on drawn metacells")
    parser.add_argument("--draws", type=int, default=20)
    given = pages.parse(parser, table)
    pairs = zip(given.types, given.distances, strict=True)
    rows = calls(given.draws) if given.calls else [measure(given.sizes, *one, given.epochs) for one in pairs]
    temporary = given.out.with_name(f".{given.out.name}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, given.out)


if __name__ == "__main__":
    main()
