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
import torch

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


#: the cases, and one with another seed that Python alone runs
RUNS = {name: OPTIONS | case for name, case in CASES.items()} | {"another seed": OPTIONS | {"seed": 0}}
Embeddings = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def by_python(file: Path) -> Embeddings:
    """On one thread, as the others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.read(file)
        models = {name: sailerx.fit(mdata, progress="none", **options) for name, options in RUNS.items()}
        cells = mdata["atac"].obs_names
        found = {name: pd.DataFrame(model.embed(mdata), cells) for name, model in models.items()}
    torch.set_num_threads(threads)
    return found


def by_command_line(file: Path, case: dict, folder: Path) -> pd.DataFrame:
    flags = [
        part
        for name, value in (OPTIONS | case).items()
        for part in ("--" + name.replace("_", "-"), *map(str, value if isinstance(value, list) else [value]))
    ]
    command = [sys.executable, "-m", "sailerx", "fit", file, "-o", "run", "--embed", "command.h5ad"]
    run([*command, "--threads", "1", *flags], folder)
    result = anndata.read_h5ad(folder / "command.h5ad")
    return pd.DataFrame(result.obsm["X_sailerx"], result.obs_names)


def r_call(case: dict) -> str:
    """RunSAILERX() with the options as they are typed in R."""
    own = {"reference": "'pca'", "batch": "'batch'", "covariates": "'mito'"} if case else {}
    options = {name: repr(value) for name, value in OPTIONS.items()} | {"threads": "1", "verbose": "FALSE"}
    arguments = {"backend": "backend", "python": f"'{sys.executable}'"} | own | options
    return f"RunSAILERX(object, {', '.join(f'{name} = {value}' for name, value in arguments.items())})"


@pytest.fixture(scope="module")
def by_r(
    file: Path, run_r_in: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Embeddings]:
    """By back-end, through a Seurat object that ReadH5MU() made from the file; one session for all."""
    folder = tmp_path_factory.mktemp("r")
    calls = ", ".join(
        f"{json.dumps(name)} = function(backend) {r_call(case)}" for name, case in CASES.items()
    )
    code = f"""
        library(sailerx)
        object <- ReadH5MU(args[1])
        calls <- list({calls})
        for (backend in c("subprocess", "reticulate")) for (case in names(calls)) {{
          embedding <- SeuratObject::Embeddings(calls[[case]](backend), "sailerx")
          writeLines(rownames(embedding), paste(backend, case, "cells"))
          writeBin(as.vector(t(embedding)), paste(backend, case, "values"))
        }}
        """
    run_r_in(folder, code, file)

    def embedding(backend: str, case: str) -> pd.DataFrame:
        cells = (folder / f"{backend} {case} cells").read_text().split()
        return pd.DataFrame(np.fromfile(folder / f"{backend} {case} values").reshape(len(cells), -1), cells)

    backends = ("subprocess", "reticulate")
    return {backend: {case: embedding(backend, case) for case in CASES} for backend in backends}


def run(command: list[str | Path], folder: Path) -> None:
    answer = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("case", CASES)
def test_python_command_line_and_both_backends_of_r_agree_bit_for_bit(
    file: Path, case: str, by_python: Embeddings, by_r: dict[str, Embeddings], tmp_path: Path
) -> None:
    expected = by_python[case]
    assert len(expected) == 300
    assert by_command_line(file, CASES[case], tmp_path).equals(expected)
    for backend, found in by_r.items():
        np.testing.assert_array_equal(
            found[case].loc[expected.index].to_numpy(), expected.to_numpy(), err_msg=backend
        )


def test_another_seed_gives_another_embedding(by_python: Embeddings) -> None:
    one, other = by_python["reference by PCA"], by_python["another seed"]
    assert np.abs(one - other).to_numpy().max() > 0.01
