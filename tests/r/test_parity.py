"""One file, one seed and one thread count give the same embedding through every face of the program."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest

import sailerx
from data import write
from sailerx.data.rna_pca import rna_pca

pytestmark = pytest.mark.r

#: the run: reference and confounders in each case, beside the options below
CASES = {
    "reference from the object": {
        "rna_embedding": "X_pca",
        "batch_key": ["batch"],
        "continuous_key": ["mito"],
    },
    "reference by PCA": {},
}
OPTIONS = {"max_epochs": 3, "n_latent": 6, "seed": 3, "device": "cpu"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 simulated cells with a reference and a continuous covariate."""
    path = tmp_path_factory.mktemp("parity") / "data.h5mu"
    mdata = sailerx.simulate(300, 400, 600, 4, seed=1)
    rna = mdata["rna"]
    rna.obsm["X_pca"] = rna_pca(rna.X)
    mito = np.random.default_rng(0).random(rna.n_obs)
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({name: mdata[name] for name in ("rna", "atac")})
        mdata.obs["batch"] = rna.obs["batch"].reindex(mdata.obs_names)
        mdata.obs["mito"] = pd.Series(mito, rna.obs_names).reindex(mdata.obs_names)
        for modality in mdata.mod.values():
            modality.obs = modality.obs[["cell_type"]]
            modality.uns.clear()
    return write(mdata, path)


def by_python(file: Path, case: dict, folder: Path) -> pd.DataFrame:
    script = (
        "import sys, json, mudata, torch, pandas, sailerx\n"
        "torch.set_num_threads(1)\n"
        "mudata.set_options(pull_on_update=False)\n"
        "mdata = mudata.read(sys.argv[1])\n"
        "model = sailerx.fit(mdata, progress='none', **json.loads(sys.argv[2]))\n"
        "pandas.DataFrame(model.embed(mdata), mdata['atac'].obs_names).to_pickle(sys.argv[3])\n"
    )
    out = folder / "python.pkl"
    run([sys.executable, "-c", script, file, json.dumps(OPTIONS | case), out])
    return pd.read_pickle(out)


def by_command_line(file: Path, case: dict, folder: Path) -> pd.DataFrame:
    flags = [
        part
        for name, value in (OPTIONS | case).items()
        for part in ("--" + name.replace("_", "-"), *map(str, value if isinstance(value, list) else [value]))
    ]
    out = folder / "command.h5ad"
    run(
        [
            sys.executable,
            "-m",
            "sailerx",
            "fit",
            file,
            "-o",
            folder / "run",
            "--embed",
            out,
            "--threads",
            "1",
            *flags,
        ]
    )
    result = anndata.read_h5ad(out)
    return pd.DataFrame(result.obsm["X_sailerx"], result.obs_names)


def by_r(backend: str, file: Path, case: dict, run_r: Callable[..., str], folder: Path) -> pd.DataFrame:
    """Through a Seurat object that ReadH5MU() made from the file."""
    arguments = {
        "backend": f"'{backend}'",
        "python": f"'{sys.executable}'",
    }
    if case:
        arguments |= {"reference": "'pca'", "batch": "'batch'", "covariates": "'mito'"}
    options = {name: repr(value) for name, value in OPTIONS.items()} | {"threads": "1", "verbose": "FALSE"}
    call = ", ".join(f"{name} = {value}" for name, value in (arguments | options).items())
    run_r(
        f"""
        library(sailerx)
        object <- ReadH5MU(args[1])
        object <- RunSAILERX(object, {call})
        embedding <- SeuratObject::Embeddings(object, "sailerx")
        writeLines(rownames(embedding), args[3])
        writeBin(as.vector(t(embedding)), args[2])
        """,
        file,
        folder / "values",
        folder / "cells",
    )
    cells = (folder / "cells").read_text().split()
    return pd.DataFrame(np.fromfile(folder / "values").reshape(len(cells), -1), cells)


def run(command: list[str | Path]) -> None:
    answer = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_python_command_line_and_both_backends_of_r_agree_bit_for_bit(
    file: Path, case: dict, run_r: Callable[..., str], tmp_path: Path
) -> None:
    expected = by_python(file, case, tmp_path)
    assert expected.shape == (300, OPTIONS["n_latent"])
    assert by_command_line(file, case, tmp_path).equals(expected)
    for backend in ("subprocess", "reticulate"):
        found = by_r(backend, file, case, run_r, tmp_path)
        np.testing.assert_array_equal(
            found.loc[expected.index].to_numpy(), expected.to_numpy(), err_msg=backend
        )


def test_another_seed_gives_another_embedding(file: Path, tmp_path: Path) -> None:
    one, other = (by_python(file, {"seed": seed}, tmp_path) for seed in (0, 1))
    assert np.abs(one - other).to_numpy().max() > 0.01
