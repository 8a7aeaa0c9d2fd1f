"""`combine` of paired and ATAC-only data sets, and hybrid training on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mudata import MuData

import sailerx
from data import TINY, paired, together, write
from sailerx import InputError, cli, combine


def first(mdata: MuData, n: int) -> MuData:
    return together(**{name: part[:n].copy() for name, part in mdata.mod.items()})


def test_cells_counts_and_columns_are_those_of_the_sets() -> None:
    one, two, alone = paired(), paired(), paired()["atac"]
    for name, mdata in (("one", one), ("two", two)):
        mdata["rna"].obsm["X_pca"] = np.full((60, 3), len(name))
    both = combine({"one": one, "two": two}, {"alone": alone})
    assert both["rna"].n_obs == 120
    assert both["atac"].n_obs == 180
    assert both["atac"].obs["set"].value_counts().to_dict() == {"one": 60, "two": 60, "alone": 60}
    assert both["rna"].obsm["X_pca"].shape == (120, 3)
    cell = alone.obs_names[7]
    found = both["atac"][f"{cell}-alone"].X.toarray()
    peaks = both["atac"].var_names.isin(alone.var_names)
    assert found[0, peaks].sum() > 0
    assert both["atac"].var_names.tolist() == one["atac"].var_names.tolist()


def test_columns_that_a_set_lacks_are_missing_there(tmp_path: Path) -> None:
    mdata, alone = paired(), paired()["atac"]
    mdata.obs["donor"] = "d1"  # of the whole alone
    mdata["rna"].obs["purity"] = 0.5
    alone.obs["tissue"] = "skin"
    del alone.obs["cell_type"]
    both = combine({"one": mdata}, {"alone": alone})
    obs = both["atac"].obs
    first, rest = obs[obs["set"] == "one"], obs[obs["set"] == "alone"]
    assert (first["donor"] == "d1").all()
    assert rest["donor"].isna().all()
    assert (rest["tissue"] == "skin").all()
    assert first["cell_type"].tolist() == mdata["atac"].obs["cell_type"].tolist()
    assert rest["cell_type"].isna().all()
    assert (both["rna"].obs["purity"] == 0.5).all()
    again = sailerx.read(write(both, tmp_path / "x.h5mu"))
    assert again["atac"].obs["tissue"].isna().sum() == 60


def test_counts_of_a_layer_stand_beside_counts_of_x() -> None:
    mdata, alone = paired(), paired()["atac"]
    expected = alone.X.toarray()
    for part in mdata.mod.values():
        part.layers["counts"] = part.X.copy()
        part.X = part.X * 0.5
    both = combine({"one": mdata}, {"alone": alone})
    np.testing.assert_array_equal(both["atac"].X.toarray(), np.vstack([expected, expected]))
    np.testing.assert_array_equal(both["rna"].X.toarray(), paired()["rna"].X.toarray())


def test_barcodes_stay_unchanged_if_none_occurs_twice() -> None:
    mdata = paired()
    start, rest = first(mdata, 40), mdata["atac"][40:].copy()
    both = combine({"a": start}, {"b": rest})
    assert both["atac"].obs_names.tolist() == mdata["atac"].obs_names.tolist()
    np.testing.assert_array_equal(both["atac"].X.toarray(), mdata["atac"].X.toarray())
    assert both["atac"].uns["matched_peaks"] == {}


def test_peaks_in_another_order_are_the_same_peaks() -> None:
    mdata = paired()
    rest = mdata["atac"][40:, ::-1].copy()
    rest.var_names = [f"q{i}" for i in range(90)]
    both = combine({"a": first(mdata, 40)}, {"b": rest})
    np.testing.assert_array_equal(both["atac"].X.toarray(), mdata["atac"].X.toarray())
    assert both["atac"].uns["matched_peaks"] == {}


def test_peaks_are_matched_by_coordinates_and_not_by_name() -> None:
    mdata = paired()
    rest = mdata["atac"][40:, ::-1].copy()
    rest.var_names = mdata["atac"].var_names  # the same names, for other places
    both = combine({"a": first(mdata, 40)}, {"b": rest})
    np.testing.assert_array_equal(both["atac"].X.toarray(), mdata["atac"].X.toarray())


def test_other_peaks_are_matched_and_the_loss_is_reported() -> None:
    mdata = paired()
    rest = mdata["atac"][40:, 5:].copy()
    both = combine({"a": first(mdata, 40)}, {"b": rest})
    assert both["atac"].uns["matched_peaks"]["b"]["reference_peaks_reached"] == 85


def test_combined_sets_train_and_every_cell_is_embedded() -> None:
    mdata = paired()
    both = combine({"a": first(mdata, 40)}, {"b": mdata["atac"][40:].copy()})
    model = sailerx.fit(both, batch_key="set", progress="none", **TINY)
    z = model.embed(both)
    assert len(z) == 60
    assert {"set=a", "set=b"} <= set(model.confounders.names)
    np.testing.assert_allclose(model.embed(mdata)[:40], z[:40], atol=1e-5)
    np.testing.assert_allclose(model.embed(mdata["atac"])[40:], z[40:], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, {}), "at least one MuData"),
        (({"a": paired()}, {"a": paired()["atac"]}), "'a' is used twice"),
        (({"a": paired()["atac"]}, {}), "paired set 'a' must be a MuData with modalities 'rna' and 'atac'"),
        (
            ({"a": paired()}, {"b": 3}),
            "unpaired set 'b': the data must be AnnData or MuData with a modality 'atac', or the path of such a file; found int",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        combine(*arguments)


def test_sets_without_common_genes_are_refused() -> None:
    other = paired()
    other["rna"].var_names = [f"x{i}" for i in range(80)]
    with pytest.raises(InputError, match="must share genes"):
        combine({"a": paired(), "b": other})


def test_command_line_combines_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mdata = paired()
    write(first(mdata, 40), tmp_path / "multiome.h5mu")
    mdata["atac"][40:, 5:].copy().write_h5ad(tmp_path / "rest.h5ad")
    out = tmp_path / "all.h5mu"
    files = ["--paired", str(tmp_path / "multiome.h5mu"), "--atac-only", f"alone={tmp_path / 'rest.h5ad'}"]
    assert cli.main(["combine", "-o", str(out), *files]) == 0
    assert "alone: " in capsys.readouterr().out
    found = sailerx.read(out)
    assert found["atac"].obs["set"].value_counts().to_dict() == {"multiome": 40, "alone": 20}
    assert found["rna"].n_obs == 40
