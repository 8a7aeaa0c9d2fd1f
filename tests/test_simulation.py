"""Simulated data: shapes, expected counts, and difficulty of clustering."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import mudata
import numpy as np
import pandas as pd
import pytest

import sailerx
from sailerx import InputError, metrics
from sailerx.data import contract, peaks
from sailerx.data.lsi import lsi
from sailerx.data.rna_pca import rna_pca
from sailerx.regulators.genome import gc_content, peak_sequences
from sailerx.simulation.draw import CELLS_PER_CHUNK
from sailerx.simulation.in_memory import expected_share

SMALL = {"n_cells": 60, "n_genes": 40, "n_peaks": 90, "n_types": 3, "n_chroms": 3, "n_contigs": 0}


@pytest.fixture(scope="module")
def default() -> mudata.MuData:
    return sailerx.simulate()


def test_simulate_stays_a_function_once_its_module_is_imported():
    assert callable(sailerx.simulate)
    assert callable(sailerx.simulate)  # the first use imports the module


@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_counts_are_whole_csr_float32_and_no_cell_is_empty(default, modality):
    x = default[modality].X
    assert x.format == "csr"
    assert x.dtype == np.float32
    assert x.has_canonical_format
    assert (x.data >= 1).all()
    assert (x.data == np.floor(x.data)).all()
    assert (np.diff(x.indptr) > 0).all()


def test_same_seed_gives_same_data_and_another_seed_does_not():
    first, again, other = (sailerx.simulate(**SMALL, seed=seed) for seed in (0, 0, 1))
    assert (first["atac"].X != again["atac"].X).nnz == 0
    pd.testing.assert_frame_equal(first.obs, again.obs)
    assert (first["atac"].X != other["atac"].X).nnz > 0


def test_sixty_cells_hold_every_type_and_batch():
    mdata = sailerx.simulate(**SMALL)
    assert mdata["atac"].shape == (60, 90)
    assert (mdata.obs["cell_type"].value_counts() > 3).all()
    assert (mdata.obs["batch"].value_counts() > 3).all()
    assert mdata["atac"].var["chrom"].nunique() == 3


@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_counts_are_poisson_around_their_expectation(default, modality):
    adata = default[modality]
    z = _deviations(adata, {name: name for name in adata.obs["batch"].cat.categories}, modality)
    assert abs(z.mean()) < 0.1
    assert 0.95 < z.std() < 1.05


def test_batch_tilts_atac_visibly(default):
    neutral = dict.fromkeys(default["atac"].obs["batch"].cat.categories)
    assert _deviations(default["atac"], neutral, "atac").std() > 1.1


def _deviations(adata, tilt: dict[str, str | None], modality: str) -> np.ndarray:
    """(found − expected) / √expected per batch and feature, where at least 5 molecules are expected."""
    values = []
    for batch, tilted_by in tilt.items():
        cells = adata[adata.obs["batch"] == batch]
        expected = cells.obs[f"true_{modality}_depth"].to_numpy() @ expected_share(cells, tilted_by)
        found = np.asarray(cells.X.sum(axis=0)).ravel()
        values.append(((found - expected) / np.sqrt(expected))[expected >= 5])
    return np.concatenate(values)


def test_depth_follows_the_true_depth_and_depends_on_cell_type(default):
    obs, depth = default["atac"].obs, np.asarray(default["atac"].X.sum(axis=1)).ravel()
    z = (depth - obs["true_atac_depth"]) / np.sqrt(obs["true_atac_depth"])
    assert 0.9 < z.std() < 1.1
    log_depth = np.log(depth)
    between = pd.Series(log_depth, obs.index).groupby(obs["cell_type"], observed=True).transform("mean")
    assert 0.03 < between.var() / log_depth.var() < 0.4


def test_expected_shares_sum_to_one_and_a_pure_cell_has_the_profile_of_its_type():
    adata = sailerx.simulate(**SMALL)["atac"][:4].copy()
    adata.obs[["transition", "ambient", "program1", "program2", "program3"]] = 0.0
    share = expected_share(adata)
    truth = adata.uns["truth"]
    kinds = [list(truth["component"]).index(kind) for kind in adata.obs["cell_type"]]
    np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(share, np.exp(truth["log_share"][kinds]), rtol=1e-5)


def test_types_of_one_lineage_are_alike(default):
    truth = default["atac"].uns["truth"]
    types = [name for name in truth["component"] if name[0].isupper()]
    likeness = np.corrcoef(truth["log_share"][: len(types)])
    same = np.equal.outer([name[0] for name in types], [name[0] for name in types])
    off_diagonal = ~np.eye(len(types), dtype=bool)
    assert likeness[same & off_diagonal].min() > likeness[~same].max()


def test_peaks_do_not_overlap_and_their_names_are_parsed(default):
    var = default["atac"].var
    pd.testing.assert_frame_equal(peaks.peak_table(var), peaks.peak_table(var[[]]))
    for _, of_chrom in var.groupby("chrom", observed=True):
        assert (of_chrom["start"].to_numpy()[1:] >= of_chrom["end"].to_numpy()[:-1]).all()
    counts = var["chrom"].value_counts()
    assert len(counts) == 12
    assert counts["HLA-A*01:01"] == counts["chr1_KI270706v1_random"] == 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_cells": 0}, "`n_cells` must be at least 1, got 0"),
        ({"n_peaks": 3}, "`n_peaks` must be at least 12, got 3"),
        ({"n_contigs": 9}, "`n_contigs` must be 0 to 4, got 9"),
        ({"n_types": 999}, "`n_types` must be at most 78, got 999"),
    ],
)
def test_impossible_sizes_are_refused(wrong, message):
    with pytest.raises(sailerx.InputError, match=message):
        sailerx.simulate(**wrong)


# On disk


def test_data_simulated_to_file_equal_those_in_memory(tmp_path: Path):
    sizes = SMALL | {"n_cells": CELLS_PER_CHUNK + 100}
    sailerx.simulate_to_file(tmp_path / "stream.h5mu", **sizes)
    contract.check_file(tmp_path / "stream.h5mu")
    here = sailerx.simulate(**sizes)
    with mudata.set_options(pull_on_update=False):
        there = mudata.read_h5mu(tmp_path / "stream.h5mu")
    assert list(there.mod) == ["rna", "atac"]
    pd.testing.assert_frame_equal(here.obs, there.obs)
    assert list(here.var_names) == list(there.var_names)
    for name in here.mod:
        assert (here[name].X != there[name].X).nnz == 0
        pd.testing.assert_frame_equal(here[name].obs, there[name].obs)
        pd.testing.assert_frame_equal(here[name].var, there[name].var)
        for key, values in here[name].uns["truth"].items():
            np.testing.assert_array_equal(values, there[name].uns["truth"][key])


def test_row_pointers_on_disk_are_64_bit(tmp_path: Path):
    sailerx.simulate_to_file(tmp_path / "x.h5mu", **SMALL)
    with h5py.File(tmp_path / "x.h5mu") as file:
        assert file["mod/atac/X/indptr"].dtype == np.int64
        assert file["mod/atac/X/indptr"][-1] == len(file["mod/atac/X/data"])


def test_memory_of_streaming_does_not_grow_with_cells(tmp_path: Path):
    def peak(n_chunks: int) -> int:
        tracemalloc.start()
        n_cells = n_chunks * CELLS_PER_CHUNK
        sailerx.simulate_to_file(tmp_path / "x.h5mu", n_cells, 200, 3000, 6)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # imports
    assert peak(8) < 1.2 * peak(2)


def test_an_interrupted_stream_leaves_the_folder_as_it_was(tmp_path: Path):
    (tmp_path / "x.h5mu").write_text("older")

    def stop(done: int, n_cells: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sailerx.simulate_to_file(tmp_path / "x.h5mu", **SMALL, progress=stop)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


# How hard it is


def test_default_is_as_hard_to_cluster_as_real_data(default):
    labels = default.obs["cell_type"]
    known = {"batch": default.obs["batch"], "depth": default.obs["true_atac_depth"].to_numpy()}
    rna = metrics.score(rna_pca(default["rna"].X), labels, **known)
    atac = metrics.score(lsi(default["atac"].X), labels, **known)
    assert 0.62 < rna["nmi"] < 0.8
    assert 0.4 < atac["nmi"] < 0.6
    assert rna["depth_leakage"] < 0.2 < 0.35 < atac["depth_leakage"]
    assert rna["batch_leakage"] < 0.3 < 0.35 < atac["batch_leakage"]


@pytest.mark.data
def test_default_looks_like_snare_seq(default, data_file):
    real = sailerx.read(data_file("snareseq_cortex.h5mu"))
    for modality, tolerance in (("rna", 0.15), ("atac", 0.15)):
        assert abs(_depth_spread(real[modality]) - _depth_spread(default[modality])) < tolerance
    assert abs(_depth_correlation(real) - _depth_correlation(default)) < 0.15
    assert abs(_frequency_spread(real["atac"]) - _frequency_spread(default["atac"])) < 0.35


def _log_depth(adata) -> np.ndarray:
    return np.log(np.asarray(adata.X.sum(axis=1)).ravel())


def _depth_spread(adata) -> float:
    return _log_depth(adata).std()


def _depth_correlation(mdata) -> float:
    return np.corrcoef(_log_depth(mdata["rna"]), _log_depth(mdata["atac"]))[0, 1]


def _frequency_spread(adata) -> float:
    n_open = np.asarray((adata.X > 0).sum(axis=0)).ravel()
    return np.log(n_open[n_open > 0]).std()


def test_halves_of_split_types_differ_in_one_modality_alone() -> None:
    options = {"n_atac_splits": 1, "n_rna_splits": 1, "n_batches": 1}
    mdata = sailerx.simulate(400, 200, 900, 4, seed=3, **options)
    subtype = mdata.obs["subtype"].astype(str)
    assert set(subtype) == {"A1a", "A1b", "A2a", "A2b", "B1", "B2"}
    assert (subtype.str[:2] == mdata.obs["cell_type"].astype(str)).all()
    for name, split in (("atac", "A1"), ("rna", "A2")):
        truth = mdata[name].uns["truth"]
        component, log_share = list(truth["component"]), truth["log_share"]
        assert component[-2:] == ["A1b", "A2b"]
        for kind in ("A1", "A2"):
            change = np.abs(log_share[component.index(kind)] - log_share[component.index(f"{kind}b")])
            n_apart = round(len(change) / 30) if kind == split else 0
            assert (change > 1.0).sum() == n_apart
            np.testing.assert_allclose(np.exp(log_share[component.index(f"{kind}b")]).sum(), 1, rtol=1e-5)
        observed = mdata[name][(subtype == f"{split}b").to_numpy()].X.sum(axis=0)
        expected = expected_share(mdata[name])[(subtype == f"{split}b").to_numpy()].sum(axis=0)
        assert np.corrcoef(np.asarray(observed).ravel(), expected)[0, 1] > 0.9
    again = sailerx.simulate(400, 200, 900, 4, seed=3, n_batches=1)
    assert (again.obs["cell_type"] == mdata.obs["cell_type"]).all()
    with pytest.raises(sailerx.InputError, match="together at most `n_types`, 4"):
        sailerx.simulate(50, 60, 90, 4, n_atac_splits=3, n_rna_splits=2)


def test_pure_cells_draw_every_molecule_from_their_type() -> None:
    pure = {"max_transition": 0.0, "max_ambient": 0.0, "n_programs": 0, "n_batches": 1}
    mdata = sailerx.simulate(50, 60, 900, 3, seed=1, **pure)
    assert (mdata.obs[["transition", "ambient"]] == 0).all(axis=None)
    truth = mdata["atac"].uns["truth"]
    code = mdata.obs["cell_type"].cat.codes.to_numpy()
    np.testing.assert_allclose(expected_share(mdata["atac"]), np.exp(truth["log_share"][code]), rtol=1e-5)
    with pytest.raises(sailerx.InputError, match=r"must be 0 to 1, got 0.5 and 1.5"):
        sailerx.simulate(50, 60, 90, 3, max_ambient=1.5)


def test_a_genome_changes_no_count_and_fits_the_peaks(tmp_path: Path) -> None:
    sizes = (60, 50, 300, 3)
    with_genome = sailerx.simulate(*sizes, seed=2, genome=tmp_path / "g.fa")
    without = sailerx.simulate(*sizes, seed=2)
    assert (with_genome["atac"].X != without["atac"].X).nnz == 0
    sailerx.simulate(*sizes, seed=2, genome=tmp_path / "again.fa")
    assert (tmp_path / "g.fa").read_bytes() == (tmp_path / "again.fa").read_bytes()
    sequences = peak_sequences(peaks.peak_table(with_genome["atac"].var), tmp_path / "g.fa")
    assert [len(s) for s in sequences] == list(
        with_genome["atac"].var["end"] - with_genome["atac"].var["start"]
    )
    openness = np.asarray(with_genome["atac"].X.sum(axis=0)).ravel()
    assert np.corrcoef(gc_content(sequences), np.log(openness + 1))[0, 1] > 0.4
    planted = with_genome["atac"].uns["truth"]["motif_planted"]
    assert planted.shape == (3, 300)
    assert (planted.mean(axis=1) > 0.03).all()
    with pytest.raises(InputError, match="a motif for each of 30 cell types"):
        sailerx.simulate(60, 50, 300, 30, genome=tmp_path / "many.fa")
