"""What hybrid training and a trained model give through R is what they give through Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import sailerx
from data import paired, together, write
from sailerx import cli

pytestmark = pytest.mark.r

OPTIONS = {"max_epochs": 2, "n_latent": 5, "seed": 3, "device": "cpu"}

R = """
library(sailerx)
threads <- as.integer(args[2])
backend <- "reticulate" # test_both_ways.py does the same by subprocesses
read <- function(file) ReadH5MU(file.path(args[1], file), verbose = FALSE)
save <- function(table, name) write.csv(as.data.frame(table), file.path(args[1], paste0(name, ".csv")))

result <- suppressWarnings(RunSAILERX(
  read("both.h5mu"), unpaired = list(alone = read("alone.h5mu")), batch = "batch", keep = file.path(args[1], "kept"),
  max_epochs = 2, n_latent = 5, seed = 3, device = "cpu", threads = threads, backend = backend, verbose = FALSE
))
save(SeuratObject::Embeddings(result$object, "sailerx"), "paired")
save(SeuratObject::Embeddings(result$unpaired$alone, "sailerx"), "alone")

object <- ImputeSAILERX(result$object, regions = "chr2", threads = threads, backend = backend, verbose = FALSE)
save(as.matrix(SeuratObject::LayerData(object, assay = "imputed", layer = "data")), "imputed")
markers <- FindMarkersSAILERX(
  object, "A1", "A2", group.by = "cell_type", threads = threads, backend = backend, verbose = FALSE
)
save(markers, "markers")

query <- TransferSAILERX(
  result$object, read("alone.h5mu"), labels = "cell_type", assay.name = "predicted", n_neighbors = 9, threads = threads,
  backend = backend, verbose = FALSE
)
save(query[[c("sailerx_label", "sailerx_confidence", "sailerx_best_label", "sailerx_typicality")]], "labels")
save(as.matrix(SeuratObject::LayerData(query, assay = "predicted", layer = "data")), "predicted")
"""


def test_hybrid_embeddings_imputed_values_markers_and_labels_agree(
    run_r: Callable[..., str], tmp_path: Path
) -> None:
    whole = paired(n_cells=100)
    cells = whole["atac"].obs_names
    both = together(
        **{name: part[part.obs_names.isin(cells[:60])].copy() for name, part in whole.mod.items()}
    )
    alone = whole["atac"][cells[60:]].copy()
    write(both, tmp_path / "both.h5mu")
    write(together(atac=alone), tmp_path / "alone.h5mu")
    run_r(R, tmp_path, str(torch.get_num_threads()))

    mdata = sailerx.combine({"paired": both}, {"alone": alone})
    trained = sailerx.fit(mdata, batch_key="batch", progress="none", **OPTIONS)
    expected = pd.DataFrame(trained.embed(mdata), mdata["atac"].obs_names)
    found = pd.concat([table(tmp_path, name) for name in ("paired", "alone")])
    np.testing.assert_array_equal(found.loc[expected.index].to_numpy(np.float32), expected.to_numpy())

    model = sailerx.load(tmp_path / "kept" / "run")
    imputed = model.impute(both, regions="chr2")
    assert imputed is not None
    known = both["atac"].var_names
    by_peak = imputed[:, known[known.isin(imputed.var_names)]].to_df().T
    np.testing.assert_allclose(table(tmp_path, "imputed")[by_peak.columns], by_peak, rtol=1e-6)

    markers = model.differential_accessibility(both, "cell_type", "A1", "A2")
    in_r = table(tmp_path, "markers")
    for name, column in {
        "probability": "probability",
        "avg_log2FC": "log2_fold_change",
        "fdr": "fdr",
    }.items():
        np.testing.assert_allclose(in_r[name], markers[column], rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(in_r["end"], markers["end"])
    n_cells = (both["atac"].obs["cell_type"] == "A1").sum()
    np.testing.assert_allclose(in_r["pct.1"] * n_cells, markers["open_1"])

    labels = model.transfer_labels(both, alone, "cell_type").drop(columns="has_rna").add_prefix("sailerx_")
    rna = model.predict_rna(both, alone, n_neighbors=9).to_df()
    by_command = by_command_line(tmp_path)
    pd.testing.assert_frame_equal(by_command.obs[labels.columns], labels, check_categorical=False)
    np.testing.assert_array_equal(by_command.to_df(), rna)
    in_r = table(tmp_path, "labels").loc[labels.index]
    for name in ("sailerx_label", "sailerx_best_label"):
        assert in_r[name].tolist() == labels[name].tolist()
    for name in ("sailerx_confidence", "sailerx_typicality"):
        np.testing.assert_allclose(in_r[name], labels[name], rtol=1e-5)
    np.testing.assert_allclose(table(tmp_path, "predicted").T.loc[rna.index, rna.columns], rna, rtol=1e-5)


def by_command_line(folder: Path) -> anndata.AnnData:
    """Labels and RNA as ``sailerx transfer`` writes them."""
    files = [str(folder / name) for name in ("kept/run", "both.h5mu", "alone.h5mu")]
    out = str(folder / "transferred.h5ad")
    assert (
        cli.main(["transfer", *files, "-o", out, "--labels", "cell_type", "--rna", "--n-neighbors", "9"]) == 0
    )
    return anndata.read_h5ad(out)


def table(folder: Path, name: str) -> pd.DataFrame:
    """What R saved, by its row names."""
    return pd.read_csv(folder / f"{name}.csv", index_col=0)
