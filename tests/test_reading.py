"""What users hand over: one matrix of genes and peaks, other names, .zarr, counts in .raw; and files that cannot be read."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import sailerx
from data import TINY, paired, together, write
from sailerx import InputError
from sailerx.data.csr_on_disk import CsrOnDisk
from sailerx.data.modalities import find_modalities
from sailerx.data.reading import opened, read, read_cells
from sailerx.errors import FileError
from sailerx.files.atomic import new_file, new_folder
from sailerx.files.trouble import unreadable

MDATA = paired()


def one_matrix(mdata: mudata.MuData = MDATA) -> ad.AnnData:
    """Genes and peaks of the same cells as columns of one matrix, as Cell Ranger stores them."""
    r, a = mdata["rna"], mdata["atac"]
    kinds = ["Gene Expression"] * r.n_vars + ["Peaks"] * a.n_vars
    var = pd.DataFrame({"feature_types": kinds}, index=[*r.var_names, *a.var_names])
    return ad.AnnData(sp.hstack([r.X, a.X], format="csr"), obs=a.obs.copy(), var=var)


def cell_ranger_file(path: Path, mdata: mudata.MuData = MDATA) -> Path:
    both = one_matrix(mdata)
    by_cell = sp.csr_matrix(both.X).astype(np.int32)
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        for part in ("data", "indices", "indptr"):
            matrix[part] = getattr(by_cell, part)
        matrix["shape"] = np.array(by_cell.shape[::-1])
        matrix["barcodes"] = np.array(both.obs_names, dtype="S")
        features = matrix.create_group("features")
        features["id"] = features["name"] = np.array(both.var_names, dtype="S")
        features["feature_type"] = np.array(both.var["feature_types"], dtype="S")
    return path


def written_zarr(data: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.write_zarr(path)
    return path


def written_h5ad(data: ad.AnnData, path: Path) -> Path:
    data.write_h5ad(path)
    return path


def assert_same_data(found: mudata.MuData, expected: mudata.MuData = MDATA) -> None:
    for name in ("rna", "atac"):
        assert list(found[name].var_names) == list(expected[name].var_names)
        assert list(found[name].obs_names) == list(expected[name].obs_names)
        np.testing.assert_array_equal(found[name].X.toarray(), expected[name].X.toarray())


def renamed() -> mudata.MuData:
    return together(gex=MDATA["rna"], peaks=MDATA["atac"])


FORMS: dict[str, Callable[[Path], Path]] = {
    "Cell Ranger's .h5": lambda folder: cell_ranger_file(folder / "filtered_feature_bc_matrix.h5"),
    ".h5ad of one matrix": lambda folder: written_h5ad(one_matrix(), folder / "both.h5ad"),
    ".zarr of MuData": lambda folder: written_zarr(MDATA, folder / "m.zarr"),
    ".zarr of one matrix": lambda folder: written_zarr(one_matrix(), folder / "one.zarr"),
    ".h5mu": lambda folder: write(MDATA, folder / "m.h5mu"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_data(form: str, tmp_path: Path) -> None:
    assert_same_data(read(FORMS[form](tmp_path)))


def test_the_same_embedding_comes_of_a_zarr_streamed_or_not_and_of_one_matrix(tmp_path: Path) -> None:
    options: dict[str, Any] = {**TINY, "seed": 0, "progress": "none"}
    zarr = written_zarr(MDATA, tmp_path / "m.zarr")
    expected = sailerx.fit(MDATA, **options).embed(MDATA)
    for data in (zarr, one_matrix(), FORMS["Cell Ranger's .h5"](tmp_path)):
        np.testing.assert_array_equal(sailerx.fit(data, **options).embed(data), expected)
    streamed = sailerx.fit(zarr, backed=True, **options)
    assert streamed.record["backed"]
    np.testing.assert_array_equal(streamed.embed(zarr), streamed.embed(MDATA))


@pytest.mark.parametrize("form", ["Cell Ranger's .h5", ".h5ad of one matrix", ".zarr of one matrix"])
def test_one_matrix_of_genes_and_peaks_is_streamed(form: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {**TINY, "seed": 0, "progress": "none", "backed": True}
    path, apart = FORMS[form](tmp_path), write(MDATA, tmp_path / "m.h5mu")
    model, expected = (sailerx.fit(data, **options) for data in (path, apart))
    assert model.record["backed"]
    embedding = expected.embed(MDATA)
    np.testing.assert_array_equal(model.embed(path), embedding)
    np.testing.assert_array_equal(model.embed(MDATA), embedding)
    imputed = [
        m.impute(d, peaks=MDATA["atac"].var_names[[3, 1]]).X for m, d in ((model, path), (expected, apart))
    ]
    np.testing.assert_array_equal(*imputed)
    assert sailerx.check(path, backed=True) == sailerx.check(apart, backed=True)


def test_of_one_matrix_in_its_file_only_the_cells_asked_for_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_matrix().write_h5ad(tmp_path / "both.h5ad")
    monkeypatch.setattr("sailerx.data.csr_on_disk.CELLS_PER_CHUNK", 8)
    with opened(tmp_path / "both.h5ad") as found:
        atac = find_modalities(found, "rna", "atac")["atac"]
        asked: list[int] = []
        read_rows = CsrOnDisk.read
        monkeypatch.setattr(
            CsrOnDisk,
            "read",
            lambda self, start, end, **how: asked.append(start) or read_rows(self, start, end, **how),
        )
        rows, columns = [41, 3, 40], [5, 0]
        np.testing.assert_array_equal(atac.X[rows].toarray(), MDATA["atac"].X[rows].toarray())
        assert asked == [0, 40]
        part = atac[sorted(rows)].to_memory()
        np.testing.assert_array_equal(part.X.toarray(), MDATA["atac"].X[sorted(rows)].toarray())
        np.testing.assert_array_equal(
            atac.X[np.ix_(rows, columns)].toarray(), MDATA["atac"].X[rows][:, columns].toarray()
        )
        assert atac.X[[]].shape == (0, MDATA["atac"].n_vars)


def test_one_matrix_stored_by_feature_cannot_be_streamed_and_says_what_to_do(tmp_path: Path) -> None:
    by_feature = one_matrix()
    by_feature.X = sp.csc_matrix(by_feature.X)
    by_feature.write_h5ad(tmp_path / "both.h5ad")
    with pytest.raises(InputError, match=r"genes and peaks must be stored by cell.*sailerx\.read"):
        sailerx.fit(tmp_path / "both.h5ad", backed=True, progress="none", **TINY)


def test_counts_in_raw_of_one_matrix_are_parted_too() -> None:
    both = one_matrix()
    both.raw = both.copy()
    both.X = both.X * 0.5
    with pytest.warns(UserWarning, match=r"taken from `\.raw`"):
        assert_same_data(find_modalities(both, "rna", "atac"))


def test_modalities_under_other_names_are_found_and_said_in_one_line() -> None:
    with pytest.warns(
        UserWarning, match=r"^modality 'gex' is taken as 'rna' and 'peaks' is taken as 'atac'\.$"
    ) as told:
        found = find_modalities(renamed(), "rna", "atac")
    assert len(told) == 1
    assert_same_data(found)
    assert list(found.obs.columns) == list(renamed().obs.columns)


def test_feature_types_tell_what_a_name_does_not() -> None:
    typed = MDATA["atac"].copy()
    typed.var["feature_types"] = "Peaks"
    with pytest.warns(UserWarning, match="'second' is taken as 'atac'"):
        assert "atac" in find_modalities(together(rna=MDATA["rna"], second=typed), "rna", "atac").mod


def test_two_candidates_are_not_guessed_between() -> None:
    second = MDATA["atac"].copy()
    second.var_names = "other-" + second.var_names
    ambiguous = together(rna=MDATA["rna"], peaks=MDATA["atac"], accessibility=second)
    assert find_modalities(ambiguous, "rna", "atac") is ambiguous
    with pytest.raises(InputError, match="must have a modality 'atac'; it has: rna, peaks, accessibility"):
        sailerx.check(ambiguous)


@pytest.mark.filterwarnings("ignore:var_names are not unique")
def test_atac_with_genes_in_it_is_refused_and_single_block_is_not_advised() -> None:
    mixed = together(rna=MDATA["rna"], atac=one_matrix())
    for options in ({}, {"single_block": True}):
        with pytest.raises(InputError, match="'atac' must hold peaks alone, but 80 of its 170") as error:
            sailerx.check(mixed, **options)
        assert "single_block" not in str(error.value)


def with_raw() -> mudata.MuData:
    """RNA normalised in X, counts in .raw of more genes than X has."""
    r = MDATA["rna"].copy()
    r.raw = r
    r = r[:, 10:].copy()
    r.X = r.X.log1p()
    return together(rna=r, atac=MDATA["atac"])


@pytest.mark.parametrize("in_file", [False, True])
def test_counts_are_taken_from_raw_where_nothing_else_holds_them(in_file: bool, tmp_path: Path) -> None:
    data: Any = write(with_raw(), tmp_path / "raw.h5mu") if in_file else with_raw()
    options: dict[str, Any] = {**TINY, "seed": 0, "progress": "none"}
    with pytest.warns(UserWarning, match=r"counts of modality 'rna' are taken from `\.raw`"):
        found = sailerx.fit(data, **options)
    expected = sailerx.fit(MDATA, **options)
    np.testing.assert_array_equal(found.embed(MDATA), expected.embed(MDATA))


# Files that cannot be read or written


@contextmanager
def open_elsewhere(path: Path) -> Iterator[None]:
    """Another process has the file open for writing."""
    code = (
        f"import h5py, sys; f = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    other.stdout.readline()
    try:
        yield
    finally:
        other.communicate(b"")


@pytest.mark.parametrize("suffix", [".h5mu", ".h5ad"])
def test_a_file_that_another_program_has_open_is_not_called_damaged(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    write(MDATA, path) if suffix == ".h5mu" else MDATA["atac"].write_h5ad(path)
    with open_elsewhere(path), pytest.raises(FileError, match="another program has it open") as error:
        read_cells(path)
    assert "damaged" not in str(error.value)
    assert read_cells(path).n_obs == 60


def without_permission(path: Path) -> None:
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with pytest.raises(FileError, match=r"m\.h5mu cannot be read: you have no permission"):
            read(path)
        with (
            pytest.raises(FileError, match=r"out\.h5ad cannot be written .*no permission"),
            new_file(path.parent / "out.h5ad"),
        ):
            pass
        with (
            pytest.raises(FileError, match=r"run cannot be written .*no permission"),
            new_folder(path.parent / "run"),
        ):
            pass
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="takes on another user's rights, as root"
)
def test_permission_that_lacks_is_said(tmp_path: Path) -> None:
    path = write(MDATA, tmp_path / "m.h5mu")
    path.chmod(0o600)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    without_permission(path)
    assert [file.name for file in tmp_path.iterdir()] == ["m.h5mu"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN, errno.EIO, errno.EISDIR])
def test_a_reason_of_the_system_is_given_in_words(number: int) -> None:
    text = str(unreadable("x.h5mu", OSError(number, os.strerror(number))))
    assert text.startswith("x.h5mu cannot be read: ")
    assert "damaged" not in text


def test_a_folder_that_is_no_zarr_is_refused_as_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a file or a .zarr folder"):
        sailerx.check(tmp_path)


@pytest.mark.parametrize("length", [3_000, 20_000])
def test_a_file_cut_short_is_refused_in_one_sentence(length: int, tmp_path: Path) -> None:
    MDATA["atac"].write_h5ad(tmp_path / "a.h5ad")
    cut = tmp_path / "cut.h5ad"
    cut.write_bytes((tmp_path / "a.h5ad").read_bytes()[:length])
    with pytest.raises(InputError, match="cut short"):
        read_cells(cut)
