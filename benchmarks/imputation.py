"""Compare imputation methods: recovery of removed open peaks, separation of cell types, calibration, differential accessibility.

    python benchmarks/imputation.py DATA.h5mu --labels cell_type --drop Mis --groups Pvalb L4/5 \\
        --peers-python ~/imputation/bin/python --work WORK/ --out benchmarks/results/imputation.csv
    python benchmarks/imputation.py --table benchmarks/results/imputation.csv --into benchmarks/README.md

Results already in WORK/ are reused. README.md describes methods and scores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from cost import peak_mb
from pages import markdown, show
from scipy.optimize import brentq
from scipy.stats import fisher_exact, rankdata, spearmanr
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

import sailerx
from sailerx import metrics
from sailerx.data.rna_pca import rna_pca
from sailerx.simulation.in_memory import expected_share

HERE = Path(__file__).resolve().parent
REMOVED = 0.25  # share of the open peaks (ones of x) that is removed
FEWEST = 20  # smallest number of removed ones of a scored peak
MOST = 1000  # largest number of scored peaks, drawn at random
STRATA = 10  # number of strata of ATAC depth for "AUROC, same depth"
NEIGHBORS = 50
PEAKS_OF_PCA, COMPONENTS = 5000, 30
TITLES = {
    "sailerx": "**sailerx**",
    "magic": "MAGIC",
    "scopen": "scOpen",
    "rna_neighbors": "mean of 50 RNA neighbours",
    "raw": "raw",
    "frequency": "peak frequency (all cells alike)",
}
SCORES = {
    "auroc": "AUROC",
    "auroc_depth": "AUROC × depth",
    "auroc_same_depth": "AUROC, same depth",
    "auprc": "AUPRC",
    "auprc_depth": "AUPRC × depth",
    "ari": "ARI",
    "nmi": "NMI",
    "knn": "kNN",
    "cpu_seconds": "CPU seconds",
    "peak_mb": "peak MB",
}
PARTS = ["calibration", "differential", "imputation"]
#: positions of peaks → these columns of an imputed matrix, cells × peaks
Columns = Callable[[np.ndarray], np.ndarray]


# Preparing


def prepare(data: Path, work: Path, seed: int) -> tuple[mudata.MuData, mudata.MuData, sp.csr_matrix]:
    """Read the data; return them, a copy with a random quarter of the open peaks removed, and the removed ones (cells × peaks)."""
    whole = sailerx.read(data)
    x = sp.csr_matrix(whole["atac"].X)
    x.data[:] = 1
    x.sort_indices()
    out = np.random.default_rng([seed, 7]).random(x.nnz) < REMOVED
    parts = []
    for kept in (~out, out):
        part = x.copy()
        part.data[~kept] = 0
        part.eliminate_zeros()
        parts.append(part)
    with mudata.set_options(pull_on_update=False):
        atac = ad.AnnData(parts[0], whole["atac"].obs, whole["atac"].var)
        train = mudata.MuData({"rna": whole["rna"], "atac": atac})
    sp.save_npz(work / "train.npz", parts[0])
    return whole, train, parts[1]


def trained(train: mudata.MuData, work: Path, seed: int) -> sailerx.Model:
    """Train the default preset on the remaining open peaks, and write its imputed matrix to ``work``; reuse earlier results."""
    run = work / "run"
    if not (work / "sailerx.json").exists():
        start = time.process_time()
        model = sailerx.fit(train, seed=seed, progress="lines")
        model.save(run, overwrite=True)
        model.impute(train, out=work / "sailerx.h5ad")
        cost = {"cpu_seconds": time.process_time() - start, "peak_mb": peak_mb()}
        (work / "sailerx.json").write_text(json.dumps(cost))
    return sailerx.load(run)


def peer(name: str, work: Path, seed: int, python: str) -> dict[str, np.ndarray]:
    """Run MAGIC or scOpen in the peers' environment, or reuse its earlier result; return its arrays."""
    out = work / f"{name}.npz"
    if not out.exists():
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        command = [
            python,
            str(HERE / "imputation_peers.py"),
            name,
            str(seed),
            str(work / "train.npz"),
            str(out),
        ]
        subprocess.run(command, env=os.environ | one, check=True)
    return dict(np.load(out))


def imputed(
    model: sailerx.Model, train: mudata.MuData, work: Path, seed: int, python: str
) -> Iterator[tuple[str, Columns, dict[str, float]]]:
    """Yield name, imputed matrix and cost of each method."""
    x = sp.csr_matrix(train["atac"].X)
    by_peak, frequency = x.tocsc(), np.asarray(x.mean(axis=0)).ravel()
    yield "raw", lambda peaks: by_peak[:, peaks].toarray(), {}
    yield "frequency", lambda peaks: np.tile(frequency[peaks], (x.shape[0], 1)), {}
    g = rna_pca(sp.csr_matrix(train["rna"].X), seed)[:, :30]
    unit = g / np.linalg.norm(g, axis=1, keepdims=True)
    near = NearestNeighbors(n_neighbors=NEIGHBORS).fit(unit).kneighbors_graph()
    yield "rna_neighbors", lambda peaks: (near @ by_peak[:, peaks]).toarray() / NEIGHBORS, {}
    ours = ad.read_h5ad(work / "sailerx.h5ad", backed="r")
    column_of = ours.var_names.get_indexer(train["atac"].var_names)
    whole = ours.X[:]
    yield "sailerx", lambda peaks: whole[:, column_of[peaks]], json.loads((work / "sailerx.json").read_text())
    scopen = peer("scopen", work, seed, python)
    cost = json.loads(str(scopen["cost"]))
    yield "scopen", lambda peaks: scopen["left"] @ scopen["right"][:, peaks], cost
    magic = peer("magic", work, seed, python)
    yield "magic", lambda peaks: magic["whole"][:, peaks], json.loads(str(magic["cost"]))


# Scores


def recovery(columns: Columns, x: sp.csr_matrix, removed: sp.csr_matrix) -> dict[str, float]:
    """Score how well imputed values separate the removed ones of a peak from its zeros; means over peaks."""
    depth = np.asarray(x.sum(axis=1)).ravel()
    peaks = np.flatnonzero(np.bincount(removed.indices, minlength=x.shape[1]) >= FEWEST)
    peaks = np.sort(np.random.default_rng(0).permutation(peaks)[:MOST])
    stratum = np.minimum(rankdata(depth, "ordinal") * STRATA // (len(depth) + 1), STRATA - 1)
    found: dict[str, list[np.ndarray]] = {}
    for chosen in np.array_split(peaks, max(1, len(peaks) // 200)):
        value = np.asarray(columns(chosen), dtype=np.float32)
        is_removed, is_seen = (m.tocsc()[:, chosen].toarray() > 0 for m in (removed, x))
        by_depth = value * depth[:, None]
        for name, v in (("", value), ("_depth", by_depth)):
            found.setdefault(f"auroc{name}", []).append(aurocs([v], [is_removed], [is_seen]))
            found.setdefault(f"auprc{name}", []).append(auprcs(v, is_removed, is_seen))
        within = [[m[stratum == k] for k in range(STRATA)] for m in (value, is_removed, is_seen)]
        found.setdefault("auroc_same_depth", []).append(aurocs(*within))
    return {name: float(np.nanmean(np.concatenate(parts))) for name, parts in found.items()} | {
        "peaks": float(len(peaks))
    }


def aurocs(values: list[np.ndarray], removed: list[np.ndarray], seen: list[np.ndarray]) -> np.ndarray:
    """Compute the AUROC of each peak over pairs (removed one, zero) of one stratum; ties count half.

    Parameters
    ----------
    values, removed, seen
        One matrix, cells × peaks, per stratum: imputed values, whether each entry is a removed one, and whether it is a one
        that the method saw.
    """
    won = pairs = 0.0
    for v, one, known in zip(values, removed, seen, strict=True):
        rank = rankdata(np.where(known, -np.inf, v), axis=0) - known.sum(axis=0)
        n_one, n = one.sum(axis=0), (~known).sum(axis=0)
        won = won + (rank * one).sum(axis=0) - n_one * (n_one + 1) / 2
        pairs = pairs + n_one * (n - n_one)
    return np.asarray(won / np.where(pairs, pairs, np.nan))


def auprcs(value: np.ndarray, removed: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Compute the area under the precision-recall curve of each peak, removed ones against zeros."""
    kept = ~seen
    return np.array(
        [average_precision_score(removed[kept[:, j], j], value[kept[:, j], j]) for j in range(value.shape[1])]
    )


def separation(
    columns: Columns, train: mudata.MuData, labels: str, drop: list[str], seed: int
) -> dict[str, float]:
    """Score the leading principal components of the imputed matrix by labels: ARI, NMI and kNN accuracy."""
    obs, x = train["atac"].obs, sp.csr_matrix(train["atac"].X)
    frequent = np.sort(np.argsort(-np.asarray(x.sum(axis=0)).ravel(), kind="stable")[:PEAKS_OF_PCA])
    keep = ~obs[labels].isin(drop).to_numpy()
    value = np.asarray(columns(frequent), dtype=np.float32)[keep]
    z = PCA(COMPONENTS, svd_solver="randomized", random_state=seed).fit_transform(value)
    found = metrics.score(z, obs[labels][keep], seed=seed)
    return {name: found[name] for name in ("ari", "nmi", "knn")}


def calibration(seed: int) -> dict[str, float]:
    """Compare imputed with true probabilities of simulated data, both at mean depth and without batch effects."""
    mdata = sailerx.simulate(n_cells=3000, n_genes=1500, n_peaks=6000, n_types=6, seed=seed)
    model = sailerx.fit(mdata, batch_key="batch", seed=seed, progress="none")
    atac = mdata["atac"]
    share = expected_share(atac)
    depth = np.exp(model.confounders.depth.mean)
    found = brentq(lambda d: -np.expm1(-d * share).sum(axis=1).mean() - depth, depth / 2, depth * 20)
    truth = -np.expm1(-found * share)
    p = np.asarray(model.impute(atac, peaks=list(atac.var_names)).X)
    opened = sp.csc_matrix(atac.X).astype(bool)
    frequency = np.asarray(opened.mean(axis=0))
    often = np.asarray(opened.sum(axis=0)).ravel() >= FEWEST
    bins = pd.qcut(p[:, often].ravel(), 10, labels=False)
    ratio = [pd.Series(m[:, often].ravel()).groupby(bins).mean() for m in (p, truth)]
    within = [np.corrcoef(p[:, j], truth[:, j])[0, 1] for j in np.flatnonzero(often)]
    return {
        "mean imputed : mean true, all": float(p.mean() / truth.mean()),
        "the same in tenths of the imputed, lowest (peaks open in 20 cells or more)": (
            ratio[0] / ratio[1]
        ).min(),
        "the same, highest": (ratio[0] / ratio[1]).max(),
        "squared error, as a share of peak frequency's": float(
            ((p - truth) ** 2).sum() / ((frequency - truth) ** 2).sum()
        ),
        "correlation within a peak across cells (mean over these peaks)": float(np.mean(within)),
    }


def fisher_tests(table: pd.DataFrame, n: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Test each peak by Fisher's exact test on open cells; return p values and calls (Benjamini-Hochberg, 5 %)."""
    p = np.array(
        [
            fisher_exact([[a, n[0] - a], [b, n[1] - b]])[1]
            for a, b in table[["open_1", "open_2"]].itertuples(index=False)
        ]
    )
    order = np.argsort(p)
    passed = p[order] <= 0.05 * np.arange(1, len(p) + 1) / len(p)
    called = np.zeros(len(p), bool)
    called[order[: passed.nonzero()[0].max(initial=-1) + 1]] = True
    return p, called


def differential(
    model: sailerx.Model, whole: mudata.MuData, labels: str, pair: tuple[str, str], seed: int
) -> dict[str, float]:
    """Compare calls between two groups with Fisher's exact test on x, and count calls between two random halves of a group."""
    table = model.differential_accessibility(whole, labels, *pair).loc[whole["atac"].var_names]
    n = [int((whole["atac"].obs[labels] == name).sum()) for name in pair]
    p, fisher = fisher_tests(table, n)
    ours = table["differential"].to_numpy()
    observed = np.log2((table["open_1"] + 0.5) / n[0]) - np.log2((table["open_2"] + 0.5) / n[1])
    often = (table["open_1"] + table["open_2"] >= 50).to_numpy()
    split = whole["atac"].obs[[labels]].copy()
    half = np.random.default_rng(seed).integers(0, 2, len(split)).astype(str)
    split["half"] = np.where(split[labels] == pair[1], half, None)
    null = model.differential_accessibility(
        ad.AnnData(whole["atac"].X, split, whole["atac"].var), "half", "0", "1"
    )
    return {
        f"cells of {pair[0]}": n[0],
        f"cells of {pair[1]}": n[1],
        "peaks called (expected false calls 5 %)": int(ours.sum()),
        "peaks by Fisher's exact test (Benjamini-Hochberg 5 %)": int(fisher.sum()),
        "called by both": int((ours & fisher).sum()),
        "sign of decoder and raw counts agrees, called by Fisher": float(
            (np.sign(observed) == np.sign(table["log2_fold_change"]))[fisher].mean()
        ),
        "rank correlation of probability and Fisher's p (50 cells or more)": float(
            spearmanr(table["probability"][often], -p[often])[0]
        ),
        "rank correlation of decoder's and raw fold change (50 cells or more)": float(
            spearmanr(table["log2_fold_change"][often], observed[often])[0]
        ),
        f"peaks called between two random halves of {pair[1]}": int(null["differential"].sum()),
    }


# The table


def save(path: Path, rows: list[dict[str, Any]]) -> None:
    temporary = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["part", "method", "measure", "value"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "value": f"{float(row['value']):.6g}"} for row in rows)
    os.replace(temporary, path)


def read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows_of(part: str, method: str, values: dict[str, float]) -> list[dict[str, Any]]:
    return [{"part": part, "method": method, "measure": k, "value": v} for k, v in values.items()]


def table(rows: list[dict[str, str]]) -> str:
    value = {(r["method"], r["measure"]): float(r["value"]) for r in rows if r["part"] == "imputation"}
    lines = [["method", *SCORES.values()], ["---", *["---:"] * len(SCORES)]]
    for method, title in TITLES.items():
        cells = [value.get((method, score)) for score in SCORES]
        digits = [
            0 if score in ("cpu_seconds", "peak_mb") else 4 if "auprc" in score else 3 for score in SCORES
        ]
        text = ["" if v is None else f"{v:,.{n}f}" for v, n in zip(cells, digits, strict=True)]
        lines.append([title, *text])
    return markdown(lines)


def checks(rows: list[dict[str, str]], part: str) -> str:
    lines = [["measure", "value"], ["---", "---:"]]
    for row in rows:
        if row["part"] == part:
            lines.append(
                [row["measure"], f"{float(row['value']):.3g}" if "." in row["value"] else row["value"]]
            )
    return markdown(lines)


def show_all(path: Path, page: Path | None) -> None:
    rows = read(path)
    texts = {"imputation": table(rows)}
    texts |= {part: checks(rows, part) for part in ("calibration", "differential")}
    for name, text in texts.items():
        show(text, name, page)


def compute(given: argparse.Namespace) -> None:
    given.work.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read(given.out) if row["part"] not in given.parts]
    for new in computed(given):
        rows += new
        save(given.out, rows)


def computed(given: argparse.Namespace) -> Iterator[list[dict[str, Any]]]:
    if "calibration" in given.parts:
        yield rows_of("calibration", "sailerx", calibration(given.seed))
    if not {"differential", "imputation"} & set(given.parts):
        return
    whole, train, removed = prepare(given.data, given.work, given.seed)
    model = trained(train, given.work, given.seed)
    if "differential" in given.parts:
        found = differential(model, whole, given.labels, tuple(given.groups), given.seed)
        yield rows_of("differential", "sailerx", found)
    if "imputation" in given.parts:
        x = sp.csr_matrix(train["atac"].X)
        for name, columns, cost in imputed(model, train, given.work, given.seed, given.peers_python):
            print(name, file=sys.stderr, flush=True)
            scores = recovery(columns, x, removed) | cost
            if name != "frequency":
                scores |= separation(columns, train, given.labels, given.drop, given.seed)
            yield rows_of("imputation", name, scores)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--labels", default="cell_type", help="obs column of cell types")
    parser.add_argument("--drop", nargs="+", default=[], help="labels that are not scored")
    parser.add_argument("--groups", nargs=2, help="two labels to compare")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="others' rows are kept")
    parser.add_argument("--work", type=Path, help="folder of what takes long to compute")
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    parser.add_argument(
        "--peers-python", default=sys.executable, help="Python that has requirements-imputation.txt"
    )
    parser.add_argument("--table", type=Path, metavar="OUT.csv", help="print the tables of a CSV")
    parser.add_argument("--into", type=Path, help="also put them into this page, between their markers")
    given = parser.parse_args()
    if given.table:
        return show_all(given.table, given.into)
    if not (given.data and given.out and given.work and given.groups):
        parser.error("DATA.h5mu, --groups, --work and --out are needed, or --table")
    return compute(given)


if __name__ == "__main__":
    main()
