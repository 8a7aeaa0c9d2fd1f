"""Compare RNA embeddings as reference: scores of each alone, and of the sailerx embedding trained with it.

    python benchmarks/references.py DATA.h5mu --labels cell_type --drop Mis --batch library_batch \\
        --peers-python ~/peers/bin/python --out benchmarks/results/references.csv
    python benchmarks/references.py --table benchmarks/results/references.csv --into benchmarks/README.md

harmonypy, scanorama and scvi-tools run in the peers' environment (requirements-peers.txt). A reference alone is scored by the
better of Euclidean and cosine neighbours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd

TITLES = {
    "own": "PCA as sailerx computes it",
    "pca": "PCA, scanpy's recipe",
    "harmony": "Harmony on that PCA, by library",
    "scanorama": "Scanorama, by library",
    "scvi": "scVI, with library as batch",
}
SCORES = {"ari": "ARI", "nmi": "NMI", "silhouette": "silhouette", "knn": "kNN"}


def make(name: str, path: str, batch: str, out: str, seed: int) -> None:
    """Compute a reference and save it, cells × dimensions (.npy); needs the peers' environment."""
    import anndata

    warnings.filterwarnings("ignore")
    with mudata.set_options(pull_on_update=False):
        rna: anndata.AnnData = mudata.read_h5mu(path)["rna"].copy()
    if name == "scvi":
        import scvi

        scvi.settings.seed = seed
        scvi.model.SCVI.setup_anndata(rna, batch_key=batch)
        model = scvi.model.SCVI(rna)
        model.train(accelerator="cpu", enable_progress_bar=False)
        np.save(out, model.get_latent_representation())
        return
    import scanpy

    scanpy.pp.normalize_total(rna, target_sum=1e4)
    scanpy.pp.log1p(rna)
    if name == "scanorama":
        np.save(out, scanorama_of(rna, batch, seed))
        return
    scanpy.pp.scale(rna)
    scanpy.pp.pca(rna, n_comps=50, random_state=seed)
    z = rna.obsm["X_pca"]
    if name == "harmony":
        import harmonypy

        found = np.asarray(harmonypy.run_harmony(z, rna.obs, batch, random_state=seed).Z_corr)
        z = found if found.shape == z.shape else found.T
    np.save(out, z)


def scanorama_of(rna: Any, batch: str, seed: int) -> np.ndarray:
    """Run Scanorama with its defaults on log-normalised counts, 50 dimensions; cells in the order of the data."""
    import scanorama

    np.random.seed(seed)
    batches = rna.obs[batch].astype(str).to_numpy()
    parts = [rna[batches == one].copy() for one in np.unique(batches)]
    scanorama.integrate_scanpy(parts, dimred=50, seed=seed)
    found = np.empty((rna.n_obs, parts[0].obsm["X_scanorama"].shape[1]), np.float32)
    for one, part in zip(np.unique(batches), parts, strict=True):
        found[batches == one] = part.obsm["X_scanorama"]
    return found


def rows(given: argparse.Namespace, name: str, seed: int) -> list[dict[str, object]]:
    """Score a reference alone, and the model trained with it."""
    import sailerx
    from sailerx import metrics

    mdata = sailerx.read(given.data)
    if name == "own":
        from sailerx.data.rna_pca import rna_pca

        g, key = rna_pca(mdata["rna"].X, seed), None
    else:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "reference.npy"
            arguments = ["make", name, given.data, given.batch, out, seed]
            subprocess.run([given.peers_python, __file__, *map(str, arguments)], check=True)
            g, key = np.load(out), "X_reference"
        mdata["rna"].obsm[key] = g
    model = sailerx.fit(mdata, rna_embedding=key, seed=seed, progress="none", device="cpu")
    labels = mdata["atac"].obs[given.labels].astype(str)
    own = mdata["rna"].obs_names.get_indexer(mdata["atac"].obs_names)
    known = {"labels": labels, "drop": given.drop, "seed": seed}
    scores = {
        "alone": metrics.best_score(g[own], **known),
        "sailerx": metrics.score(model.embed(mdata), **known),
    }
    return [{"reference": name, "seed": seed, "what": what, **score} for what, score in scores.items()]


def table(found: pd.DataFrame) -> str:
    """Format scores as a Markdown table, two lines per reference (alone, as reference of sailerx); means over seeds."""
    lines = [
        f"| reference | what | {' | '.join(SCORES.values())} |",
        f"| --- | --- |{' ---: |' * len(SCORES)}",
    ]
    for name, title in TITLES.items():
        for what, said in {"alone": "alone", "sailerx": "**as sailerx's teacher**"}.items():
            chosen = found[(found["reference"] == name) & (found["what"] == what)]
            if len(chosen):
                cells = [f"{chosen[s].mean():.3f}" for s in SCORES]
                lines.append(f"| {title} | {said} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["make"]:
        name, path, batch, out, seed = sys.argv[2:]
        make(name, path, batch, out, int(seed))
        return
    from pages import parse

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", type=Path, metavar="DATA.h5mu")
    parser.add_argument("--labels", default="cell_type")
    parser.add_argument("--drop", nargs="+", default=[], help="labels of cells that are not scored")
    parser.add_argument("--batch", default="library_batch", help="obs column that Harmony and scVI correct")
    parser.add_argument("--references", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--out", type=Path, metavar="OUT.csv")
    given = parse(parser, lambda path: table(pd.read_csv(path)))
    warnings.filterwarnings("ignore")
    for seed in given.seeds:
        for name in given.references:
            done = pd.read_csv(given.out).to_dict("records") if given.out.exists() else []
            if not any((row["reference"], row["seed"]) == (name, seed) for row in done):
                pd.DataFrame(done + rows(given, name, seed)).to_csv(given.out, index=False)
                print(name, seed, flush=True)


if __name__ == "__main__":
    main()
