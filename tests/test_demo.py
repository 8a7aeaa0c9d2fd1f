"""The demo writes what it says, from Python and from R."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sailerx
from data import files_below, paired, write
from sailerx import demo

TINY = {"n_cells": 150, "n_peaks": 300, "max_epochs": 2}
WRITTEN = {"demo.h5mu", "losses.png", "scores.csv", "umap.png"}
DEMO_R = Path(__file__).resolve().parent.parent / "rpkg" / "inst" / "scripts" / "demo.R"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, demo.run_demo(folder, **TINY)


def test_demo_writes_data_model_figures_and_scores(finished):
    folder, table = finished
    assert {path.name for path in folder.iterdir()} == WRITTEN | {"model"}
    for name in ("umap.png", "losses.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    read = pd.read_csv(folder / "scores.csv", index_col=0)
    assert list(read.index) == ["RNA PCA", "ATAC LSI", "SAILERX"]
    np.testing.assert_allclose(read["nmi"], table["nmi"].astype(float), atol=5.1e-4)
    assert {"ari", "nmi", "depth_leakage", "batch_leakage"} <= set(read)


def test_demo_file_holds_the_embedding_of_its_model(finished):
    folder, _ = finished
    mdata = sailerx.read(folder / "demo.h5mu")
    embedded = sailerx.load(folder / "model").embed(mdata)
    np.testing.assert_allclose(mdata["atac"].obsm["X_sailerx"], embedded, atol=1e-6)
    assert mdata["rna"].obsm["X_pca"].shape == (150, 50)
    assert mdata["atac"].obs["cluster"].notna().all()


def test_demo_can_be_run_again_into_its_folder(finished):
    folder, _ = finished
    demo.run_demo(folder, **TINY)
    assert {path.name for path in folder.iterdir()} == WRITTEN | {"model"}


def test_scores_of_a_file_are_those_of_the_demo(finished, capsys, tmp_path: Path):
    folder, table = finished
    arguments = [
        str(folder / "demo.h5mu"),
        "--labels",
        "subtype",
        "--within",
        "cell_type",
        "--batch",
        "batch",
    ]
    assert demo.main([*arguments, "-o", str(tmp_path / "again.csv")]) == 0
    again = pd.read_csv(tmp_path / "again.csv", index_col=0)
    for name in ("nmi", "within"):
        np.testing.assert_allclose(again[name], table[name].astype(float), atol=5.1e-4)
    assert "SAILERX" in capsys.readouterr().out


def test_demo_on_a_file_takes_its_columns(tmp_path: Path):
    mdata = paired(n_cells=120)
    for name in mdata.mod:
        mdata[name].obs = mdata[name].obs[["cell_type"]].rename(columns={"cell_type": "kind"})
    mdata.obs = mdata["rna"].obs.iloc[:, :0]
    path = write(mdata, tmp_path / "x.h5mu")
    table = demo.run_demo(tmp_path / "out", path, "kind", max_epochs=2, drop=["B1"])
    assert "batch_leakage" not in table
    assert table.loc["SAILERX", "nmi"] >= 0


def test_demo_without_labels_draws_and_does_not_score(tmp_path: Path, capsys):
    mdata = paired(n_cells=80)
    for name in mdata.mod:
        mdata[name].obs = mdata[name].obs[["batch"]]
    mdata.obs = mdata["rna"].obs.iloc[:, :0]
    table = demo.run_demo(tmp_path / "out", write(mdata, tmp_path / "x.h5mu"), max_epochs=2)
    assert table.empty
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN - {"scores.csv"} | {"model"}
    assert "No labels" in capsys.readouterr().out


def test_an_unknown_column_leaves_nothing(tmp_path: Path):
    path = write(paired(), tmp_path / "x.h5mu")
    with pytest.raises(sailerx.InputError, match="`labels` must be a column of obs: there is no 'nope'"):
        demo.run_demo(tmp_path / "out", path, "nope")
    assert files_below(tmp_path) == {"x.h5mu"}


def test_scoring_a_file_without_embedding_is_refused(tmp_path: Path, capsys):
    path = write(paired(), tmp_path / "x.h5mu")
    assert demo.main([str(path), "--labels", "cell_type"]) == 2
    assert capsys.readouterr().err.startswith(
        "sailerx: error: The modality 'atac' must hold obsm 'X_sailerx'"
    )


@pytest.mark.r
def test_demo_in_r_writes_object_figures_and_scores(run_r, tmp_path: Path):
    sailerx.simulate_to_file(tmp_path / "in.h5mu", 150, 300, 400, 3)
    printed = run_r(
        """
        status <- system2(file.path(R.home("bin"), "Rscript"), shQuote(args))
        stopifnot(status == 0)
        object <- readRDS("out/demo.rds")
        cat(class(object), dim(object[["sailerx"]]), nlevels(object$seurat_clusters) > 1)
        """,
        DEMO_R,
        tmp_path / "out",
        tmp_path / "in.h5mu",
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN | {"demo.rds"}
    assert re.search(r"Seurat 150 [345][0-9] TRUE", printed)  # the reference, and scores if they count
    table = pd.read_csv(tmp_path / "out" / "scores.csv", index_col=0)
    assert list(table.index) == ["RNA PCA", "ATAC LSI", "SAILERX"]
    assert table[["nmi", "batch_leakage", "depth_leakage"]].notna().all(axis=None)
