"""Each verb across languages, by rpy2: R on objects and models made in Python, Python on those made in R."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from mudata import MuData

import sailerx
from data import TINY, paired, together
from sailerx_bridge import read_seurat, write_seurat

pytestmark = pytest.mark.r

OPTIONS = TINY | {"seed": 1, "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def first_cells(mdata: MuData, cells: slice) -> MuData:
    names = mdata["atac"].obs_names[cells]
    return together(**{name: part[part.obs_names.isin(names)].copy() for name, part in mdata.mod.items()})


def moved(atac: AnnData, by: int) -> AnnData:
    """The same counts on peaks that lie some bases further."""
    atac = atac.copy()
    atac.var[["start", "end"]] += by
    atac.var_names = [f"{row.chrom}:{row.start}-{row.end}" for row in atac.var.itertuples()]
    return atac


def r_text(path: Path) -> str:
    return json.dumps(str(path))


def frame(r: Any, code: str) -> pd.DataFrame:
    """A data frame or matrix of R by the names of its rows and columns."""
    value = r.run(f"as.data.frame(as.matrix({code}))")
    return pd.DataFrame({name: list(value.rx2(name)) for name in value.names}, index=list(value.rownames))


def r_options() -> str:
    """The options as they are typed in R."""
    texts = {
        name: str(value).upper() if isinstance(value, bool) else value for name, value in OPTIONS.items()
    }
    texts["device"] = "'cpu'"
    return ", ".join(f"{name} = {text}" for name, text in texts.items()) + ", threads = 1, verbose = FALSE"


def test_r_uses_the_object_and_the_model_that_python_made(r: Any, tmp_path: Path) -> None:
    whole = paired()
    known, new = first_cells(whole, slice(0, 40)), first_cells(whole, slice(40, 60))
    model = sailerx.fit(known, batch_key="batch", progress="none", **OPTIONS)
    model.save(tmp_path / "model")
    known["atac"].obsm["X_sailerx"] = model.embed(known)
    elsewhere = together(atac=moved(new["atac"], 30))
    for name, mdata in {"known": known, "new": new, "elsewhere": elsewhere}.items():
        write_seurat(mdata, tmp_path / f"{name}.rds")
        r.run(f"{name} <- readRDS({r_text(tmp_path / f'{name}.rds')})")
    common = f"model = {r_text(tmp_path / 'model')}, threads = 1, verbose = FALSE"

    np.testing.assert_array_equal(frame(r, 'Embeddings(known, "sailerx")'), known["atac"].obsm["X_sailerx"])
    r.run(f"mapped <- sailerx::MapSAILERX(known, new, {common})")
    np.testing.assert_array_equal(frame(r, 'Embeddings(mapped, "sailerx")'), model.embed(new["atac"]))
    r.run(f"mapped <- sailerx::MapSAILERX(known, elsewhere, {common})")
    np.testing.assert_array_equal(frame(r, 'Embeddings(mapped, "sailerx")'), model.embed(new["atac"]))
    r.run(f'mapped <- sailerx::MapSAILERX(known, new, query.rna = "RNA", {common})')
    np.testing.assert_allclose(frame(r, 'Embeddings(mapped, "sailerx")'), model.embed(new), atol=1e-6)

    means = frame(r, f'sailerx::ImputeSAILERX(known, regions = "chr2", group.by = "cell_type", {common})')
    expected = model.impute(known, regions="chr2", group_by="cell_type")
    assert expected is not None
    np.testing.assert_allclose(means[expected.obs_names], expected.to_df().T, rtol=1e-6)

    markers = f'sailerx::FindMarkersSAILERX(known, "A1", "A2", group.by = "cell_type", {common})'
    table = model.differential_accessibility(known, "cell_type", "A1", "A2")
    found = frame(r, f'{markers}[c("probability", "avg_log2FC", "fdr", "end")]')
    np.testing.assert_allclose(
        found, table[["probability", "log2_fold_change", "fdr", "end"]], rtol=1e-5, atol=1e-9
    )

    r.run("matched <- sailerx::MatchPeaksSAILERX(elsewhere, known, verbose = FALSE)")
    on_peaks = sailerx.match_peaks(elsewhere["atac"], known["atac"])
    np.testing.assert_array_equal(
        frame(r, 'LayerData(matched[["matched"]], "counts")').T, on_peaks.X.toarray()
    )


# Imputed peaks are named like the peaks.
@pytest.mark.filterwarnings("ignore:var_names are not unique:UserWarning")
def test_python_uses_the_object_and_the_model_that_r_made(r: Any, tmp_path: Path) -> None:
    whole = paired()
    both, alone = first_cells(whole, slice(0, 40)), together(atac=whole["atac"][40:].copy())
    for name, mdata in {"both": both, "alone": alone}.items():
        write_seurat(mdata, tmp_path / f"{name}.rds")
        r.run(f"{name} <- readRDS({r_text(tmp_path / f'{name}.rds')})")
    r.run(
        f'result <- sailerx::RunSAILERX(both, unpaired = alone, batch = "batch", keep = {r_text(tmp_path / "kept")}, '
        f"{r_options()})"
    )
    r.run(
        'result$object <- sailerx::ImputeSAILERX(result$object, regions = "chr2", threads = 1, verbose = FALSE)'
    )
    history = frame(r, 'sailerx::sailerx_history(result$object)[c("epoch", "loss")]')
    for name in ("object", "unpaired"):
        r.run(f"saveRDS(result${name}, {r_text(tmp_path / name)})")

    model = sailerx.load(tmp_path / "kept" / "run")
    np.testing.assert_allclose(history, model.history[["epoch", "loss"]], rtol=1e-12)
    for name in ("object", "unpaired"):
        back = read_seurat(tmp_path / name)
        np.testing.assert_allclose(model.embed(back), back["atac"].obsm["X_sailerx"], atol=1e-6)
    back = read_seurat(tmp_path / "object")
    imputed = back["imputed"]
    values = model.impute(back, regions="chr2")
    assert values is not None
    np.testing.assert_allclose(
        imputed.layers["data"].toarray() if "data" in imputed.layers else imputed.X.toarray(),
        values[imputed.obs_names].X,
        rtol=1e-6,
    )
