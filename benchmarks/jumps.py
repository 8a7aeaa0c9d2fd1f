"""Measure how far any term of the loss rises above its running median, over many seeds: a jump is a fault of the run.

    python benchmarks/jumps.py DATA.h5mu ... --simulated --seeds 20 --out benchmarks/results/jumps.csv
    python benchmarks/jumps.py --table benchmarks/results/jumps.csv --into benchmarks/README.md

README.md describes the columns.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from pages import markdown, parse

import sailerx
from sailerx.training.jumps import FACTOR, rises

SIZE = {"n_cells": 1000, "n_genes": 1000, "n_peaks": 8000, "n_types": 6}


def with_outliers(seed: int) -> mudata.MuData:
    """Simulate cells of which ten have open peaks of many others as well: depth 50 times the median, or all peaks."""
    found = sailerx.simulate(**SIZE, seed=seed)
    x = sp.lil_matrix(found["atac"].X)
    rng = np.random.default_rng(seed)
    n_open = min(50 * int(np.median(np.diff(found["atac"].X.indptr))), x.shape[1])
    for cell in rng.choice(x.shape[0], 10, replace=False):
        x[cell, rng.choice(x.shape[1], n_open, replace=False)] = 1
    found["atac"].X = sp.csr_matrix(x, dtype=np.float32)
    return found


SIMULATED: dict[str, Callable[[int], mudata.MuData]] = {
    "simulated, shallow": lambda seed: sailerx.simulate(**SIZE, seed=seed),
    "simulated like 10x": lambda seed: sailerx.simulate(**SIZE, preset="10x", seed=seed),
    "simulated, strong batches": lambda seed: sailerx.simulate(
        **SIZE, atac_batch=0.6, rna_batch=0.3, seed=seed
    ),
    "simulated, 10 outliers of 50 × depth": with_outliers,
}


def measured(name: str, mdata: mudata.MuData, seed: int) -> dict[str, object]:
    """Train the default preset; the largest rise of each term."""
    batch = "batch" if name.startswith("simulated") else None
    model = sailerx.fit(mdata, batch_key=batch, joint_embedding=False, seed=seed, progress="none")
    highest = rises(model.history, model.settings).max()
    return {"data": name, "seed": seed, "epochs": len(model.history)} | {
        str(k): float(v) for k, v in highest.items()
    }


def table(rows: pd.DataFrame) -> str:
    """Format the median and the largest rise over seeds of each term."""
    terms = [name for name in rows if name not in ("data", "seed", "epochs")]
    lines = [
        ["data", "runs", "epochs", *terms, f"runs above {FACTOR:g}"],
        ["---", *["---:"] * (len(terms) + 3)],
    ]
    for name, of in rows.groupby("data", sort=False):
        shown = [f"{of[term].median():.2f}, {of[term].max():.2f}" for term in terms]
        above = int((of[terms] > FACTOR).any(axis=1).sum())
        lines.append([str(name), str(len(of)), f"{of['epochs'].median():.0f}", *shown, str(above)])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--simulated", action="store_true", help="also four kinds of simulated cells")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--out", type=Path, metavar="OUT.csv", help="rows that are there already are kept")
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    warnings.filterwarnings("ignore")
    made: dict[str, Callable[[int], mudata.MuData]] = {
        path.stem: lambda seed, path=path: sailerx.read(path) for path in given.data
    }
    made |= SIMULATED if given.simulated else {}
    rows = pd.read_csv(given.out).to_dict("records") if given.out.exists() else []
    done = {(row["data"], row["seed"]) for row in rows}
    for seed in range(given.seeds):
        for name, make in made.items():
            if (name, seed) not in done:
                rows.append(measured(name, make(seed), seed))
                pd.DataFrame(rows).to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    mudata.set_options(pull_on_update=False)
    main()
