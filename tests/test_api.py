"""The verbs as a user types them: fit, embed, save, load, check, read."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import torch

import sailerx
from data import TINY, files_below, paired, unit_rows, with_part, write
from sailerx import InputError
from sailerx.config import PRESETS, make_settings

MDATA = paired()


def fit(mdata: Any = MDATA, **arguments: Any) -> sailerx.Model:
    return sailerx.fit(mdata, **(TINY | {"progress": "none"} | arguments))


@pytest.fixture(scope="module")
def model() -> sailerx.Model:
    return fit(batch_key="batch")


# Fit and embed


def test_embedding_has_a_row_per_atac_cell_whose_rna_part_has_unit_length(model: sailerx.Model) -> None:
    z = model.embed(MDATA)
    assert model.joint is not None
    n_rna = model.joint.anchor_g.shape[1]
    assert z.shape == (60, n_rna + (model.joint.coordinates.n_signal if model.joint.choice.alpha else 0))
    assert z.dtype == np.float32
    assert unit_rows(z[:, :n_rna])


def test_two_fits_are_bit_identical_and_seeds_differ(model: sailerx.Model) -> None:
    np.testing.assert_array_equal(fit(batch_key="batch").embed(MDATA), model.embed(MDATA))
    assert not np.array_equal(fit(batch_key="batch", seed=1).embed(MDATA), model.embed(MDATA))


def test_fit_leaves_the_data_as_they_are() -> None:
    mdata = paired()
    before = {name: (a.X.toarray(), list(a.obs), list(a.obsm), list(a.uns)) for name, a in mdata.mod.items()}
    model = fit(mdata, batch_key="batch")
    model.embed(mdata)
    for name, (x, *rest) in before.items():
        a = mdata[name]
        np.testing.assert_array_equal(a.X.toarray(), x)
        assert [list(a.obs), list(a.obsm), list(a.uns)] == rest


def test_papers_embedding_is_the_posterior_mean_at_unit_length() -> None:
    model = fit(preset="paper", warmup_epochs=1, max_epochs=1)
    mean, z = model.posterior(MDATA)[0], model.embed(MDATA)
    np.testing.assert_allclose(mean / np.linalg.norm(mean, axis=1, keepdims=True), z, atol=1e-6)
    np.testing.assert_array_equal(model.embed(MDATA["atac"]), z)


def test_posterior_has_a_mean_and_an_uncertainty(model: sailerx.Model) -> None:
    mean, std = model.posterior(MDATA)
    assert mean.shape == std.shape == (60, 5)
    assert (std > 0).all()
    written = model.to_anndata(MDATA, posterior=True)
    np.testing.assert_array_equal(written.obsm["X_sailerx_std"], std)


def test_embedding_does_not_need_the_rna_but_uses_it(model: sailerx.Model) -> None:
    by_both, by_atac = model.to_anndata(MDATA), model.to_anndata(MDATA["atac"])
    assert by_both.obs["sailerx_has_rna"].all()
    assert not by_atac.obs["sailerx_has_rna"].any()
    assert by_both.obsm["X_sailerx"].shape == by_atac.obsm["X_sailerx"].shape
    assert not np.array_equal(by_both.obsm["X_sailerx"], by_atac.obsm["X_sailerx"])
    assert by_both.obs["sailerx_atac_weight"].between(0, 1).all()


def test_embedding_follows_the_order_of_cells_and_not_of_peaks(model: sailerx.Model) -> None:
    rng = np.random.default_rng(0)
    cells, peaks = rng.permutation(60), rng.permutation(90)
    shuffled = MDATA["atac"][cells, peaks].copy()
    np.testing.assert_allclose(model.embed(shuffled), model.embed(MDATA["atac"])[cells], rtol=1e-4, atol=1e-5)


def test_peaks_the_model_does_not_have_change_nothing(model: sailerx.Model) -> None:
    a = MDATA["atac"]
    extra = ad.AnnData(np.ones((60, 1)), obs=a.obs.copy(), var=pd.DataFrame(index=["chr9:1-2"]))
    both = ad.concat([a, extra], axis=1)
    del both.var
    both.obs = a.obs.copy()
    np.testing.assert_array_equal(model.embed(both), model.embed(a))


def test_missing_peaks_are_warned_of(model: sailerx.Model) -> None:
    with pytest.warns(
        UserWarning, match="10 of the model's 90 peaks are not in the data and are taken as closed"
    ):
        model.embed(MDATA["atac"][:, 10:].copy())


def test_no_shared_peak_is_refused_with_one_of_each(model: sailerx.Model) -> None:
    a = MDATA["atac"]
    other = ad.AnnData(a.X, a.obs, pd.DataFrame(index=[f"chr99:{i}-{i + 1}" for i in range(90)]))
    with pytest.raises(
        InputError, match=r"share no peak with the model \(its first: 'chr.*theirs: 'chr99:0-1'\)"
    ):
        model.embed(other)


def test_missing_modality_is_refused_with_those_there_are(model: sailerx.Model) -> None:
    with mudata.set_options(pull_on_update=False):
        only_rna = mudata.MuData({"rna": MDATA["rna"]})
    with pytest.raises(InputError, match="embeds modality 'atac', found: rna"):
        model.embed(only_rna)
    with pytest.raises(InputError, match="found: list"):
        model.embed([])  # type: ignore[arg-type]


def test_several_keys_are_one_argument() -> None:
    changed = MDATA["atac"].copy()
    changed.obs["mito"] = np.linspace(0, 1, 60)
    model = fit(with_part(MDATA, atac=changed), batch_key=["batch", "cell_type"], continuous_key="mito")
    assert model.record["batch_key"] == ["batch", "cell_type"]
    assert model.record["continuous_key"] == ["mito"]
    assert {name.split("=")[0] for name in model.confounders.names} == {
        "log_atac_depth",
        "batch",
        "cell_type",
        "mito",
    }


@pytest.mark.filterwarnings("ignore:.*has one level:UserWarning")
def test_batch_of_one_level_changes_nothing() -> None:
    one = MDATA["atac"].copy()
    one.obs["donor"] = "x"
    np.testing.assert_array_equal(
        fit(with_part(MDATA, atac=one), batch_key="donor").embed(MDATA), fit().embed(MDATA)
    )


def test_paper_preset_runs_on_real_shapes() -> None:
    model = fit(preset="paper", warmup_epochs=1)
    assert len(model.history) == 3
    assert model.record["preset"] == "paper"
    assert np.isfinite(model.history["loss"]).all()


def test_record_says_what_a_reader_of_the_result_needs(model: sailerx.Model) -> None:
    assert model.record["seed"] == 0
    assert model.record["device"] == "cpu"
    assert model.record["threads"] == torch.get_num_threads()
    assert model.record["reference"] == "PCA of X"
    assert model.record["versions"]["torch"] == torch.__version__
    json.dumps(model.record)


def test_result_is_a_small_anndata_without_counts(model: sailerx.Model) -> None:
    result = model.to_anndata(MDATA)
    assert result.X is None
    assert list(result.obs_names) == list(MDATA["atac"].obs_names)
    np.testing.assert_array_equal(result.obsm["X_sailerx"], model.embed(MDATA))
    settings = json.loads(result.uns["sailerx"]["settings"])
    assert settings["n_latent"] == 5
    assert settings["batch_key"] == ["batch"]
    assert json.loads(result.uns["sailerx"]["versions"]) == model.record["versions"]
    assert len(result.uns["sailerx"]["history"]) == 2


def test_result_survives_the_file(model: sailerx.Model, tmp_path: Path) -> None:
    result = model.to_anndata(MDATA)
    result.write_h5ad(tmp_path / "out.h5ad")
    again = ad.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(again.obsm["X_sailerx"], result.obsm["X_sailerx"])
    np.testing.assert_array_equal(again.uns["sailerx"]["history"]["loss"], model.history["loss"])


# Options


def test_unknown_option_is_refused_with_all_there_are() -> None:
    with pytest.raises(InputError, match=r"unknown option lambda. The options are: .*lambda_"):
        fit(**{"lambda": 1.0})


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ({"n_latent": 0}, "`n_latent` must be at least 1, got 0"),
        ({"n_latent": 2.5}, "`n_latent` must be a whole number, got 2.5"),
        ({"n_latent": "many"}, "`n_latent` must be a whole number, got 'many'"),
        ({"gamma": -1}, "`gamma` must be at least 0"),
        ({"gamma": float("nan")}, "`gamma` must be at least 0, got nan"),
        ({"learning_rate": True}, "`learning_rate` must be a number, got True"),
        ({"single_block": 1}, "`single_block` must be true or false, got 1"),
        ({"minibatch_size": 1}, "`minibatch_size` must be at least 2"),
        ({"weight_clip": 0.5}, r"`weight_clip` must be in \[0, 0.5\)"),
        ({"thinned_cells": 1.5}, "`thinned_cells` must be between 0 and 1, got 1.5"),
        ({"thinned_kept": 0.0}, "`thinned_kept` must be above 0 and at most 1, got 0.0"),
        ({"lr_schedule": "linear"}, "`lr_schedule` must be 'one-cycle' or 'exponential', got 'linear'"),
        ({"preset": "best"}, "`preset` must be one of default, paper; got 'best'"),
        ({"max_epochs": -1}, "`max_epochs` must be at least 0, got -1"),
        ({"device": "tpu"}, "`device` must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
    ],
)
def test_option_that_cannot_be_used_is_refused(option: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        fit(**option)


def test_whole_floats_pass_for_integers_as_r_gives_them() -> None:
    assert make_settings(n_latent=20.0, gamma=3).n_latent == 20
    assert isinstance(make_settings(n_latent=20.0).n_latent, int)
    assert isinstance(make_settings(gamma=3).gamma, float)


def test_none_keeps_the_presets_value() -> None:
    for name, preset in PRESETS.items():
        assert make_settings(name, n_latent=None, max_epochs=None) == preset


def test_what_is_left_open_follows_the_data() -> None:
    paired_only, hybrid = (make_settings().for_data(20, hybrid=hybrid) for hybrid in (False, True))
    assert (paired_only.thinning, hybrid.thinning) == ((0.1, 0.5), (0.5, 0.5))
    assert (paired_only.reconstruction, paired_only.gamma) == (1, 2e4)
    assert (hybrid.reconstruction, hybrid.gamma) == (5, 1e5)
    assert (paired_only.start_from_lsi, hybrid.start_from_lsi) == (False, True)
    assert paired_only.n_epochs == hybrid.n_epochs == 100
    assert [make_settings().for_data(n, hybrid=False).n_epochs for n in (1, 2, 4, 6, 40, 1000)] == [
        100,
        200,
        150,
        100,
        50,
        20,
    ]
    assert [make_settings().for_data(n, hybrid=False).patience for n in (2, 15, 1000)] == [150, 20, 20]
    fixed = make_settings(
        max_epochs=3, start_from_lsi=False, thinned_cells=0.0, reconstruction=2, gamma=1.0, patience=7
    )
    assert fixed.for_data(20, hybrid=True) == fixed
    with pytest.raises(ValueError, match="call for_data first"):
        _ = make_settings().thinning


def test_without_epochs_the_embedding_is_the_same_and_no_network_is_used(tmp_path: Path) -> None:
    mdata, options = paired(), TINY | {"progress": "none"}
    sailerx.fit(mdata, **(options | {"max_epochs": 0})).save(tmp_path / "run")
    model = sailerx.load(tmp_path / "run")
    np.testing.assert_array_equal(model.embed(mdata), sailerx.fit(mdata, **options).embed(mdata))
    assert len(model.history) == 0
    assert len(model.transfer_labels(mdata, mdata["atac"][:9].copy(), "cell_type")) == 9
    for verb in (
        lambda: model.impute(mdata),
        lambda: model.posterior(mdata),
        lambda: model.differential_accessibility(mdata, "cell_type", "A1"),
        lambda: model.report(mdata, tmp_path / "report.html"),
    ):
        with pytest.raises(
            sailerx.InputError, match="needs a trained network, but the model was fitted with"
        ):
            verb()
    with pytest.raises(sailerx.InputError, match="`max_epochs` must be at least 1 if the embedding is z"):
        sailerx.fit(mdata, preset="paper", max_epochs=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="PyTorch finds no CUDA device. Use 'auto' or 'cpu'"):
        fit(device="cuda")


def test_unknown_progress_is_refused() -> None:
    with pytest.raises(InputError, match="`progress` must be"):
        fit(progress="loud")


# Files


def test_fit_from_a_file_is_fit_from_memory(model: sailerx.Model, tmp_path: Path) -> None:
    path = write(paired(), tmp_path / "Daten – ü" / "in put.h5mu")
    np.testing.assert_array_equal(fit(path, batch_key="batch").embed(MDATA), model.embed(MDATA))


def test_read_gives_back_what_was_written(tmp_path: Path) -> None:
    again = sailerx.read(write(paired(), tmp_path / "in.h5mu"))
    for name in ("rna", "atac"):
        np.testing.assert_array_equal(again[name].X.toarray(), MDATA[name].X.toarray())
        assert list(again[name].obs_names) == list(MDATA[name].obs_names)


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    whole = write(paired(), tmp_path / "in.h5mu")
    (tmp_path / "cut.h5mu").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "text.h5mu").write_text("gene,cell\n", encoding="utf-8")
    (tmp_path / "empty.h5mu").touch()
    before = files_below(tmp_path)
    for name in ("cut", "text", "empty", "nowhere"):
        with pytest.raises(InputError, match=f"{name}.h5mu"):
            fit(tmp_path / f"{name}.h5mu")
    assert files_below(tmp_path) == before


# Check


def test_check_describes_the_data() -> None:
    text = sailerx.check(MDATA, batch_key="batch")
    assert "cells: 60, of which 60 have RNA" in text
    assert "peaks: 90 in 3 blocks by chromosome" in text
    assert "RNA reference: PCA of X, 50 dimensions" in text
    assert "confounders: log_atac_depth, batch=" in text


def test_check_refuses_what_fit_would() -> None:
    with pytest.raises(InputError, match="no obs column 'donor'"):
        sailerx.check(MDATA, batch_key="donor")


# The package


def test_function_simulate_stays_callable_after_its_module_is_imported() -> None:
    importlib.import_module("sailerx.simulation.recipe")
    for _ in range(2):
        assert sailerx.simulate(n_cells=5, n_genes=10, n_peaks=20, n_types=2).n_obs == 5


def test_every_name_of_the_package_is_there_and_others_are_not() -> None:
    assert all(hasattr(sailerx, name) for name in sailerx.__all__)
    assert {*sailerx.__all__, "metrics", "plot"} <= set(dir(sailerx))
    assert sailerx.metrics is importlib.import_module("sailerx.metrics")
    with pytest.raises(AttributeError, match="module 'sailerx' has no attribute 'nothing'"):
        sailerx.nothing  # noqa: B018
