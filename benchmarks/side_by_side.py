"""Compare embeddings of a file of yours: by cell types, and by prediction of molecules that the embedding never saw.

    python benchmarks/side_by_side.py DATA.h5mu --labels cell_type --out compare

The file holds modalities `rna` and `atac` with counts of the same cells. Into the folder go scores.csv, table.md and scores.png.
README.md describes the scores. Beside sailerx: its parts, each alone, and controls.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from hybrid import together
from joint import labelled, learned
from pages import markdown

import sailerx
from sailerx import metrics
from sailerx.data.lsi import lsi
from sailerx.data.rows import unit_rows
from sailerx.joint.coordinates import Sample

NAMES = {"knn": "kNN", "nmi": "NMI", "ari": "ARI", "gain_rna": "gain RNA", "gain_atac": "gain ATAC"}
N_LSI = 29


def embeddings(mdata: mudata.MuData, seed: int, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """Compute all embeddings of paired cells, cells × dimensions."""
    data, joint, _ = learned(mdata, seed, **options)
    linear = unit_rows(lsi(data.x.read(), N_LSI, seed))
    cells = Sample(data.x.read(), data.g, data.c)
    whole_only = replace(joint, coordinates=joint.coordinates.without_local(cells))
    order = np.random.default_rng(seed).permutation(mdata.n_obs)
    shuffled = ad.AnnData(mdata["atac"].X[order], mdata["atac"].obs.copy(), mdata["atac"].var.copy())
    mixed, of_mixed, _ = learned(together(mdata["rna"], shuffled), seed, **options)
    alone = learned(mdata, seed, **(options | {"gamma": 0.0}))[1]
    return {
        "RNA PCA": data.g,
        "ATAC LSI": linear,
        "PCA and LSI side by side": np.concatenate([data.g, linear], axis=1),
        "sailerx": joint.rows(data.x, data.g, data.has_rna),
        "without scores of groups": whole_only.rows(data.x, data.g, data.has_rna),
        "ATAC alone": alone.rows(data.x),
        "ATAC shuffled": of_mixed.rows(mixed.x, mixed.g, mixed.has_rna),
    }


def halved(
    mdata: mudata.MuData, seed: int
) -> tuple[mudata.MuData, dict[str, tuple[sp.csr_matrix, sp.csr_matrix]]]:
    """Split the molecules by a fair coin: the cells with one half, and both halves of each modality."""
    halves = {name: metrics.split_counts(mdata[name].X, seed) for name in ("rna", "atac")}
    seen = np.all([np.asarray(first.sum(axis=1)).ravel() > 0 for first, _ in halves.values()], axis=0)
    kept = {name: (first[seen], second[seen]) for name, (first, second) in halves.items()}
    parts = {
        name: ad.AnnData(first, mdata[name].obs[seen].copy(), mdata[name].var.copy())
        for name, (first, _) in kept.items()
    }
    return together(parts["rna"], parts["atac"]), kept


def compared(
    mdata: mudata.MuData, labels: np.ndarray | None, known: np.ndarray, seed: int, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Score all embeddings with one seed."""
    half, kept = halved(mdata, seed)
    of_half = embeddings(half, seed, options)
    rows = []
    for name, z in embeddings(mdata, seed, options).items():
        row: dict[str, Any] = {"embedding": name, "seed": seed}
        row |= {} if labels is None else labelled(z, labels, known, seed)
        if name in of_half:
            near = min(100, max(half.n_obs // 5, 1))
            row |= {
                f"gain_{kind}": metrics.predictive_gain(of_half[name], *counts, n_neighbors=near)
                for kind, counts in kept.items()
            }
        rows.append(row)
    return rows


def table(rows: pd.DataFrame) -> str:
    """Format means over seeds as a Markdown table."""
    names = [name for name in NAMES if name in rows]
    lines = [["embedding", *(NAMES[name] for name in names)], ["---", *["---:"] * len(names)]]
    for embedding, of in rows.groupby("embedding", sort=False):
        digits = ["" if of[n].isna().all() else f"{of[n].mean():.{4 if 'gain' in n else 3}f}" for n in names]
        lines.append([str(embedding), *digits])
    return markdown(lines)


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw each score as bars, one panel per score, a dot per seed."""
    from matplotlib.figure import Figure

    from sailerx.plot import save

    names = [name for name in NAMES if name in rows]
    order = list(dict.fromkeys(rows["embedding"]))[::-1]
    figure = Figure(figsize=(2.2 + 2.1 * len(names), 0.9 + 0.33 * len(order)), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        mean = rows.groupby("embedding")[name].mean().reindex(order)
        colours = ["#0072B2" if embedding == "sailerx" else "#B3B3B3" for embedding in order]
        axes.barh(order, mean, color=colours, height=0.7)
        axes.plot(rows[name], rows["embedding"], "o", color="black", markersize=3)
        axes.set_title(NAMES[name], fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--labels", help="obs column of cell types; without it only held-out molecules score")
    parser.add_argument("--drop", nargs="+", default=[], help="labels of cells that are not scored")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("compare"), metavar="FOLDER")
    given = parser.parse_args()
    mudata.set_options(pull_on_update=False)
    mdata = sailerx.read(given.data)
    mdata = together(mdata["rna"], mdata["atac"])
    counted = [np.asarray(sp.csr_matrix(mdata[name].X).sum(axis=1)).ravel() > 0 for name in ("rna", "atac")]
    mdata = mdata[np.all(counted, axis=0)].copy()
    labels = None if given.labels is None else mdata["atac"].obs[given.labels].astype(str).to_numpy()
    known = np.ones(mdata.n_obs, bool) if labels is None else ~np.isin(labels, given.drop)
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for seed in given.seeds:
        rows += compared(mdata, labels, known, seed, {})
        found = pd.DataFrame(rows)
        found.to_csv(given.out / "scores.csv", index=False, float_format="%.5g")
    text = table(found)
    (given.out / "table.md").write_text(text + "\n", encoding="utf-8")
    draw(found, given.out / "scores.png")
    print(text)


if __name__ == "__main__":
    main()
