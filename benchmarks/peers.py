"""Embeddings of other tools, by the recipes of their own guides; each function imports its tool when it is called.

They need the environment of requirements-peers.txt. Each takes MuData with modalities `rna` and `atac` (raw counts in X, equal
cells) and a seed, and returns the embedding and a dictionary of settings to record.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mudata
import numpy as np
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


#: name → (function, modules it imports)
PEERS: dict[str, tuple[Callable[..., Result], list[str]]] = {
    "rna_pca_scanpy": (rna_pca_scanpy, ["scanpy"]),
    "wnn": (wnn, ["scanpy", "muon"]),
    "mofa": (mofa, ["scanpy", "muon", "mofapy2"]),
    "schema": (schema, ["scanpy", "muon", "schema"]),
    "peakvi": (peakvi, ["scvi"]),
    "multivi": (multivi, ["scvi"]),
}


def _scvi(model: Any) -> Result:
    """Train an scvi-tools model until its own early stopping, at most `HOURS`."""
    start = time.perf_counter()
    limit = {"seconds": round(HOURS * 3600)}
    model.train(accelerator="cpu", max_time=limit, enable_progress_bar=False)
    was_cut = time.perf_counter() - start > HOURS * 3600
    record = {"epochs": len(model.history["elbo_train"]), "stopped at the limit of time": was_cut}
    return model.get_latent_representation(), record


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
