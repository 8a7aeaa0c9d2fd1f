"""Imputed accessibility: the values, what can be asked for, and results larger than memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from cost import peak_mb

import sailerx
from data import TINY, files_below, paired, with_part, write
from sailerx import InputError
from sailerx.cli import main
from sailerx.config import make_settings
from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.confounders import Confounders
from sailerx.data.counts import to_csr
from sailerx.files import result_writer
from sailerx.network.vae import VAE
from sailerx.results import embed, impute, selection
from test_stream import STABLE

MDATA = paired()


@pytest.fixture(scope="module")
def model() -> sailerx.Model:
    return sailerx.fit(MDATA, batch_key="batch", progress="none", **TINY)


@pytest.fixture(scope="module")
def whole(model: sailerx.Model) -> np.ndarray:
    return model.impute(MDATA).X


def decoded(model: sailerx.Model, depth: float, batch: Sequence[float]) -> np.ndarray:
    """Sigmoid of the logits at the posterior mean, with c written out by hand: a weight for each batch."""
    x = PeaksInMemory.of(to_csr(MDATA["atac"][:, model.peaks.index].X))
    standard = (np.log(depth) - model.confounders.depth.mean) / model.confounders.depth.std
    c = torch.tensor([[standard, *batch]], dtype=torch.float32)
    with torch.no_grad():
        mean = torch.from_numpy(embed.posterior(model.vae, x)[0])
        return torch.sigmoid(model.vae.decode(mean, c.expand(60, -1))).numpy()


# Values


def test_values_are_the_decoders_at_one_depth_and_batch(model: sailerx.Model) -> None:
    result = model.impute(MDATA, depth=12.0, batch="batch2")
    np.testing.assert_allclose(result.X, decoded(model, 12.0, [0, 1, 0]), rtol=1e-5)
    assert result.X.dtype == np.float32
    assert list(result.obs_names) == list(MDATA["atac"].obs_names)
    pd.testing.assert_frame_equal(result.var, model.peaks, check_names=False)
    pd.testing.assert_frame_equal(result.obs, MDATA["atac"].obs)


def test_default_is_the_mean_depth_half_way_between_batches(model: sailerx.Model, whole: np.ndarray) -> None:
    depth = float(np.exp(np.log(np.diff(MDATA["atac"].X.indptr)).mean()))
    np.testing.assert_allclose(whole, decoded(model, depth, [1 / 3] * 3), rtol=1e-4)


def test_levels_are_chosen_by_column_where_there_are_several(model: sailerx.Model) -> None:
    by_name = model.impute(MDATA, batch={"batch": "batch3"}).X
    np.testing.assert_array_equal(by_name, model.impute(MDATA, batch="batch3").X)
    two = sailerx.fit(MDATA, batch_key=["batch", "lineage"], progress="none", **TINY)
    open_lineage = selection.neutral_confounders(two.confounders, None, "batch1")
    np.testing.assert_array_equal(open_lineage, np.float32([0, 1, 0, 0, 0.5, 0.5]))
    both = selection.neutral_confounders(two.confounders, None, {"batch": "batch2", "lineage": "B"})
    np.testing.assert_array_equal(both, np.float32([0, 0, 1, 0, 0, 1]))
    assert not np.allclose(two.impute(MDATA, batch={"lineage": "A"}).X, two.impute(MDATA, batch="B").X)


def test_continuous_confounders_are_at_their_mean() -> None:
    obs = pd.DataFrame({"pct": [1.0, 2.0, 6.0]})
    confounders = Confounders.learn(np.array([10.0, 20.0, 40.0]), obs, [], ["pct"])
    np.testing.assert_allclose(selection.neutral_confounders(confounders, 20.0, None), [0, 0], atol=1e-6)


def test_imputing_needs_no_batch_column(model: sailerx.Model, whole: np.ndarray) -> None:
    a = MDATA["atac"]
    bare = ad.AnnData(a.X, pd.DataFrame(index=a.obs_names), a.var)
    np.testing.assert_array_equal(model.impute(bare).X, whole)


def test_samples_are_drawn_from_the_posterior_by_the_seed(model: sailerx.Model) -> None:
    result = model.impute(MDATA, batch="batch1", samples=4, seed=3)
    x = PeaksInMemory.of(to_csr(MDATA["atac"][:, model.peaks.index].X))
    mean, std = embed.posterior(model.vae, x)
    z = mean[:, None] + std[:, None] * np.random.default_rng(3).standard_normal((60, 4, 5), np.float32)
    c = torch.tensor([[0.0, 1, 0, 0]]).expand(60, -1)
    with torch.no_grad():
        p = np.array(
            [torch.sigmoid(model.vae.decode(torch.from_numpy(z[:, s]), c)).numpy() for s in range(4)]
        )
    np.testing.assert_allclose(result.X, p.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(result.layers["std"], p.std(axis=0), rtol=1e-3, atol=1e-6)
    assert not np.array_equal(model.impute(MDATA, batch="batch1", samples=4, seed=4).X, result.X)


def test_group_means_are_means_over_cells_and_their_deviation_shrinks(model: sailerx.Model) -> None:
    cells = model.impute(MDATA, samples=3)
    groups = model.impute(MDATA, samples=3, group_by="cell_type")
    codes = MDATA["atac"].obs["cell_type"]
    assert list(groups.obs_names) == ["A1", "A2", "B1"]
    assert groups.obs["n_cells"].to_dict() == codes.value_counts().to_dict()
    for i, name in enumerate(groups.obs_names):
        of_group = (codes == name).to_numpy()
        np.testing.assert_allclose(groups.X[i], cells.X[of_group].mean(axis=0), rtol=1e-5)
        variance = (cells.layers["std"][of_group] ** 2).sum(axis=0) / of_group.sum() ** 2
        np.testing.assert_allclose(groups.layers["std"][i], np.sqrt(variance), rtol=1e-4)


def test_pieces_do_not_change_the_result(model: sailerx.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"samples": 3, "group_by": "cell_type"}
    cells, groups = model.impute(MDATA, samples=3), model.impute(MDATA, **arguments)
    monkeypatch.setattr(impute, "_CELLS_READ", 16)
    monkeypatch.setattr(impute, "_VALUES_AT_ONCE", 90 * 4)
    again = model.impute(MDATA, samples=3)
    for name in (None, "std"):
        np.testing.assert_allclose(
            again.layers[name] if name else again.X,
            cells.layers[name] if name else cells.X,
            rtol=1e-3,
            atol=1e-6,
        )
    np.testing.assert_allclose(model.impute(MDATA, **arguments).X, groups.X, rtol=1e-4)


# Choosing


def test_peaks_come_in_the_order_asked_under_any_form_of_their_name(
    model: sailerx.Model, whole: np.ndarray
) -> None:
    place = [70, 3, 41]
    names = list(model.peaks.index[place])
    asked = [names[0].replace(":", "-"), names[1], names[2].replace(":", "_").replace("-", "_")]
    result = model.impute(MDATA, peaks=asked)
    assert list(result.var_names) == names
    np.testing.assert_allclose(result.X, whole[:, place], rtol=1e-5)
    assert list(model.impute(MDATA, peaks=names[1]).var_names) == names[1:2]


def test_regions_take_every_peak_that_overlaps(model: sailerx.Model, whole: np.ndarray) -> None:
    table = model.peaks
    first = table[table["chrom"] == "chr2"].sort_values("start").iloc[[2, 5]]
    start, end = int(first["end"].iloc[0]) - 1, int(first["start"].iloc[1]) + 1
    expected = [
        i
        for i, (chrom, a, b) in enumerate(table.itertuples(index=False))
        if chrom == "chr2" and a < end and b > start
    ]
    result = model.impute(MDATA, regions=f"chr2:{start:,}-{end}")
    assert list(result.var_names) == list(table.index[expected])
    assert len(expected) == 4
    np.testing.assert_allclose(result.X, whole[:, expected], rtol=1e-5)
    beside = model.impute(MDATA, regions=f"chr2:{start + 1}-{end - 1}")
    assert len(beside.var) == 2


def test_chromosomes_are_regions_and_peaks_may_stand_beside_them(model: sailerx.Model) -> None:
    first = model.peaks.index[60]
    result = model.impute(MDATA, peaks=[first], regions=["chr3", "chr3:0-1000000"])
    of_chrom = list(model.peaks.index[model.peaks["chrom"] == "chr3"])
    assert list(result.var_names) == list(dict.fromkeys([first, *of_chrom]))


def test_cells_come_in_the_order_asked(model: sailerx.Model, whole: np.ndarray) -> None:
    names = MDATA["atac"].obs_names
    result = model.impute(MDATA, cells=list(names[[50, 2]]), peaks=model.peaks.index[:7])
    assert list(result.obs_names) == list(names[[50, 2]])
    np.testing.assert_allclose(result.X, whole[[50, 2], :7], rtol=1e-4)
    mask = (MDATA["atac"].obs["cell_type"] == "B1").to_numpy()
    np.testing.assert_allclose(model.impute(MDATA, cells=mask).X, whole[mask], rtol=1e-4)


def test_threshold_keeps_what_exceeds_it(model: sailerx.Model, whole: np.ndarray) -> None:
    result = model.impute(MDATA, threshold=0.3).X
    assert sp.isspmatrix_csr(result)
    np.testing.assert_allclose(result.toarray(), np.where(whole > 0.3, whole, 0), rtol=1e-5)
    assert 0 < result.nnz < whole.size
    both = model.impute(MDATA, threshold=0.3, samples=2)
    np.testing.assert_array_equal(both.layers["std"].indices, both.X.indices)


# Disk


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
@pytest.mark.parametrize(
    "arguments", [{}, {"samples": 2}, {"threshold": 0.3, "samples": 2}, {"group_by": "cell_type"}], ids=str
)
def test_what_is_on_disk_is_what_would_be_in_memory(
    model: sailerx.Model, tmp_path: Path, ending: str, arguments: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr(impute, "_VALUES_AT_ONCE", 90 * 4)
    path = tmp_path / f"ü out.{ending}"
    assert model.impute(MDATA, out=path, **arguments) is None
    found = ad.read_h5ad(path) if ending == "h5ad" else ad.read_zarr(path)
    expected = model.impute(MDATA, **arguments)
    for a, b in [(found.X, expected.X), *((found.layers[k], expected.layers[k]) for k in expected.layers)]:
        assert sp.issparse(a) == sp.issparse(b)
        a, b = (m.toarray() if sp.issparse(m) else m for m in (a, b))
        np.testing.assert_array_equal(a, b)
    assert list(found.layers) == list(expected.layers)
    pd.testing.assert_frame_equal(found.var, expected.var, check_categorical=False, check_dtype=False)
    assert list(found.obs_names) == list(expected.obs_names)
    assert found.uns["sailerx"] == expected.uns["sailerx"]
    assert [path.name for path in tmp_path.iterdir()] == [f"ü out.{ending}"]


def test_files_hold_the_old_stable_encodings_and_open_lazily(
    model: sailerx.Model, whole: np.ndarray, tmp_path: Path
) -> None:
    model.impute(MDATA, out=tmp_path / "x.h5ad", samples=2)
    model.impute(MDATA, out=tmp_path / "s.h5ad", threshold=0.1)
    found = set()
    for name in ("x", "s"):
        with h5py.File(tmp_path / f"{name}.h5ad") as file:
            file.visititems(
                lambda _, item: found.add(tuple(item.attrs.get(f"encoding-{k}") for k in ("type", "version")))
            )
    assert found - {(None, None)} <= STABLE | {("string", "0.2.0")}
    lazy = ad.read_h5ad(tmp_path / "x.h5ad", backed="r")
    assert isinstance(lazy.X, h5py.Dataset)
    assert lazy.X[3:5].shape == (2, 90)
    lazy.file.close()


def test_metadata_of_every_kind_reaches_the_disk(model: sailerx.Model, tmp_path: Path) -> None:
    a = MDATA["atac"].copy()
    a.obs = pd.DataFrame(
        {
            "text": ["é", None] * 30,
            "flag": [True, False] * 30,
            "count": pd.array([1, None] * 30, dtype="Int64"),
            "bin": pd.cut(pd.Series(range(60)), 2).to_numpy(),
            "when": pd.Timestamp("2020-01-01"),
            "n": 1.5,
        },
        index=a.obs_names,
    )
    model.impute(a, out=tmp_path / "x.h5ad")
    obs = ad.read_h5ad(tmp_path / "x.h5ad").obs
    assert list(obs) == list(a.obs)
    assert obs["text"].astype(object).where(obs["text"].notna(), None).tolist() == ["é", None] * 30
    assert obs["flag"].tolist() == [True, False] * 30
    np.testing.assert_array_equal(obs["count"], [1, np.nan] * 30)
    assert obs["bin"].nunique() == 2
    assert obs["when"].astype(str).str.startswith("2020-01-01").all()


def test_an_error_leaves_what_was_there(
    model: sailerx.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impute, "_VALUES_AT_ONCE", 90 * 16)
    (tmp_path / "x.h5ad").write_text("old", encoding="utf-8")
    decode, calls = VAE.decode, []

    def fail(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 2:
            raise OSError("disk full")
        return decode(*arguments)

    monkeypatch.setattr(VAE, "decode", fail)
    for name in ("x.h5ad", "y.zarr"):
        calls.clear()
        with pytest.raises(OSError, match="disk full"):
            model.impute(MDATA, out=tmp_path / name)
    assert files_below(tmp_path) == {"x.h5ad"}
    assert (tmp_path / "x.h5ad").read_text(encoding="utf-8") == "old"


def test_backed_input_is_read_some_cells_at_a_time(
    model: sailerx.Model, whole: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impute, "_CELLS_READ", 16)
    MDATA["atac"].write_h5ad(tmp_path / "atac.h5ad")
    backed = ad.read_h5ad(tmp_path / "atac.h5ad", backed="r")
    np.testing.assert_allclose(model.impute(backed).X, whole, rtol=1e-4)
    cells = backed.obs_names[[50, 2, 30]]
    np.testing.assert_allclose(model.impute(backed, cells=cells).X, whole[[50, 2, 30]], rtol=1e-4)
    backed.file.close()
    with mudata.set_options(pull_on_update=False):
        both = mudata.read_h5mu(write(MDATA, tmp_path / "in.h5mu"), backed="r")
    by_type = model.impute(both, group_by="cell_type").X
    np.testing.assert_allclose(by_type, model.impute(MDATA, group_by="cell_type").X, rtol=1e-4)
    both.file.close()


def test_missing_peaks_are_warned_of_once(model: sailerx.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impute, "_CELLS_READ", 16)
    with pytest.warns(UserWarning, match="10 of the model's 90 peaks") as caught:
        model.impute(MDATA["atac"][:, 10:].copy())
    assert len(caught) == 1


# What is refused


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"peaks": ["chr1:1-2", "gene"]}, "does not know 2 of 2 `peaks`, first 'chr1:1-2'"),
        ({"peaks": []}, "name no peak"),
        ({"regions": "chr1:1-5"}, "no peak of the model lies in region 'chr1:1-5': chr1 has .* peaks from"),
        ({"regions": "chr9:1-5"}, "lies in region 'chr9:1-5': chromosomes are chr1, chr2, chr3"),
        ({"regions": "chr1:9-5"}, r"must be like 'chr1:1000-5000' \(start below end\).* got 'chr1:9-5'"),
        ({"regions": ["chr1", "everywhere"]}, "got 'everywhere'; chromosomes are chr1"),
        ({"cells": ["nobody"]}, "1 of 1 `cells` are not in the data, first 'nobody'; the data's are like"),
        ({"cells": np.array([True])}, "one per ATAC cell: expected 60, got 1"),
        ({"cells": np.zeros(60, bool)}, "at least one cell .* is empty"),
        ({"cells": [MDATA["atac"].obs_names[0]] * 2}, "names a cell twice"),
        ({"group_by": "donor"}, "no obs column 'donor'. There are: .*cell_type"),
        ({"batch": "batch9"}, "'batch9' is none of them. There are: batch: batch1, batch2, batch3"),
        ({"batch": {"donor": "x"}}, "no batch 'donor' = 'x'. There are: batch: "),
        ({"batch": {"batch": "x"}}, "no batch 'batch' = 'x'"),
        ({"depth": 0}, "`depth` must be a positive number of open peaks, got 0"),
        ({"depth": float("nan")}, "`depth` must be a positive number"),
        ({"threshold": 1.0}, "`threshold` must be a probability, at least 0 and below 1, got 1.0"),
        ({"samples": 1}, "`samples` must be a whole number of at least 2, got 1"),
        ({"samples": True}, "`samples` must be"),
        ({"out": "x.csv"}, "`out` must end in .h5ad or .zarr, got 'x.csv'"),
        ({"out": "nowhere/x.h5ad"}, "the folder of nowhere/x.h5ad must exist"),
    ],
)
def test_what_cannot_be_imputed_is_refused(
    model: sailerx.Model, arguments: dict[str, Any], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        model.impute(MDATA, **arguments)


def test_batch_of_a_model_without_batches_is_refused() -> None:
    model = sailerx.fit(MDATA, progress="none", **TINY)
    with pytest.raises(InputError, match="trained without batches: leave `batch` out"):
        model.impute(MDATA, batch="batch1")


def test_cells_without_group_are_refused_or_left_out(model: sailerx.Model) -> None:
    a = MDATA["atac"].copy()
    a.obs["state"] = pd.Categorical(["x", "y", None] * 20)
    with pytest.raises(InputError, match="column 'state' must have a value for every cell: 20 of 60"):
        model.impute(a, group_by="state")
    result = model.impute(a, group_by="state", cells=a.obs["state"].notna().to_numpy())
    assert result.obs["n_cells"].tolist() == [20, 20]
    with pytest.raises(InputError, match="no obs column 'donor'"):
        model.impute(a, group_by="donor")


def test_existing_zarr_folder_is_kept(model: sailerx.Model, tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(InputError, match="x.zarr exists already"):
        model.impute(MDATA, out=tmp_path / "x.zarr")


def test_zarr_is_asked_for_where_it_is_missing(
    model: sailerx.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r"pip install 'zarr>=3'"):
        model.impute(MDATA, out=tmp_path / "x.zarr")


def test_result_too_large_for_memory_is_refused_with_the_ways_out(
    model: sailerx.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impute, "_LARGEST_DENSE", 20_000.0)
    with pytest.raises(InputError, match=r"would take 0.0 GB \(60 × 90\).*`regions`.*`group_by`.*`out`"):
        model.impute(MDATA)
    assert model.impute(MDATA, group_by="cell_type").shape == (3, 90)
    assert model.impute(MDATA, threshold=0.1).shape == (60, 90)
    model.impute(MDATA, out=tmp_path / "x.h5ad")


def test_regions_without_coordinates_are_refused() -> None:
    a = MDATA["atac"].copy()
    a.var = pd.DataFrame(index=[f"feature{i}" for i in range(90)])
    model = sailerx.fit(with_part(MDATA, atac=a), single_block=True, progress="none", **TINY)
    with pytest.raises(InputError, match="trained without. Use `peaks`"):
        model.impute(a, regions="chr1")
    assert list(model.impute(a, peaks=["feature7"]).var_names) == ["feature7"]


# Command line


def test_command_imputes_as_python_does(
    model: sailerx.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save(tmp_path / "run")
    file, out = write(MDATA, tmp_path / "in put.h5mu"), tmp_path / "out.h5ad"
    names = list(MDATA["atac"].obs_names[[7, 3]])
    (tmp_path / "cells.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    run: Callable[..., int] = lambda *more: main(  # noqa: E731
        ["impute", str(tmp_path / "run"), str(file), "-o", str(out), *more]
    )
    options = ["--regions", "chr1", "--batch", "batch1", "--depth", "10", "--samples", "2", "--threads", "1"]
    assert run(*options, "--cells", f"@{tmp_path / 'cells.txt'}") == 0
    expected = model.impute(MDATA, regions="chr1", cells=names, batch="batch1", depth=10.0, samples=2)
    found = ad.read_h5ad(out)
    np.testing.assert_allclose(found.X, expected.X, rtol=1e-5)
    assert list(found.obs_names) == names
    assert run("--group-by", "cell_type", "--batch", "batch=batch2") == 0
    assert ad.read_h5ad(out).shape == (3, 90)
    assert run("--batch", "batch=batch2", "batch3") == 2
    assert "COLUMN=LEVEL for each column, got 'batch3'" in capsys.readouterr().err


# Memory


def big_model(n_peaks: int) -> sailerx.Model:
    """An untrained network of the default widths, on 23 chromosomes."""
    bounds = np.linspace(0, n_peaks, 24).astype(int).tolist()
    blocks = tuple(zip(bounds[:-1], bounds[1:], strict=True))
    confounders = Confounders.learn(np.array([3000.0, 4000.0]), pd.DataFrame(index=range(2)), [], [])
    settings = make_settings()
    vae = VAE.from_settings(blocks, 1, settings, torch.Generator().manual_seed(0)).eval()
    record = {"atac": "atac", "atac_layer": None, "batch_key": []}
    return sailerx.Model(vae, settings, big_peaks(n_peaks), confounders, pd.DataFrame(), record)


def big_peaks(n_peaks: int) -> pd.DataFrame:
    bounds = np.linspace(0, n_peaks, 24).astype(int)
    chrom = np.repeat([f"chr{i + 1}" for i in range(23)], np.diff(bounds))
    table = pd.DataFrame({"chrom": chrom, "start": np.arange(n_peaks) * 1000})
    table["end"] = table["start"] + 500
    return table.set_axis([f"{c}:{a}-{b}" for c, a, b in table.itertuples(index=False)])


def write_cells(path: Path, n_cells: int, n_peaks: int) -> None:
    """Random ATAC in which each cell has about 3 % of the peaks open."""
    n_open = n_peaks * 3 // 100
    rng = np.random.default_rng(0)
    peak = np.sort(rng.integers(0, n_peaks, (n_cells, n_open), dtype=np.int32), axis=1).ravel()
    indptr = np.arange(n_cells + 1) * n_open
    x = sp.csr_matrix((np.ones(len(peak), np.float32), peak, indptr), shape=(n_cells, n_peaks))
    x.sum_duplicates()
    ad.AnnData(x, pd.DataFrame(index=[f"c{i}" for i in range(n_cells)]), big_peaks(n_peaks)).write_h5ad(path)


def stream(source: str, out: str, n_peaks: int) -> None:
    """Runs in a process of its own: print the MB of memory before and at most."""
    model = big_model(n_peaks)
    backed = ad.read_h5ad(source, backed="r")
    before = peak_mb()
    model.impute(backed, out=out)
    print(before, peak_mb())


def peak_memory(folder: Path, n_cells: int, n_peaks: int, ending: str = "h5ad") -> float:
    """MB at most while so many cells are imputed from one file to another."""
    source, out = folder / f"in{n_cells}.h5ad", folder / f"out{n_cells}.{ending}"
    write_cells(source, n_cells, n_peaks)
    code = f"import test_impute; test_impute.stream({str(source)!r}, {str(out)!r}, {n_peaks})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert answer.returncode == 0, answer.stderr
    if ending == "h5ad":
        with h5py.File(out) as file:
            assert file["X"].shape == (n_cells, n_peaks)
            assert (file["X"][-1] > 0).all()
    return float(answer.stdout.split()[1])


@pytest.mark.parametrize("ending", ["h5ad", pytest.param("zarr", marks=pytest.mark.full)])
def test_memory_does_not_grow_with_cells(tmp_path: Path, ending: str) -> None:
    few, many = (peak_memory(tmp_path, n, 20_000, ending) for n in (1500, 6000))
    grown = 4500 * 20_000 * 4 / 1e6  # 360 MB
    assert many - few < grown / 8


@pytest.mark.full
def test_a_whole_data_set_is_streamed_in_less_than_one_and_a_half_gigabytes(tmp_path: Path) -> None:
    assert peak_memory(tmp_path, 11_331, 131_364) < 1500


def test_chunks_on_disk_are_about_a_megabyte(tmp_path: Path) -> None:
    frame = ad.AnnData(obs=pd.DataFrame(index=[f"c{i}" for i in range(100)]), var=big_peaks(5000))
    blocks = ((np.full((50, 5000), i, np.float32),) for i in range(2))
    result_writer.write(tmp_path / "x.h5ad", blocks, frame)
    with h5py.File(tmp_path / "x.h5ad") as file:
        assert 0.2e6 < 4 * np.prod(file["X"].chunks) < 2e6
        np.testing.assert_array_equal(file["X"][:, 0], np.repeat([0, 1], 50))
