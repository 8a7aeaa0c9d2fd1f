"""Compare runs with and without the decoder's prior, stopped by held-out cells or not, by open peaks that were removed.

    python benchmarks/stopping.py --files A.h5mu B.h5mu --out benchmarks/results/stopping.csv
    python benchmarks/stopping.py --table benchmarks/results/stopping.csv --into benchmarks/README.md

A random quarter of the open peaks is removed. Gain: mean of log(p_ij / p_j) over the removed open peaks j of cell i, in nats; p_ij is
peak j's share of the accessibility that is imputed for cell i, p_j its share of all open peaks that are left. 0 is as good as knowing
only how often each peak is open. No labels are used.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from pages import markdown, parse

REMOVED = 0.25
#: name → options of `sailerx.fit`
RUNS: dict[str, dict[str, Any]] = {
    "no prior": {"decoder_decay": 0.0},
    "no prior, stopped by held-out cells": {"decoder_decay": 0.0, "max_epochs": 250, "held_out_share": 0.1},
    "**default**": {},
    "default, stopped by held-out cells": {"held_out_share": 0.1},
}
KEY = ["data", "cells", "peaks", "run", "seed"]


def divided(whole: mudata.MuData, seed: int) -> tuple[mudata.MuData, sp.csr_matrix]:
    """Remove a quarter of the open peaks: the data that are left, and what was removed; cells without any left are dropped."""
    x = sp.csr_matrix(whole["atac"].X, dtype=np.float32)
    x.data[:] = 1
    removed = x.copy()
    removed.data[np.random.default_rng([seed, 7]).random(x.nnz) >= REMOVED] = 0
    left = sp.csr_matrix(x - removed)
    for part in (left, removed):
        part.eliminate_zeros()
    kept = left.getnnz(axis=1) > 0
    atac = ad.AnnData(left[kept], whole["atac"].obs[kept], whole["atac"].var)
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData({"rna": whole["rna"][kept].copy(), "atac": atac}), removed[kept]


def gain(p: np.ndarray, left: sp.csr_matrix, removed: sp.csr_matrix) -> float:
    """Compute the mean of log(p_ij / p_j) over the removed open peaks; p is imputed accessibility, cells × peaks."""
    share = np.asarray(left.sum(axis=0)).ravel() + 0.5
    share /= share.sum()
    cells, peaks = removed.nonzero()
    of_cell = p[cells, peaks] / p.sum(axis=1, dtype=float)[cells]
    return float(np.log(of_cell / share[peaks]).mean())


def rows_of(path: Path, seed: int, runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Train the runs on one file with one seed, and make their rows of the CSV."""
    import sailerx

    data, removed = divided(sailerx.read(path), seed)
    cells, peaks = removed.shape
    for name in runs:
        begun = time.process_time()
        model = sailerx.fit(data, seed=seed, progress="none", **RUNS[name])
        seconds = time.process_time() - begun
        imputed = model.impute(data, peaks=list(data["atac"].var_names))
        assert imputed is not None
        found = {
            "epochs": len(model.history),
            "gain": gain(imputed.X, data["atac"].X, removed),
            "cpu_seconds": seconds,
        }
        yield {"data": path.stem, "cells": cells, "peaks": peaks, "run": name, "seed": seed, **found}


def table(path: Path) -> str:
    """Format the CSV as a Markdown table: means over seeds, and the standard deviation of the gain."""
    head = ["data", "cells × peaks", "run", "seeds", "epochs", "gain", "CPU seconds"]
    lines = [head, ["---", "---:", "---", "---:", "---:", "---:", "---:"]]
    for (data, cells, peaks, name), of in pd.read_csv(path).groupby(KEY[:4], sort=False):
        spread = f" ± {of['gain'].std():.4f}" if len(of) > 1 else ""
        numbers = [
            f"{of['epochs'].mean():.0f}",
            f"{of['gain'].mean():.4f}{spread}",
            f"{of['cpu_seconds'].mean():.0f}",
        ]
        lines.append([data, f"{cells:,} × {peaks:,}", name, str(len(of)), *numbers])
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", nargs="+", default=[], type=Path, metavar="DATA.h5mu")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    given = parse(parser, table)
    if not given.out:
        parser.error("--out is needed, or --table")
    for path in given.files:
        for seed in given.seeds:
            for row in rows_of(path, seed, given.runs):
                print(row, flush=True)
                old = pd.read_csv(given.out) if given.out.exists() else pd.DataFrame()
                both = pd.concat([old, pd.DataFrame([row])])
                both.drop_duplicates(KEY, keep="last").to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
