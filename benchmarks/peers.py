"""Embeddings of other tools, by the recipes of their own guides; each function imports its tool when it is called.

They need the environment of requirements-peers.txt. Each takes MuData with modalities `rna` and `atac` (raw counts in X, equal
cells) and a seed, and returns the embedding and a dictionary of settings to record.
"""

from __future__ import annotations

import _thread
import importlib.util
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp

#: neighbours per cell in WNN's long list, for scores
NEIGHBORS = 100
#: time limit for training a deep model
HOURS = 1.0
N_PEAKS_FOR_MOFA = 5000

Result = tuple[Any, dict[str, Any]]


def rna_pca_scanpy(mdata: mudata.MuData, seed: int) -> Result:
    return _scanpy_pca(mdata, 50, seed).obsm["X_pca"], {}


def wnn(mdata: mudata.MuData, seed: int, graph_cells: np.ndarray | None = None) -> Result:
    """Compute muon's weighted nearest neighbours of RNA PCA 30 and LSI components 2 to 31, both from all cells."""
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


def mofa(mdata: mudata.MuData, seed: int) -> Result:
    """Run MOFA+ on log-normalised RNA and TF-IDF of the 5,000 most frequent peaks, 30 factors."""
    import muon

    rna, atac = _log_normalised(mdata), mdata["atac"].copy()
    frequent = np.argsort(-np.asarray((atac.X > 0).sum(axis=0)).ravel(), kind="stable")[:N_PEAKS_FOR_MOFA]
    muon.atac.pp.tfidf(atac, scale_factor=1e4)
    joint = mudata.MuData({"rna": rna, "atac": atac[:, np.sort(frequent)].copy()})
    options = {"n_factors": 30, "convergence_mode": "fast", "use_float32": True}
    with tempfile.TemporaryDirectory() as folder:
        muon.tl.mofa(joint, use_var=None, seed=seed, outfile=str(Path(folder) / "mofa.h5"), **options)
    return joint.obsm["X_mofa"], options | {"peaks": N_PEAKS_FOR_MOFA}


def schema(mdata: mudata.MuData, seed: int) -> Result:
    """Run Schema: transform log-normalised RNA towards LSI components 2 to 31, at a correlation with RNA of at least 0.99."""
    from schema import SchemaQP

    np.random.seed(seed)  # Schema draws its pairs of cells from it
    rna = np.asarray(sp.csr_matrix(_log_normalised(mdata).X).todense())
    lsi = _muon_lsi(mdata, 30).obsm["X_lsi"]
    options = {"decomposition_model": "pca", "num_top_components": 50}
    return SchemaQP(min_desired_corr=0.99, params=options).fit_transform(
        rna, [lsi], ["feature_vector"]
    ), options


def peakvi(mdata: mudata.MuData, seed: int) -> Result:
    import scvi

    scvi.settings.seed = seed
    atac = mdata["atac"].copy()
    scvi.model.PEAKVI.setup_anndata(atac)
    return _scvi(scvi.model.PEAKVI(atac))


def multivi(mdata: mudata.MuData, seed: int) -> Result:
    import scvi

    scvi.settings.seed = seed
    both = mudata.MuData({name: mdata[name].copy() for name in ("rna", "atac")})
    scvi.model.MULTIVI.setup_mudata(both, modalities={"rna_layer": "rna", "atac_layer": "atac"})
    return _scvi(scvi.model.MULTIVI(both, n_genes=both["rna"].n_vars, n_regions=both["atac"].n_vars))


def glue(mdata: mudata.MuData, seed: int) -> Result:
    """Run GLUE for paired cells, and take the mean of its two embeddings of a cell.

    The guidance graph joins a gene and the peaks within 150 kb of its start, weighted by distance. Starts of mouse genes (mm10) are
    those that celloracle brings along; genes without one are left out.
    """
    import networkx
    import scanpy
    import scglue

    both = {name: mdata[name].copy() for name in ("rna", "atac")}
    starts = _gene_starts_mm10().reindex(both["rna"].var_names)
    both["rna"].var[starts.columns] = starts
    rna = both["rna"] = both["rna"][:, starts["chrom"].notna().to_numpy()].copy()
    for a in both.values():
        a.layers["counts"] = a.X.copy()
        a.var = a.var.rename(columns={"start": "chromStart", "end": "chromEnd"}).astype(
            {"chromStart": int, "chromEnd": int}
        )
    scanpy.pp.highly_variable_genes(
        rna, n_top_genes=min(2000, rna.n_vars), flavor="seurat_v3", layer="counts"
    )
    scanpy.pp.normalize_total(rna)
    scanpy.pp.log1p(rna)
    scanpy.pp.scale(rna)
    scanpy.pp.pca(rna, n_comps=100, random_state=seed)
    scglue.data.lsi(both["atac"], n_components=100, n_iter=15, random_state=seed)
    graph = scglue.genomics.rna_anchored_guidance_graph(rna, both["atac"], extend_range=150_000)
    used = graph.subgraph(a for part in both.values() for a in part.var.query("highly_variable").index)
    for name, rep in (("rna", "X_pca"), ("atac", "X_lsi")):
        scglue.models.configure_dataset(both[name], "NB", use_layer="counts", use_rep=rep, use_obs_names=True)
    was_cut: list[bool] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored in a process in the background

    class Limited(scglue.models.PairedSCGLUEModel):  # type: ignore[misc, name-defined]
        """Ends each of its two trainings after half of `HOURS`, as Ctrl-C ends them."""

        def fit(self, *args: Any, **kwargs: Any) -> None:
            timer = threading.Timer(HOURS * 1800, _thread.interrupt_main)
            timer.start()
            super().fit(*args, **kwargs)
            was_cut.append(not timer.is_alive())
            timer.cancel()

    with tempfile.TemporaryDirectory() as folder:
        settings = {"init_kws": {"random_seed": seed}, "fit_kws": {"directory": folder}}
        model = scglue.models.fit_SCGLUE(both, networkx.MultiDiGraph(used), model=Limited, **settings)
    z = np.mean([model.encode_data(name, a) for name, a in both.items()], axis=0)
    return z, {"genes": rna.n_vars, "stopped at the limit of time": any(was_cut)}


#: name → (function, modules it imports)
PEERS: dict[str, tuple[Callable[..., Result], list[str]]] = {
    "rna_pca_scanpy": (rna_pca_scanpy, ["scanpy"]),
    "wnn": (wnn, ["scanpy", "muon"]),
    "mofa": (mofa, ["scanpy", "muon", "mofapy2"]),
    "schema": (schema, ["scanpy", "muon", "schema"]),
    "peakvi": (peakvi, ["scvi"]),
    "multivi": (multivi, ["scvi"]),
    "glue": (glue, ["scglue", "celloracle"]),
}


def _scvi(model: Any) -> Result:
    """Train an scvi-tools model until its own early stopping, at most `HOURS`."""
    start = time.perf_counter()
    limit = {"seconds": round(HOURS * 3600)}
    model.train(accelerator="cpu", max_time=limit, enable_progress_bar=False)
    was_cut = time.perf_counter() - start > HOURS * 3600
    record = {"epochs": len(model.history["elbo_train"]), "stopped at the limit of time": was_cut}
    return model.get_latent_representation(), record


def _gene_starts_mm10() -> pd.DataFrame:
    """Regions at the starts of mouse genes by name (chrom, start, end, strand), read without importing celloracle."""
    spec = importlib.util.find_spec("celloracle")
    folder = Path(next(iter((spec and spec.submodule_search_locations) or ())))
    table = folder / "motif_analysis" / "tss_ref_data" / "mm10_tss_info.bed"
    columns = ["chrom", "start", "end", "name", "distance", "strand"]
    return (
        pd.read_csv(table, sep="\t", names=columns)
        .drop_duplicates("name")
        .set_index("name")
        .drop(columns="distance")
    )


def _log_normalised(mdata: mudata.MuData) -> Any:
    import scanpy

    rna = mdata["rna"].copy()
    scanpy.pp.normalize_total(rna, target_sum=1e4)
    scanpy.pp.log1p(rna)
    return rna


def _scanpy_pca(mdata: mudata.MuData, n_components: int, seed: int) -> Any:
    import scanpy

    rna = _log_normalised(mdata)
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
    """List the neighbours of each cell by distance, cells × neighbours; −1 pads the rows of cells with fewer."""
    distances = sp.csr_matrix(distances)
    near = np.full((distances.shape[0], int(np.diff(distances.indptr).max())), -1)
    for i, (start, end) in enumerate(zip(distances.indptr, distances.indptr[1:], strict=False)):
        order = np.argsort(distances.data[start:end], kind="stable")
        found = distances.indices[start:end][order]
        near[i, : len(found)] = found
    return near[:, :NEIGHBORS]
