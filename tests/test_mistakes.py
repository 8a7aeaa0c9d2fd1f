"""What users mistype or hand over by mistake: nothing is lost, and the error says what must hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import ImplicitModificationWarning

import sailerx
from data import paired, together, write
from sailerx import InputError
from sailerx.cli import main
from sailerx.config import checked_seed, make_settings
from sailerx.data.names import positions_by_name
from sailerx.files.result_writer import plain

ONE_EPOCH: dict[str, Any] = {"max_epochs": 1, "progress": "none"}


@pytest.fixture(scope="module")
def model() -> sailerx.Model:
    return sailerx.fit(paired(), **ONE_EPOCH)


@pytest.fixture
def run(model: sailerx.Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "run")
    return tmp_path / "run"


# Results in the place of data


@pytest.mark.parametrize(
    "command",
    [
        "embed {run} {data} -o {data}",
        "embed {run} {link} -o {data}",
        "fit {data} -o {new} --max-epochs 0 --embed {data}",
        "differential {run} {data} -o {data} --group-by cell_type --group1 A1",
        "report {run} {data} -o {data}",
        "transfer {run} {other} {data} -o {data} --labels cell_type",
        "combine --paired a={data} -o {data}",
        "match-peaks {data} {other} -o {data}",
        "motifs {data} --matches {other} -o {new} --differential {data} --group-by cell_type --group1 A1",
    ],
)
def test_result_never_replaces_what_is_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    ending = ".h5mu" if command.startswith("combine") else ".h5ad"
    data, other, link = (tmp_path / f"{name}{ending}" for name in ("data", "other", "link"))
    for path in (data, other):
        path.write_bytes(b"counts")
    link.symlink_to(data)
    places = {"run": run, "data": data, "other": other, "link": link, "new": tmp_path / "new.h5ad"}
    assert main(command.format(**places).split()) == 2
    assert "would replace it" in capsys.readouterr().err
    assert data.read_bytes() == b"counts"
    assert not places["new"].exists()


@pytest.mark.parametrize(
    "command",
    [
        "fit {data} -o {new} --checkpoint {new}",
        "motifs {data} --genome g.fa -o {new} --save-matches {new}",
    ],
)
def test_two_results_need_two_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    data = write(paired(), tmp_path / "data.h5mu")
    assert main(command.format(data=data, new=tmp_path / "new.h5ad").split()) == 2
    assert "two results cannot be written to one place" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"data.h5mu"}


def test_result_never_replaces_what_is_read_in_python(model: sailerx.Model, tmp_path: Path) -> None:
    path = tmp_path / "atac.h5ad"
    paired()["atac"].write(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="would replace it"):
        model.impute(path, out=str(path))
    with pytest.raises(InputError, match="would replace it"):
        model.report(paired(), path, new=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "command", ["embed run in.h5mu -o out.zarr", "simulate out.h5ad", "fit in.h5mu -o r --embed e.csv"]
)
def test_endings_that_say_another_kind_of_file_are_refused(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main(command.split()) == 2
    assert "must end in .h5" in capsys.readouterr().err


# Flags and numbers


def test_misspelt_option_is_told_its_likely_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "in.h5mu", "-o", "run", "--epochs=3"]) == 2
    assert "(did you mean --max-epochs?)" in capsys.readouterr().err
    assert main(["motifs", "in.h5mu", "--genome", "g", "-o", "o.h5ad", "--group1", "A1"]) == 2
    assert "`--differential`" in capsys.readouterr().err


def test_numbers_of_numpy_are_numbers() -> None:
    settings = make_settings(n_latent=np.int64(7), gamma=np.float32(10))
    assert (settings.n_latent, settings.gamma) == (7, 10.0)
    assert type(settings.n_latent) is int
    assert [checked_seed(seed) for seed in np.arange(3)] == [0, 1, 2]
    assert sailerx.simulate(60, 100, 90, 3, seed=3.0).n_obs == 60  # type: ignore[arg-type]
    with pytest.raises(InputError, match="whole number"):
        make_settings(n_latent=float("inf"))


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "a", True, float("nan")])
def test_seeds_that_are_none_are_refused_everywhere(model: sailerx.Model, seed: Any) -> None:
    mdata = paired()
    calls: list[Callable[[], Any]] = [
        lambda: sailerx.fit(mdata, seed=seed, **ONE_EPOCH),
        lambda: sailerx.check(mdata, seed=seed),
        lambda: sailerx.simulate(60, 100, 90, 3, seed=seed),
        lambda: model.impute(mdata, regions="chr1", samples=2, seed=seed),
        lambda: model.transfer_labels(mdata, mdata["atac"], "cell_type", seed=seed),
        lambda: model.predict_rna(mdata, mdata["atac"], seed=seed),
    ]
    for call in calls:
        with pytest.raises(InputError, match="`seed` must be"):
            call()


def test_check_takes_the_arguments_of_fit(tmp_path: Path) -> None:
    of_run = {"device": "cpu", "checkpoint": tmp_path / "c", "devices": 1}
    assert sailerx.check(paired(), n_latent=3, **ONE_EPOCH, **of_run) == sailerx.check(paired())
    with pytest.raises(InputError, match="unknown option n_latents"):
        sailerx.check(paired(), n_latents=3)


# Cells, genes and columns


def test_batch_of_one_cell_per_level_is_refused() -> None:
    mdata = paired()
    mdata["atac"].obs["depth"] = np.arange(mdata["atac"].n_obs) / 7
    with pytest.raises(InputError, match="several cells.*covariates"):
        sailerx.check(mdata, batch_key="depth")


def test_rna_and_atac_must_be_two_modalities() -> None:
    with pytest.raises(InputError, match="two modalities"):
        sailerx.check(paired(), rna="atac")


def test_missing_matrix_is_called_missing() -> None:
    mdata = paired()
    bare = ad.AnnData(obs=mdata["atac"].obs, var=mdata["atac"].var)
    with pytest.raises(InputError, match="neither X nor a layer 'counts'"):
        sailerx.check(together(rna=mdata["rna"], atac=bare))


def test_genes_of_one_name_are_found_by_their_order() -> None:
    known = pd.Index(["a", "b", "a", "c", "a"])
    assert positions_by_name(pd.Index(["c", "a", "x", "a", "a"]), known).tolist() == [1, -1, 3, 0, 4]
    assert positions_by_name(pd.Index(["a", "c"]), known).tolist() == [0, -1, -1, 1, -1]


def test_embedding_of_another_width_is_refused() -> None:
    mdata = paired()
    values = np.random.default_rng(0).random((mdata["rna"].n_obs, 40))
    mdata["rna"].obsm["E"] = values
    for rank in (0, 30):
        trained = sailerx.fit(mdata, rna_embedding="E", max_epochs=0, reference_rank=rank, progress="none")
        other = paired()
        other["rna"].obsm["E"] = values[:, :37]
        with pytest.raises(InputError, match="40 dimensions.*has 37"):
            trained.embed(other)
        other["rna"].obsm["E"] = sp.csr_matrix(values)
        np.testing.assert_allclose(trained.embed(other), trained.embed(mdata), atol=1e-6)
        other["rna"].obsm["E"] = pd.DataFrame({"word": ["x"] * other["rna"].n_obs}, other["rna"].obs_names)
        with pytest.raises(InputError, match="numbers alone"):
            trained.embed(other)


def test_components_do_not_hang_on_how_counts_are_stored() -> None:
    found = []
    for kind in (np.float32, np.float64, np.int32, np.uint16):
        mdata = paired()
        mdata["rna"].X = sp.csr_matrix(mdata["rna"].X).astype(kind)
        found.append(sailerx.fit(mdata, max_epochs=0, progress="none").embed(mdata))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_cells_of_numbers_are_found(model: sailerx.Model) -> None:
    atac = paired()["atac"].copy()
    atac.obs.index = pd.RangeIndex(atac.n_obs)
    with pytest.warns(ImplicitModificationWarning):  # of the result
        imputed = model.impute(atac, cells=[3, 4], regions="chr1")
    assert imputed is not None
    assert imputed.obs_names.tolist() == ["3", "4"]


def test_imputation_of_no_cell_is_refused(model: sailerx.Model) -> None:
    with pytest.raises(InputError, match="the data have none"):
        model.impute(paired()["atac"][:0].copy())


def test_columns_of_lists_are_written_as_text() -> None:
    table = plain(pd.DataFrame({"lists": [[1], [2], [1]]}))
    assert table["lists"].tolist() == ["[1]", "[2]", "[1]"]


def test_labels_that_are_not_scored_must_be_there(model: sailerx.Model, tmp_path: Path) -> None:
    mdata = paired()
    pages = {}
    for name, drop in {"word": "A1", "list": ["A1"], "none": ()}.items():
        model.report(mdata, tmp_path / f"{name}.html", labels="cell_type", drop=drop)
        pages[name] = (tmp_path / f"{name}.html").read_text()
    assert pages["word"] == pages["list"] != pages["none"]
    mdata["atac"].obs["number"] = np.arange(mdata["atac"].n_obs) % 4
    model.report(mdata, tmp_path / "number.html", labels="number", drop="3")
    with pytest.raises(InputError, match="no 'zz'"):
        model.report(mdata, tmp_path / "other.html", labels="cell_type", drop="zz")


# Several sets


def test_sets_may_be_files(tmp_path: Path) -> None:
    mdata = paired()
    atac = mdata["atac"][:30].copy()
    file, alone = write(mdata, tmp_path / "m.h5mu"), tmp_path / "a.h5ad"
    atac.write(alone)
    expected = sailerx.combine({"m": mdata}, {"a": atac})
    whole = together(atac=atac)
    whole.obs["donor"] = "d1"
    assert set(sailerx.combine({"m": mdata}, {"a": whole})["atac"].obs["donor"].dropna()) == {"d1"}
    for more in (alone, atac, together(atac=atac)):
        found = sailerx.combine({"m": str(file)}, {"a": more})
        np.testing.assert_array_equal(found["atac"].X.toarray(), expected["atac"].X.toarray())
    with pytest.raises(InputError, match="modality 'atac'"):
        sailerx.combine({"m": mdata}, {"a": together(other=atac)})


def test_peaks_may_be_those_of_a_file(tmp_path: Path) -> None:
    mdata = paired()
    file, few = write(mdata, tmp_path / "m.h5mu"), mdata["atac"][:, 10:].copy()
    expected = sailerx.match_peaks(mdata["atac"], few).X.toarray()
    for atac in (file, mdata):
        np.testing.assert_array_equal(sailerx.match_peaks(atac, few).X.toarray(), expected)
    assert sailerx.match_peaks(few, file).n_vars == mdata["atac"].n_vars
    normalised = mdata["atac"].copy()
    normalised.raw = normalised.copy()
    normalised.layers["mine"], normalised.X = normalised.X * 2, normalised.X * 0.5
    named = sailerx.match_peaks(normalised, few, layer="mine")
    np.testing.assert_array_equal(named.X.toarray(), 2 * expected)
    with pytest.raises(InputError, match="AnnData or MuData"):
        sailerx.match_peaks(few, 3)  # type: ignore[arg-type]


def test_columns_that_differ_between_sets_are_left_out_with_a_warning() -> None:
    a, b = paired(), paired()
    for mdata, width in ((a, 5), (b, 3)):
        for key, n in {"unlike": width, "alike": 2}.items():
            mdata["rna"].obsm[key] = np.ones((mdata["rna"].n_obs, n))
    with pytest.warns(UserWarning, match="obsm 'unlike' has other columns"):
        both = sailerx.combine({"a": a, "b": b})
    assert list(both["rna"].obsm) == ["alike"]
    b["rna"].obsm["alike"] = pd.DataFrame(b["rna"].obsm["alike"], b["rna"].obs_names)
    with pytest.warns(UserWarning, match="alike"):
        sailerx.combine({"a": a, "b": b})


def test_chromosomes_named_otherwise_are_refused_though_a_contig_is_shared() -> None:
    atac = paired()["atac"]
    other = atac.copy()
    other.var = other.var.assign(chrom=other.var["chrom"].astype(str).str.removeprefix("chr"))
    contig = other.var.index[0]
    other.var.loc[contig, "chrom"] = atac.var.loc[contig, "chrom"]
    other.var_names = [f"peak{i}" for i in range(other.n_vars)]
    contig = other.var_names[0]
    with pytest.raises(InputError, match="same names.*'1'.*'chr1'"):
        sailerx.match_peaks(other, atac)


# Annotation of genes


def test_peaks_of_equal_names_match_whatever_their_chromosomes_are_called() -> None:
    atac = paired()["atac"]
    other = atac.copy()
    other.var["chrom"] = other.var["chrom"].astype(str).str.removeprefix("chr")
    assert sailerx.match_peaks(other, atac).X.sum() == atac.X.sum()


@pytest.mark.parametrize(
    "broken", [{"tss": np.nan}, {"tss": np.inf}, {"tss": "x"}, {"tss": -5.0}, {"tss": 0.5}, {"chrom": None}]
)
def test_genes_without_a_place_are_refused(broken: dict[str, Any]) -> None:
    from sailerx.regulators.annotation import gene_starts

    genes = pd.DataFrame({"chrom": "chr1", "tss": [1.0, 2.0, 3.0]}, ["a", "b", "c"]).astype(object)
    assert gene_starts(genes)["tss"].tolist() == [1, 2, 3]
    [(column, value)] = broken.items()
    genes.loc["b", column] = value
    with pytest.raises(InputError, match="1 of 3 have not, first 'b'"):
        gene_starts(genes)


def test_background_of_too_few_peaks_is_refused() -> None:
    mdata = sailerx.simulate(n_cells=200, n_peaks=90, n_genes=100, n_types=3, seed=0, n_links=20)
    trained = sailerx.fit(mdata, **ONE_EPOCH)
    for n in (0, 5, 2.5, float("nan"), float("inf"), "a"):
        with pytest.raises(InputError, match="`n_background` must be"):
            trained.links(mdata, mdata["rna"].var, n_background=n)  # type: ignore[arg-type]


def test_empty_lines_of_a_file_of_arguments_are_skipped(run: Path, tmp_path: Path) -> None:
    data = write(paired(), tmp_path / "data.h5mu")
    (tmp_path / "regions").write_text("chr1\n\nchr2\n \n")
    out = tmp_path / "out.h5ad"
    assert main(["impute", str(run), str(data), "-o", str(out), "--regions", f"@{tmp_path / 'regions'}"]) == 0
    assert set(ad.read_h5ad(out).var["chrom"]) == {"chr1", "chr2"}
