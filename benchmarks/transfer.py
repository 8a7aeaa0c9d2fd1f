"""Measure labels and RNA that are transferred to held-out cells, beside neighbours in LSI and Seurat's ways.

    python benchmarks/transfer.py DATA.h5mu --labels cell_type --drop Mis --library library_batch --held-out 09J 09K 09L \\
        --out benchmarks/results/transfer.csv --bins benchmarks/results/reliability.csv
    python benchmarks/transfer.py --simulated --seeds 2 3 4 --out benchmarks/results/transfer.csv \\
        --bins benchmarks/results/reliability.csv
    python benchmarks/transfer.py --table benchmarks/results/transfer.csv --into benchmarks/README.md
    python benchmarks/transfer.py --table benchmarks/results/reliability.csv --into benchmarks/README.md

The cells of whole libraries (simulated data: of one batch of three) are new: no label of theirs is seen. Known are nine tenths of
the others, drawn by the seed. README.md describes the columns. Seurat's ways need R with Seurat, Signac and sailerx.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from hybrid import together
from pages import markdown, parse
from sklearn.metrics import balanced_accuracy_score

import sailerx
from sailerx.data.lsi import lsi
from sailerx.data.rna_pca import RnaProjection
from sailerx.joint.nearest import nearest_others
from sailerx.joint.prediction import SHRINKAGE
from sailerx.results.predict_rna import SCALE
from sailerx.results.votes import votes_of

METHODS = {
    "lsi": "15 neighbours in ATAC LSI of all cells",
    "seurat": "Seurat `TransferData`, LSI projected",
    "bridge": "Seurat bridge integration",
    "sailerx": "**sailerx**",
    "pca+rna": "15 neighbours in RNA PCA",
    "sailerx+rna": "**sailerx**, with RNA",
}
N_BINS, N_VOTES, N_MEAN = 10, 15, 50
UNKNOWN_BELOW = 0.5


@dataclass(frozen=True)
class Split:
    """Known cells, and new ones with the RNA that is held out."""

    known: mudata.MuData
    new: mudata.MuData
    labels: str

    def label(self, which: str) -> np.ndarray:
        """Labels of the known or of the new cells."""
        found: mudata.MuData = getattr(self, which)
        return found["atac"].obs[self.labels].astype(str).to_numpy()

    def without(self, kind: str) -> Split:
        """Leave out the known cells of a type."""
        kept = self.label("known") != kind
        return Split(some(self.known, kept), self.new, self.labels)


@dataclass(frozen=True)
class Calls:
    """Labels of the new cells, their confidence, and predicted RNA: shares, cells × genes."""

    label: np.ndarray
    confidence: np.ndarray
    #: whether the method calls the cell unknown
    unknown: np.ndarray
    #: None = not asked for
    rna: np.ndarray | None
    seconds: float


def some(mdata: mudata.MuData, cells: np.ndarray) -> mudata.MuData:
    return together(mdata["rna"][cells].copy(), mdata["atac"][cells].copy())


def by_sailerx(split: Split, model: sailerx.Model, seed: int, with_rna: bool, rna_too: bool = True) -> Calls:
    """Transfer labels and, to cells without RNA, RNA."""
    new = split.new if with_rna else split.new["atac"]
    start = time.process_time()
    called = model.transfer_labels(split.known, new, split.labels, seed=seed)
    seconds = time.process_time() - start
    rna = model.predict_rna(split.known, new, seed=seed).X.toarray() if rna_too and not with_rna else None
    return Calls(
        called["best_label"].astype(str).to_numpy(),
        called["confidence"].to_numpy(),
        (called["label"] == "unknown").to_numpy(),
        None if rna is None else np.expm1(rna) / SCALE,
        seconds,
    )


def by_neighbors(split: Split, known: np.ndarray, new: np.ndarray, start: float) -> Calls:
    """Let 15 neighbours vote, and add up the RNA of 50."""
    names, codes = np.unique(split.label("known"), return_inverse=True)
    near = nearest_others(known, new, N_MEAN)
    votes = votes_of(near[:, :N_VOTES], codes, len(names))
    seconds = time.process_time() - start
    counts = sp.csr_matrix(split.known["rna"].X)
    rows = np.repeat(np.arange(len(near)), N_MEAN)
    sums = sp.csr_matrix((np.ones(near.size), (rows, near.ravel())), (len(near), len(known))) @ counts
    rna = sums.toarray() / np.maximum(np.asarray(sums.sum(axis=1)), 1)
    confidence = votes.max(axis=1)
    return Calls(names[votes.argmax(axis=1)], confidence, confidence < UNKNOWN_BELOW, rna, seconds)


def by_lsi(split: Split, seed: int) -> Calls:
    start = time.process_time()
    x = sp.vstack([split.known["atac"].X, split.new["atac"].X], format="csr")
    z = lsi(x, seed=seed)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    n = split.known["atac"].n_obs
    return by_neighbors(split, z[:n], z[n:], start)


def by_pca(split: Split, seed: int) -> Calls:
    start = time.process_time()
    counts = [sp.csr_matrix(part["rna"].X) for part in (split.known, split.new)]
    projection = RnaProjection.learn(counts[0], seed=seed)
    g = [projection.of(part) for part in counts]
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in g]
    return replace(by_neighbors(split, unit[0], unit[1], start), rna=None)


def by_seurat(split: Split, method: str) -> Calls:
    """Run transfer_seurat.R on the two sets."""
    script = Path(__file__).with_name("transfer_seurat.R")
    with tempfile.TemporaryDirectory() as folder:
        for name, data in {"known": split.known, "new": split.new}.items():
            bare = {
                key: ad.AnnData(sp.csr_matrix(part.X), part.obs[[split.labels]].copy(), part.var.copy())
                for key, part in data.mod.items()
            }
            together(**bare).write_h5mu(Path(folder, f"{name}.h5mu"))
        subprocess.run(["Rscript", str(script), folder, split.labels, method], check=True)
        called = pd.read_csv(Path(folder, "labels.csv"), index_col=0).loc[split.new["atac"].obs_names]
        rna = ad.io.read_mtx(Path(folder, "rna.mtx")).X.T.toarray()
    share = np.expm1(rna)
    return Calls(
        called["label"].astype(str).to_numpy(),
        called["confidence"].to_numpy(),
        called["confidence"].to_numpy() < UNKNOWN_BELOW,
        share / np.maximum(share.sum(axis=1, keepdims=True), 1e-12),
        float(called["seconds"].iloc[0]),
    )


def calls(method: str, split: Split, model: sailerx.Model, seed: int, rna_too: bool = True) -> Calls:
    if method == "lsi":
        return by_lsi(split, seed)
    if method == "pca+rna":
        return by_pca(split, seed)
    if method in ("seurat", "bridge"):
        return by_seurat(split, method)
    return by_sailerx(split, model, seed, method.endswith("+rna"), rna_too)


def reliability(found: Calls, truth: np.ndarray) -> pd.DataFrame:
    """Bin cells by confidence: number of cells, mean confidence, and share of right labels of each bin."""
    cells = pd.DataFrame({"confidence": found.confidence, "right": found.label == truth})
    cells["bin"] = np.minimum((cells["confidence"] * N_BINS).astype(int), N_BINS - 1)
    by_bin = cells.groupby("bin")
    return by_bin.mean().assign(cells=by_bin.size()).reset_index()


def scores(found: Calls, split: Split) -> dict[str, float]:
    truth, right = split.label("new"), found.label == split.label("new")
    bins = reliability(found, truth)
    counts = sp.csr_matrix(split.new["rna"].X)
    return {
        "accuracy": float(right.mean()),
        "balanced": float(balanced_accuracy_score(truth, found.label)),
        "confidence": float(found.confidence.mean()),
        # expected calibration error: mean over cells of |confidence - share right| of their bin
        "error": float(np.average(abs(bins["confidence"] - bins["right"]), weights=bins["cells"])),
        "unknown": float(found.unknown.mean()),
        "accuracy_called": float(right[~found.unknown].mean()),
        "gain_rna": np.nan
        if found.rna is None
        else gain(found.rna, counts, sp.csr_matrix(split.known["rna"].X)),
        "seconds": found.seconds,
    }


def gain(share: np.ndarray, held: sp.csr_matrix, known: sp.csr_matrix) -> float:
    """Mean over molecules of the new cells of log(predicted share / overall share), the former shrunk towards the latter."""
    overall = np.asarray(known.sum(axis=0)).ravel() / known.sum()
    cell, gene = held.nonzero()
    weight = np.asarray(held[cell, gene]).ravel()
    seen = overall[gene] > 0
    cell, gene, weight = cell[seen], gene[seen], weight[seen]
    ratio = share[cell, gene] / overall[gene]
    return float(max((weight * np.log((ratio + s) / (1 + s))).sum() for s in SHRINKAGE) / weight.sum())


def missing_types(
    method: str, split: Split, model: sailerx.Model, seed: int, fewest: int = 30
) -> dict[str, float]:
    """Leave each type of at least 30 new cells out of the known cells in turn: shares of cells called unknown."""
    truth, unknown, others = split.label("new"), [], []
    for kind in pd.Series(truth).value_counts().loc[lambda n: n >= fewest].index:
        found = calls(method, split.without(kind), model, seed, rna_too=False).unknown
        unknown.append(found[truth == kind].mean())
        others.append(found[truth != kind].mean())
    return {"unknown_missing": float(np.mean(unknown)), "unknown_others": float(np.mean(others))}


COLUMNS = {
    **{"accuracy": "accuracy", "balanced": "balanced accuracy", "confidence": "mean confidence"},
    **{"error": "calibration error", "unknown": "unknown", "accuracy_called": "accuracy of the rest"},
    **{"unknown_missing": "unknown, type missing", "gain_rna": "gain RNA", "seconds": "CPU seconds"},
}


def table(rows: pd.DataFrame) -> str:
    """Format means and standard deviations over seeds."""
    lines = [["data", "method", *COLUMNS.values()], ["---", "---", *["---:"] * len(COLUMNS)]]
    for data in rows["data"].unique():
        for method, title in METHODS.items():
            of = rows[(rows["data"] == data) & (rows["method"] == method)]
            if len(of):
                lines.append(
                    [data, title, *(entry(name, of.get(name, pd.Series()).dropna()) for name in COLUMNS)]
                )
    return markdown(lines)


def entry(name: str, values: pd.Series) -> str:
    if not len(values):
        return ""
    if name == "seconds":
        return f"{values.mean():.0f}"
    spread = f" ± {values.std():.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"


def reliability_table(bins: pd.DataFrame) -> str:
    """Format mean confidence and share of right labels by bin, over the cells of all seeds."""
    shown = bins[bins["method"].isin(["lsi", "sailerx", "sailerx+rna"])]
    groups = list(shown.groupby(["data", "method"], sort=False))
    names = [f"{data}, {METHODS[method]}" for (data, method), _ in groups]
    lines = [["confidence", *names], ["---", *["---:"] * len(names)]]
    for i in range(N_BINS):
        line = [f"{i / N_BINS:g} to {(i + 1) / N_BINS:g}"]
        for _, of in groups:
            here = of[of["bin"] == i]
            n = here["cells"].sum()
            mean = [np.average(here[name], weights=here["cells"]) for name in ("confidence", "right") if n]
            line.append(f"{mean[0]:.2f} → {mean[1]:.2f} ({n:,})" if n else "")
        lines.append(line)
    return markdown(lines)


def load(given: argparse.Namespace, seed: int) -> Split:
    """Load the data and split them; nine tenths of the cells that are not new are known."""
    mdata = sailerx.simulate(seed=seed) if given.simulated else sailerx.read(given.data)
    library, held_out = ("batch", ["batch1"]) if given.simulated else (given.library, given.held_out)
    counted = [np.asarray(sp.csr_matrix(mdata[m].X).sum(axis=1)).ravel() > 0 for m in ("rna", "atac")]
    obs = mdata["atac"].obs
    usable = np.all(counted, axis=0) & ~obs[given.labels].astype(str).isin(given.drop).to_numpy()
    new = obs[library].astype(str).isin(held_out).to_numpy()
    drawn = np.random.default_rng(seed).random(len(obs)) < 0.9
    return Split(some(mdata, usable & ~new & drawn), some(mdata, usable & new), given.labels)


def append(path: Path, rows: pd.DataFrame) -> None:
    before = [pd.read_csv(path)] if path.exists() else []
    pd.concat([*before, rows]).to_csv(path, index=False, float_format="%.5g")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--simulated", action="store_true", help="simulated data in place of DATA.h5mu")
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--library", default="library_batch", help="obs column of libraries")
    parser.add_argument("--held-out", nargs="+", default=[], help="libraries whose cells are new")
    parser.add_argument("--drop", nargs="+", default=[], help="labels of cells that are left out")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    text = "methods that also lack each type in turn, with the first seed"
    parser.add_argument(
        "--missing",
        nargs="+",
        choices=METHODS,
        default=["lsi", "sailerx", "pca+rna", "sailerx+rna"],
        help=text,
    )
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    parser.add_argument("--bins", type=Path, metavar="BINS.csv")
    formats = {"reliability": reliability_table}
    given = parse(parser, lambda path: formats.get(path.stem, table)(pd.read_csv(path)))
    warnings.filterwarnings("ignore")
    for seed in given.seeds:
        split = load(given, seed)
        # labels and RNA do not depend on the network, which is hardly trained
        model = sailerx.fit(split.known, max_epochs=1, seed=seed, progress="none", device="cpu")
        for method in given.methods:
            about = {
                "data": "simulated" if given.simulated else given.data.stem,
                "method": method,
                "seed": seed,
            }
            found = calls(method, split, model, seed)
            row = about | scores(found, split)
            if method in given.missing and seed == given.seeds[0]:
                row |= missing_types(method, split, model, seed)
            print(row, flush=True)
            append(given.out, pd.DataFrame([row]))
            append(given.bins, reliability(found, split.label("new")).assign(**about))


if __name__ == "__main__":
    mudata.set_options(pull_on_update=False)
    main()
