"""The exchange format: all examples have identical content, and invalid files are refused with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import mudata
import numpy as np
import pytest

from compare import normal
from content import describe, to_mudata
from sailerx.data.contract import check_file, format_schema, outline
from sailerx.errors import InputError

EXAMPLES = Path(__file__).resolve().parents[2] / "bridge" / "examples" / "v1"
CONTENT = json.loads((EXAMPLES / "content.json").read_text(encoding="utf-8"))
FILES = sorted(EXAMPLES.glob("*.h5mu"))
quiet_mudata = pytest.mark.filterwarnings("ignore:The behavior of array concatenation:FutureWarning")


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return Path(shutil.copy(EXAMPLES / "sailerx-r.h5mu", tmp_path / "fichier à lire.h5mu"))


def test_examples_of_both_anndata_versions_and_of_r_exist() -> None:
    assert [file.stem for file in FILES] == ["anndata-0.12", "anndata-0.13", "sailerx-r"]


@quiet_mudata
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_python_reads_the_same_content_from_every_example(file: Path) -> None:
    assert normal(describe(mudata.read_h5mu(file)), CONTENT) == normal(CONTENT)


@pytest.mark.r
@pytest.mark.signac
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_r_reads_the_same_content_from_every_example(r, file: Path) -> None:
    assert normal(r.read(file), CONTENT) == normal(CONTENT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_passes_the_check(file: Path) -> None:
    assert check_file(file) == (1 if file.stem == "sailerx-r" else None)


def test_the_r_example_has_the_written_profile_and_others_do_not() -> None:
    assert check_file(EXAMPLES / "sailerx-r.h5mu", profile="written") == format_schema()["x-version"]
    with pytest.raises(InputError, match="sailerx-format"):
        check_file(EXAMPLES / "anndata-0.12.h5mu", profile="written")


@pytest.mark.r
@pytest.mark.signac
def test_r_writes_the_written_profile(r, tmp_path: Path) -> None:
    r.write(CONTENT, tmp_path / "now.h5mu")
    assert check_file(tmp_path / "now.h5mu", profile="written") == 1
    with h5py.File(tmp_path / "now.h5mu") as now, h5py.File(EXAMPLES / "sailerx-r.h5mu") as frozen:
        assert outline(now["mod"]) == outline(frozen["mod"])


@quiet_mudata
def test_a_file_of_plain_mudata_passes(tmp_path: Path) -> None:
    to_mudata(CONTENT).write(tmp_path / "plain.h5mu")
    assert check_file(tmp_path / "plain.h5mu") is None


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        check_file(tmp_path / "nothing.h5mu")


@pytest.mark.parametrize(
    ("size", "reason"), [(60_000, "cut short or is damaged"), (300, "cut short near its start")]
)
def test_a_truncated_file_is_refused(example: Path, size: int, reason: str) -> None:
    example.write_bytes(example.read_bytes()[:size])
    with pytest.raises(InputError, match=reason):
        check_file(example)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.h5mu").write_text("cell,count\n" * 200, encoding="utf-8")
    with pytest.raises(InputError, match="must be an HDF5 file"):
        check_file(tmp_path / "table.h5mu")


def test_a_newer_version_is_refused(example: Path) -> None:
    with h5py.File(example, "r+") as file:
        file.attrs["sailerx-format"] = 2
    with pytest.raises(
        InputError, match="version 1 or older, but it is of version 2.*Install a newer sailerx"
    ):
        check_file(example)


def test_an_h5ad_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    to_mudata(CONTENT)["rna"].write_h5ad(tmp_path / "one.h5ad")
    with pytest.raises(InputError, match=r"single AnnData object.*mudata\.MuData"):
        check_file(tmp_path / "one.h5ad")


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("mod", "groups `mod`"),
        ("obs", "groups `mod`"),
        ("mod/rna/var", "groups `obs` .* and `var`"),
        ("mod/rna/X/indptr", "data, indices and indptr"),
        ("obs/label/codes", "categories and codes"),
        ("obs/count_na/mask", "values and mask"),
    ],
)
def test_a_missing_part_is_named(example: Path, missing: str, reason: str) -> None:
    with h5py.File(example, "r+") as file:
        del file[missing]
    with pytest.raises(InputError, match=reason) as error:
        check_file(example)
    assert missing.split("/")[-1] in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("mod/rna/X/indptr", np.arange(3), "must have 5 pointers, but has 3"),
        ("mod/rna/X/indices", np.arange(2), "as many values as indices"),
        ("mod/rna/obsm/X_pca", np.zeros((3, 2)), "one row per cell: expected 4, got 3"),
        ("mod/rna/X/indices", np.zeros(5), "vectors of whole numbers"),
    ],
)
def test_part_of_wrong_length_is_named(example: Path, path: str, value: np.ndarray, reason: str) -> None:
    with h5py.File(example, "r+") as file:
        del file[path]
        file[path] = value
    with pytest.raises(InputError, match=reason):
        check_file(example)
