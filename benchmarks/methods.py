"""One method on one file with one seed, alone in its process, so that peak memory is that of the method.

    python benchmarks/methods.py METHOD SEED DATA.h5mu OUT.npy

The file holds modalities `rna` and `atac` with raw counts in X and the same cells in the same order. OUT is the
embedding of all its cells (cells × dimensions); for `wnn` it is neighbours and graph (.npz). Beside it lies
OUT.json with seconds, peak memory and settings. The other tools are imported where they are used: an environment
needs only those of its method.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import scipy.sparse as sp

HELD_OUT = 0.2  # share of the cells that a model has not seen
NEIGHBORS = 100  # of each cell in WNN's long list
Result = tuple[Any, dict[str, Any]]


def held_out(n_cells: int, seed: int) -> np.ndarray:
    """Which cells `unseen` leaves out of training: one in five, drawn by the seed."""
    cells = np.random.default_rng(seed).permutation(n_cells)
    return np.isin(np.arange(n_cells), cells[: round(HELD_OUT * n_cells)])


def rna_pca_scanpy(mdata: mudata.MuData, seed: int) -> Result:
    return _scanpy_pca(mdata, 50, seed).obsm["X_pca"], {}


def rna_pca(mdata: mudata.MuData, seed: int) -> Result:
    from sailerx.reference import rna_pca

    return rna_pca(sp.csr_matrix(mdata["rna"].X), seed), {}


def lsi_20(mdata: mudata.MuData, seed: int) -> Result:
    return _lsi(mdata, 20, seed), {}


def lsi_49(mdata: mudata.MuData, seed: int) -> Result:
    return _lsi(mdata, 49, seed), {}


def wnn(mdata: mudata.MuData, seed: int, graph_cells: np.ndarray | None = None) -> Result:
    """muon's weighted nearest neighbours of RNA PCA 30 and LSI components 2 to 31, both from all cells."""
    import muon
    import scanpy

    both = {"rna": _scanpy_pca(mdata, 30, seed), "atac": _muon_lsi(mdata, 30)}
    if graph_cells is not None:
        both = {name: a[graph_cells].copy() for name, a in both.items()}
    for name, a in both.items():
        rep = {"rna": "X_pca", "atac": "X_lsi"}[name]
        scanpy.pp.neighbors(a, n_neighbors=15, use_rep=rep, random_state=seed)
    joint = mudata.MuData(both)
    muon.pp.neighbors(joint, key_added="wnn", random_state=seed)
    graph, done = joint.obsp["wnn_connectivities"], (time.perf_counter(), time.process_time())
    many = min(NEIGHBORS, joint.n_obs - 2)
    muon.pp.neighbors(joint, n_neighbors=many, key_added="many", random_state=seed)
    return {"graph": graph, "near": _nearest_first(joint.obsp["many_distances"])}, {"done": done}


def default(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    return _fit(mdata, mdata, seed, **options)


def paper(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    return _fit(mdata, mdata, seed, preset="paper", **options)


def gamma_0(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    """The default preset without alignment: ATAC alone."""
    return _fit(mdata, mdata, seed, gamma=0.0, warmup_gamma=0.0, **options)


def shuffled_atac(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    """The default preset where each cell has the ATAC of another; scored by the cell that RNA is of."""
    atac = mdata["atac"].copy()
    atac.X = atac.X[np.random.default_rng(seed).permutation(atac.n_obs)]
    shuffled = mudata.MuData({"rna": mdata["rna"], "atac": atac})
    return _fit(shuffled, shuffled, seed, **options)


def unseen(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    """The default preset trained without `held_out` cells, which are then embedded from their ATAC alone."""
    seen = ~held_out(mdata.n_obs, seed)
    train = mudata.MuData({name: a[seen].copy() for name, a in mdata.mod.items()})
    return _fit(train, mdata, seed, **options)


IN_PEERS = {"rna_pca_scanpy": rna_pca_scanpy, "wnn": wnn}
OURS = {
    "default": default,
    "paper": paper,
    "gamma_0": gamma_0,
    "shuffled_atac": shuffled_atac,
    "unseen": unseen,
}
METHODS: dict[str, Callable[..., Result]] = {
    **IN_PEERS,
    "rna_pca": rna_pca,
    "lsi_20": lsi_20,
    "lsi_49": lsi_49,
    **OURS,
}


def _fit(train: mudata.MuData, cells: mudata.MuData, seed: int, **options: Any) -> Result:
    import sailerx

    model = sailerx.fit(train, seed=seed, device="cpu", progress="lines", **options)
    return model.embed(cells), asdict(model.settings)


def _lsi(mdata: mudata.MuData, n_components: int, seed: int) -> np.ndarray:
    from sailerx.lsi import lsi

    return lsi(sp.csr_matrix(mdata["atac"].X), n_components, seed)


def _scanpy_pca(mdata: mudata.MuData, n_components: int, seed: int) -> Any:
    import scanpy

    rna = mdata["rna"].copy()
    scanpy.pp.normalize_total(rna, target_sum=1e4)
    scanpy.pp.log1p(rna)
    scanpy.pp.scale(rna)
    scanpy.pp.pca(rna, n_comps=min(n_components, min(rna.shape) - 1), random_state=seed)
    return rna


def _muon_lsi(mdata: mudata.MuData, n_components: int) -> Any:
    import muon

    atac = mdata["atac"].copy()
    muon.atac.pp.tfidf(atac, scale_factor=1e4)
    muon.atac.tl.lsi(atac, n_comps=n_components + 1)
    atac.obsm["X_lsi"] = atac.obsm["X_lsi"][:, 1:]
    return atac


def _nearest_first(distances: sp.csr_matrix) -> np.ndarray:
    """Neighbours of each cell by distance, cells × neighbours; −1 fills up where a cell has fewer."""
    distances = sp.csr_matrix(distances)
    near = np.full((distances.shape[0], int(np.diff(distances.indptr).max())), -1)
    for i, (start, end) in enumerate(zip(distances.indptr, distances.indptr[1:], strict=False)):
        order = np.argsort(distances.data[start:end], kind="stable")
        found = distances.indices[start:end][order]
        near[i, : len(found)] = found
    return near[:, :NEIGHBORS]


def import_for(method: str, threads: int) -> None:
    """Import what a method needs before its time is taken."""
    needs = {"rna_pca_scanpy": ["scanpy"], "wnn": ["scanpy", "muon"], "rna_pca": ["sailerx.reference"]}
    needs |= {name: ["sailerx.lsi"] for name in ("lsi_20", "lsi_49")} | {
        name: ["sailerx.api"] for name in OURS
    }
    for module in needs[method]:
        importlib.import_module(module)
    if method in OURS:
        import torch

        torch.set_num_threads(threads)


def save(result: Any, out: Path) -> None:
    """Write under a temporary name, then rename."""
    temporary = out.with_name(f".{out.name}")
    with open(temporary, "wb") as file:
        if isinstance(result, dict):
            graph = sp.coo_matrix(result["graph"])
            np.savez(file, near=result["near"], row=graph.row, col=graph.col, weight=graph.data)
        else:
            np.save(file, np.asarray(result, dtype=np.float32))
    os.replace(temporary, out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("seed", type=int)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--graph-without", nargs="+", metavar=("COLUMN", "VALUE"), help="wnn: cells left out of the graph"
    )
    parser.add_argument("--max-epochs", type=int, help="sailerx: to try things out; by default the preset's")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    mudata.set_options(pull_on_update=False)
    import_for(given.method, given.threads)
    mdata = mudata.read_h5mu(given.data)
    options: dict[str, Any] = {"max_epochs": given.max_epochs} if given.method in OURS else {}
    if given.method == "wnn" and given.graph_without:
        column, *values = given.graph_without
        options["graph_cells"] = ~mdata["atac"].obs[column].astype(str).isin(values).to_numpy()
    start, cpu_start = time.perf_counter(), time.process_time()
    result, settings = METHODS[given.method](mdata, given.seed, **options)
    done, cpu_done = settings.pop("done", (time.perf_counter(), time.process_time()))
    save(result, given.out)
    # ru_maxrss counts kilobytes on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = {"seconds": done - start, "cpu_seconds": cpu_done - cpu_start}
    record = {**seconds, "peak_mb": peak, "threads": given.threads, "settings": settings}
    given.out.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
