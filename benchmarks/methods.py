"""Compute one method's embedding of one file with one seed, in a process of its own, whose peak memory is then the method's.

    python benchmarks/methods.py METHOD SEED DATA.h5mu OUT.npy

The file holds modalities `rna` and `atac` with raw counts in X and equal cells in equal order. OUT is the embedding of all
cells (cells × dimensions); for `wnn` it is neighbours and graph (.npz). OUT.json beside it has seconds, peak memory and settings.
Methods of other tools are in peers.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import published
import scipy.sparse as sp
from cost import peak_mb
from peers import PEERS, Result

HELD_OUT = 0.2  # share of the cells that `unseen` leaves out of training
N_BUFFERS = 10  # shuffle buffers per epoch of `from_file`


def held_out(n_cells: int, seed: int) -> np.ndarray:
    """Draw the cells that `unseen` leaves out of training, one in five: boolean per cell."""
    cells = np.random.default_rng(seed).permutation(n_cells)
    return np.isin(np.arange(n_cells), cells[: round(HELD_OUT * n_cells)])


def rna_pca(mdata: mudata.MuData, seed: int) -> Result:
    from sailerx.data.rna_pca import rna_pca

    return rna_pca(sp.csr_matrix(mdata["rna"].X), seed), {}


def lsi_20(mdata: mudata.MuData, seed: int) -> Result:
    return _lsi(mdata, 20, seed), {}


def lsi_49(mdata: mudata.MuData, seed: int) -> Result:
    return _lsi(mdata, 49, seed), {}


def concat(mdata: mudata.MuData, seed: int) -> Result:
    """Put RNA PCA and LSI components 2 to 30 side by side, rows of both of unit length."""
    from sailerx.data.rows import unit_rows

    return np.concatenate([unit_rows(rna_pca(mdata, seed)[0]), unit_rows(_lsi(mdata, 29, seed))], axis=1), {}


def default(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    return _fit(mdata, mdata, seed, **options)


def network(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    """Train the default preset; z of the network in place of the joint embedding."""
    return _fit(mdata, mdata, seed, joint_embedding=False, **options)


def paper(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    return _fit(mdata, mdata, seed, preset="paper", **options)


def atac_alone(mdata: mudata.MuData, seed: int, **_: Any) -> Result:
    """Learn from the ATAC alone. As in all controls, the network is not trained: the joint embedding does not depend on it."""
    return _fit(mdata["atac"], mdata["atac"], seed, max_epochs=0)


def shuffled_atac(mdata: mudata.MuData, seed: int, **_: Any) -> Result:
    """Learn with ATAC permuted between cells; labels go with RNA."""
    atac = mdata["atac"].copy()
    atac.X = atac.X[np.random.default_rng(seed).permutation(atac.n_obs)]
    shuffled = mudata.MuData({"rna": mdata["rna"], "atac": atac})
    return _fit(shuffled, shuffled, seed, max_epochs=0)


def unseen(mdata: mudata.MuData, seed: int, **_: Any) -> Result:
    """Learn without the `held_out` cells, then embed all cells from their ATAC alone."""
    return _fit(_without_held_out(mdata, seed), mdata["atac"], seed, max_epochs=0)


def unseen_rna(mdata: mudata.MuData, seed: int, **_: Any) -> Result:
    """Learn without the `held_out` cells, then embed all cells from their RNA and ATAC."""
    return _fit(_without_held_out(mdata, seed), mdata, seed, max_epochs=0)


def _without_held_out(mdata: mudata.MuData, seed: int) -> mudata.MuData:
    seen = ~held_out(mdata.n_obs, seed)
    return mudata.MuData({name: a[seen].copy() for name, a in mdata.mod.items()})


def from_file(mdata: mudata.MuData, seed: int, **options: Any) -> Result:
    """As `network`, with ``backed=True`` and ten shuffle buffers per epoch, of random chunks of 256 cells."""
    from sailerx.data import accessibility

    accessibility.ONES_PER_BUFFER = -(-sp.csr_matrix(mdata["atac"].X).nnz // N_BUFFERS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5mu"
        mdata.write(path)
        return _fit(path, path, seed, backed=True, joint_embedding=False, **options)


def reference(mdata: mudata.MuData, seed: int, checkout: Path) -> Result:
    """Run the published implementation by its own schedule, with the RNA reference of sailerx (PCA)."""
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed)
    g = rna_pca(mdata, seed)[0]
    return published.embed(mdata, g, checkout), {"epochs": published.EPOCHS}


OURS = {
    "default": default,
    "paper": paper,
    "network": network,
    "from_file": from_file,
    "atac_alone": atac_alone,
    "shuffled_atac": shuffled_atac,
    "unseen": unseen,
    "unseen_rna": unseen_rna,
}
METHODS: dict[str, Callable[..., Result]] = {
    **{name: method for name, (method, _) in PEERS.items()},
    "rna_pca": rna_pca,
    "lsi_20": lsi_20,
    "lsi_49": lsi_49,
    "concat": concat,
    "reference": reference,
    **OURS,
}


def _fit(train: Any, embedded: Any, seed: int, **options: Any) -> Result:
    import sailerx

    model = sailerx.fit(train, seed=seed, device="cpu", progress="none", **options)
    return model.embed(embedded), asdict(model.settings)


def _lsi(mdata: mudata.MuData, n_components: int, seed: int) -> np.ndarray:
    from sailerx.data.lsi import lsi

    return lsi(sp.csr_matrix(mdata["atac"].X), n_components, seed)


def import_for(method: str, threads: int) -> None:
    """Import the modules that a method needs, so that its time does not include imports."""
    needs = {name: modules for name, (_, modules) in PEERS.items()} | {"rna_pca": ["sailerx.data.rna_pca"]}
    needs |= dict.fromkeys(("lsi_20", "lsi_49", "concat"), ["sailerx.data.lsi"]) | dict.fromkeys(
        OURS, ["sailerx.api"]
    )
    needs["reference"] = ["torch", "sailerx.data.rna_pca"]
    for module in needs[method]:
        importlib.import_module(module)
    if method in (*OURS, "reference", "peakvi", "multivi"):
        import torch

        torch.set_num_threads(threads)


def save(result: Any, out: Path) -> None:
    """Write an embedding (.npy) or graph (.npz) under a temporary name, then rename."""
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
    parser.add_argument(
        "--reference", type=Path, metavar="DIR", help="checkout of the published implementation"
    )
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    mudata.set_options(pull_on_update=False)
    import_for(given.method, given.threads)
    mdata = mudata.read_h5mu(given.data)
    options: dict[str, Any] = {"max_epochs": given.max_epochs} if given.method in OURS else {}
    if given.method == "reference":
        options["checkout"] = given.reference
    if given.method == "wnn" and given.graph_without:
        column, *values = given.graph_without
        options["graph_cells"] = ~mdata["atac"].obs[column].astype(str).isin(values).to_numpy()
    start, cpu_start = time.perf_counter(), time.process_time()
    result, settings = METHODS[given.method](mdata, given.seed, **options)
    done, cpu_done = settings.pop("done", (time.perf_counter(), time.process_time()))
    save(result, given.out)
    seconds = {"seconds": done - start, "cpu_seconds": cpu_done - cpu_start}
    record = {**seconds, "peak_mb": peak_mb(), "threads": given.threads, "settings": settings}
    given.out.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
