"""The whole path at once: data, model, clusters, figures, and a table beside RNA PCA and ATAC LSI.

`python -m sailerx.demo IN.h5mu` prints that table for a file that holds the embedding already.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from mudata import MuData

from sailerx import api, metrics, plot
from sailerx.data.counts import binary_accessibility, pick_counts, to_csr
from sailerx.data.lsi import lsi
from sailerx.data.reading import read
from sailerx.data.rna_pca import rna_pca
from sailerx.errors import InputError
from sailerx.evaluate.scores import COLUMNS
from sailerx.files.atomic import new_file, refuse_overwriting
from sailerx.simulation.in_memory import simulate
from sailerx.simulation.recipe import Recipe

EMBEDDING = "X_sailerx"
PEERS = ("RNA PCA", "ATAC LSI")
#: simulated cells: blood by 10x Multiome, with two cell types whose halves only ATAC tells apart
SIMULATED: dict[str, Any] = {
    "preset": "10x",
    "n_genes": 3000,
    "n_atac_splits": 2,
    "split_share": 1 / 15,
    "split_change": 1.5,
}
TYPES, HALVES = "cell_type", "subtype"


def run_demo(
    output: str | os.PathLike[str] = "demo",
    path: str | os.PathLike[str] | None = None,
    labels: str | None = None,
    *,
    batch: str | None = None,
    drop: Sequence[str] = (),
    seed: int = 0,
    n_cells: int = Recipe.n_cells,
    n_peaks: int = Recipe.n_peaks,
    max_epochs: int | None = None,
) -> pd.DataFrame:
    """Train on a file or on simulated data, and write what a user would look at.

    Writes `demo.h5mu` (the data with `X_pca`, `X_sailerx` and the clusters), `model/`, `umap.png`, `losses.png`
    and, where there are labels, `scores.csv` into a folder, and prints the scores.

    Parameters
    ----------
    output
        The folder; made where it is missing, and what an earlier demo wrote there is replaced.
    path
        An .h5mu file with paired RNA and ATAC counts; None simulates one: types of which two have halves that only ATAC tells
        apart.
    labels
        Column of `obs` with cell types; by default `cell_type` where there is one, and of simulated cells `subtype`.
    batch
        Column of `obs` to hide from the embedding; by default `batch` where there is one.
    drop
        Labels whose cells are not scored.
    seed
        Of simulation, training, clustering and layout.
    n_cells, n_peaks
        Sizes of the simulated data.
    max_epochs
        As in `sailerx.fit`.

    Returns
    -------
    The scores, one row per embedding; empty without labels.

    Raises
    ------
    InputError
        If the file or a column cannot be used.
    """
    refuse_overwriting(Path(output) / "demo.h5mu", path)
    mdata = read(path) if path else simulate(n_cells, n_peaks=n_peaks, seed=seed, **SIMULATED)
    labels = _column(mdata, labels, TYPES if path else HALVES, "labels")
    batch = _column(mdata, batch, "batch", "batch")
    model = _train(mdata, batch, seed=seed, max_epochs=max_epochs)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "model", overwrite=True)
    with new_file(folder / "demo.h5mu") as part, mudata.set_options(pull_on_update=False):
        mdata.write_h5mu(part, compression="gzip", compression_opts=1)
    draw(mdata, model.history, folder, [name for name in (labels, "cluster", batch) if name], seed=seed)
    asked: dict[str, Any] = {"batch": batch, "within": None if path else TYPES, "drop": drop, "seed": seed}
    table = score_file(mdata, labels, **asked) if labels else pd.DataFrame()
    report(table, folder / "scores.csv" if labels else None)
    print(f"Written into {folder}/: {', '.join(sorted(entry.name for entry in folder.iterdir()))}")
    return table


def _train(mdata: MuData, batch: str | None, *, seed: int, max_epochs: int | None) -> api.Model:
    """Train with RNA PCA as the reference; adds it, the embedding and its clusters to the data."""
    rna, atac = mdata["rna"], mdata["atac"]
    if "X_pca" not in rna.obsm:
        rna.obsm["X_pca"] = rna_pca(_counts(rna, "rna"), seed)
    start = time.monotonic()
    model = api.fit(mdata, rna_embedding="X_pca", batch_key=batch, seed=seed, max_epochs=max_epochs)
    z = model.embed(mdata)
    print(f"Trained and embedded {len(z):,} cells in {time.monotonic() - start:.0f} s.", flush=True)
    atac.obsm[EMBEDDING] = z
    atac.obs["cluster"] = metrics.leiden_clusters(z, seed=seed)
    return model


def draw(
    mdata: MuData, history: pd.DataFrame, folder: Path, columns: Sequence[str], *, seed: int = 0
) -> None:
    """Write `umap.png`, one panel per column of `obs`, and `losses.png`.

    Parameters
    ----------
    mdata
        Holds the embedding in `mdata["atac"].obsm["X_sailerx"]`.
    history
        Loss terms by epoch.
    folder
        Where the figures go.
    columns
        What colours the panels.
    seed
        Of the layout.
    """
    atac = mdata["atac"]
    obs = pd.DataFrame({name: _values(mdata, name) for name in columns}, index=atac.obs_names)
    title = f"SAILERX embedding of {atac.n_obs:,} cells"
    plot.save(
        plot.umap_panels(atac.obsm[EMBEDDING], obs, columns, seed=seed, title=title), folder / "umap.png"
    )
    plot.save(plot.loss_curves(history), folder / "losses.png")


def score_file(
    data: MuData | str | os.PathLike[str],
    labels: str,
    *,
    batch: str | None = None,
    within: str | None = None,
    drop: Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Score the embedding in a file beside RNA PCA and ATAC LSI.

    Parameters
    ----------
    data
        MuData with `X_sailerx` in the obsm of `atac`, or its file. RNA PCA is `X_pca` of `rna`, or is computed.
    labels, batch
        Columns of `obs`.
    within
        Column of `obs` with coarser types. Within those that have several labels, the kNN accuracy of these is scored as well.
    drop, seed
        As in `sailerx.metrics.score`.

    Returns
    -------
    One row per embedding. Of the peers the better metric by NMI is shown; rows of SAILERX have length 1, so that
    Euclidean and cosine neighbours are the same.

    Raises
    ------
    InputError
        If the embedding or a column is missing.
    """
    mdata = data if isinstance(data, MuData) else read(data)
    rna, atac = mdata["rna"], mdata["atac"]
    if EMBEDDING not in atac.obsm:
        raise InputError(f"The modality 'atac' must hold obsm {EMBEDDING!r}, found {list(atac.obsm)}.")
    both = atac.obs_names.isin(rna.obs_names)
    pca = rna.obsm["X_pca"] if "X_pca" in rna.obsm else rna_pca(_counts(rna, "rna"), seed)
    accessible = binary_accessibility(atac, "atac")
    embeddings = {
        "RNA PCA": np.asarray(pca)[rna.obs_names.get_indexer(atac.obs_names[both])],
        "ATAC LSI": lsi(accessible.read(), seed=seed)[both],
        "SAILERX": np.asarray(atac.obsm[EMBEDDING])[both],
    }
    asked = {"depth": accessible.depth[both], "drop": drop, "seed": seed}
    if batch:
        asked["batch"] = _values(mdata, batch)[both]
    kinds = _values(mdata, labels)[both]
    scores = {
        name: metrics.best_score(
            z, kinds, metrics=("euclidean", "cosine") if name in PEERS else ("euclidean",), **asked
        )
        for name, z in embeddings.items()
    }
    if within:
        coarse = _values(mdata, within)[both]
        for name, z in embeddings.items():
            scores[name]["within"] = _accuracy_within(z, kinds, coarse, str(scores[name]["metric"]))
    return pd.DataFrame(scores).T


def _accuracy_within(z: np.ndarray, labels: np.ndarray, coarse: np.ndarray, metric: str) -> float:
    """Mean kNN accuracy of labels within each coarser type that has several."""
    split = [cells for name in pd.unique(coarse) if len(set(labels[cells := coarse == name])) > 1]
    return float(np.mean([metrics.knn_accuracy(z[cells], labels[cells], metric=metric) for cells in split]))


def report(table: pd.DataFrame, path: Path | None = None) -> None:
    """Print the scores, and write them as CSV where a path is given."""
    if path is not None:
        with new_file(path) as part:
            table.convert_dtypes().round(3).to_csv(part, index_label="embedding")
    if table.empty:
        print("No labels: name a column of obs with cell types to see scores.")
        return
    names = {"within": "halves told apart"} | COLUMNS
    shown = table[[name for name in names if name in table]].rename(columns=names)
    numbers = shown.map(lambda value: f"{value:.3f}" if isinstance(value, float) else str(value))
    print(f"\n{numbers.to_string()}\n")
    if "within" in table:
        print(
            "Halves told apart: kNN accuracy within the types whose halves only ATAC tells apart; by chance 0.5."
        )
    print(
        "Leakage is within cell type: R² of log depth; batch accuracy above chance, 0 to 1. Lower is better."
    )


def _counts(adata: AnnData, modality: str) -> sp.csr_matrix:
    picked = pick_counts(adata, modality, None)
    if picked is None:
        raise InputError(f"The modality {modality!r} must hold counts or obsm 'X_pca', found neither.")
    return to_csr(picked[1])


def _column(mdata: MuData, name: str | None, usual: str, argument: str) -> str | None:
    """The column asked for, which must exist, or else the usual one where it exists."""
    there = [*mdata.obs.columns, *mdata["atac"].obs.columns]
    if name and name not in there:
        raise InputError(
            f"`{argument}` must be a column of obs: there is no {name!r}, there are {sorted(set(there))}."
        )
    return name or (usual if usual in there else None)


def _values(mdata: MuData, name: str) -> np.ndarray:
    """A column of the ATAC cells' obs, from the modality or else from the whole."""
    atac = mdata["atac"]
    column = atac.obs[name] if name in atac.obs else mdata.obs[name].reindex(atac.obs_names)
    return column.to_numpy(dtype=object)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the scores of a file that holds the embedding; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sailerx.demo", description=main.__doc__)
    parser.add_argument("input", metavar="IN.h5mu")
    parser.add_argument("--labels", required=True, metavar="COLUMN", help="obs column of cell types")
    parser.add_argument("--batch", metavar="COLUMN", help="obs column of batches")
    parser.add_argument(
        "--within", metavar="COLUMN", help="obs column of coarser types, to score labels within them"
    )
    parser.add_argument("--drop", nargs="+", default=[], metavar="LABEL", help="labels that are not scored")
    parser.add_argument("-o", "--output", type=Path, metavar="TABLE.csv")
    arguments = parser.parse_args(argv)
    try:
        mdata = read(arguments.input)
        for argument in ("labels", "batch", "within"):
            _column(mdata, getattr(arguments, argument), "", argument)
        asked = {name: getattr(arguments, name) for name in ("batch", "within", "drop")}
        report(score_file(mdata, arguments.labels, **asked), arguments.output)
    except InputError as error:
        print(f"sailerx: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
