"""Choose the settings of the network: change one at a time, and score held-out molecules and leakage of z, without labels.

    python benchmarks/settings.py DATA.h5mu --out benchmarks/results/settings.csv
    python benchmarks/settings.py --table benchmarks/results/settings.csv --into benchmarks/README.md

Gain: the molecules of DATA are split into two halves, and a model is trained on one half of four in five cells; the neighbours of a
cell in the embedding predict its molecules of the other half (nats per molecule above the overall shares; RNA and ATAC), for the
training cells and, "new", among the other cells. Leakage: on simulated data with a batch effect and depth confounded with cell type,
how well the embedding predicts depth (R²) and batch (balanced accuracy above chance) within a type. Labels are not used to choose.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from methods import held_out
from pages import markdown, parse

#: title → options that differ from the default preset
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no cell thinned": {"thinned_cells": 0.0},
    "half of the cells thinned": {"thinned_cells": 0.5},
    "all cells thinned": {"thinned_cells": 1.0},
    "reference: PCA as it is": {"denoise_reference": False},
    "gamma = 2e3": {"gamma": 2e3},
    "gamma = 2e5": {"gamma": 2e5},
    "lambda = 0": {"lambda_": 0.0},
    "lambda = 10": {"lambda_": 10.0},
    "w from 0, not clipped (the paper's)": {"weight_floor": 0.0, "weight_clip": 0.0},
    "w = 1": {"weight_floor": 1.0},
    "encoder sees x, not x / depth": {"input_share": False},
    "encoder starts from LSI": {"start_from_lsi": True},
    "decoder starts from chance": {"start_from_frequency": False},
    "50 epochs": {"max_epochs": 50},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "mini-batch 200": {"minibatch_size": 200},
    "KL annealed in cycles of 50 epochs": {"kl_cycle_epochs": 50.0},
    "all peaks in every step": {"peak_share": 1.0},
}
GAINS = ["RNA gain", "ATAC gain", "RNA gain, new", "ATAC gain, new"]
COLUMNS = ["setting", *GAINS, "depth leakage", "batch leakage", "CPU seconds"]
DIGITS = dict.fromkeys(GAINS, 4) | {"depth leakage": 2, "batch leakage": 2, "CPU seconds": 0}


def gains(embedding: np.ndarray, halves: dict[str, Any]) -> list[float]:
    """Compute the gains of RNA and ATAC, first of the training cells, then of the other cells."""
    from sailerx.metrics import predictive_gain

    new = held_out(len(embedding), 0)
    return [
        predictive_gain(embedding[cells], *(half[cells] for half in halves[name]))
        for cells in (~new, new)
        for name in ("rna", "atac")
    ]


def split_molecules(path: str) -> tuple[Any, dict[str, Any]]:
    """Split the molecules of a file; return the training half as MuData, and modality → counts of (training, held-out) half."""
    import anndata
    import mudata

    import sailerx
    from sailerx.metrics import split_counts

    whole = sailerx.read(path)
    halves = {name: split_counts(whole[name].X, 0) for name in ("rna", "atac")}
    keep = np.all([np.asarray(train.sum(axis=1)).ravel() > 0 for train, _ in halves.values()], axis=0)
    mods = {
        name: anndata.AnnData(halves[name][0][keep], obs=whole[name].obs[keep], var=whole[name].var)
        for name in halves
    }
    with mudata.set_options(pull_on_update=False):
        return mudata.MuData(mods), {
            name: tuple(half[keep] for half in both) for name, both in halves.items()
        }


def leakage(embedding: np.ndarray, mdata: Any) -> tuple[float, float]:
    """Compute (depth leakage, batch leakage) of an embedding of simulated cells."""
    from sailerx import metrics

    obs = mdata["atac"].obs
    depth = np.diff(mdata["atac"].X.indptr)
    found = metrics.score(embedding, obs["cell_type"], batch=obs["batch"], depth=depth)
    return found["depth_leakage"], found["batch_leakage"]


def row(name: str, data: Any, halves: dict[str, Any], simulated: Any) -> dict[str, Any]:
    """Train one of `VARIANTS` on both data sets, and compute its row of the CSV."""
    import sailerx

    known = data[~held_out(data.n_obs, 0)].copy()
    start = time.process_time()
    z = sailerx.fit(known, joint_embedding=False, progress="none", **VARIANTS[name]).embed(data)
    seconds = time.process_time() - start
    model = sailerx.fit(
        simulated, batch_key="batch", joint_embedding=False, progress="none", **VARIANTS[name]
    )
    leaks = leakage(model.embed(simulated), simulated)
    return dict(zip(COLUMNS, [name, *gains(z, halves), *leaks, seconds], strict=True))


def references(data: Any, halves: dict[str, Any], simulated: Any) -> list[dict[str, Any]]:
    """Compute the rows of RNA PCA and ATAC LSI, for comparison."""
    from sklearn.preprocessing import normalize

    from sailerx.data.lsi import lsi
    from sailerx.data.rna_pca import rna_pca

    makers = {
        "RNA PCA (the reference)": lambda m: normalize(rna_pca(m["rna"].X)),
        "ATAC LSI": lambda m: lsi(m["atac"].X),
    }
    return [
        dict(
            zip(
                COLUMNS,
                [name, *gains(make(data), halves), *leakage(make(simulated), simulated), float("nan")],
                strict=True,
            )
        )
        for name, make in makers.items()
    ]


def table(path: Path) -> str:
    """Format the CSV as a Markdown table, one line per setting."""
    rows = pd.read_csv(path)
    text = {c: rows[c].map(lambda v, d=d: "" if np.isnan(v) else f"{v:.{d}f}") for c, d in DIGITS.items()}
    rows = rows.assign(**text)[COLUMNS]
    lines = [COLUMNS, ["---", *["---:"] * len(DIGITS)], *rows.to_numpy()]
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", metavar="DATA.h5mu")
    parser.add_argument("--out", metavar="OUT.csv")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parse(parser, table)
    import torch

    import sailerx

    torch.set_num_threads(arguments.threads)
    data, halves = split_molecules(arguments.data)
    simulated = sailerx.simulate(seed=0)
    out = Path(arguments.out)
    rows = pd.read_csv(out).to_dict("records") if out.exists() else references(data, halves, simulated)
    for name in arguments.only:
        if name not in [done["setting"] for done in rows]:
            rows.append(row(name, data, halves, simulated))
            out.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows)[COLUMNS].to_csv(out, index=False)
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
