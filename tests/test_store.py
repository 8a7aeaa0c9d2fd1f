"""Model folders: written atomically, loaded bit for bit, refused if incomplete or foreign."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sailerx
from data import TINY, files_below, paired
from sailerx import InputError
from sailerx.files.atomic import new_file, new_folder
from sailerx.results import trained

MDATA = paired()


@pytest.fixture(scope="module")
def model() -> sailerx.Model:
    return sailerx.fit(MDATA, batch_key="batch", progress="none", **TINY)


@pytest.fixture
def saved(model: sailerx.Model, tmp_path: Path) -> Path:
    model.save(tmp_path / "run")
    return tmp_path / "run"


def test_loaded_model_embeds_bit_for_bit_as_the_saved_one(model: sailerx.Model, saved: Path) -> None:
    np.testing.assert_array_equal(sailerx.load(saved).embed(MDATA), model.embed(MDATA))


def test_loaded_model_keeps_all_that_was_saved(model: sailerx.Model, saved: Path) -> None:
    again = sailerx.load(saved)
    assert again.settings == model.settings
    assert again.confounders == model.confounders
    assert again.record == model.record
    assert again.peaks.equals(model.peaks)
    np.testing.assert_array_equal(again.history.to_numpy(), model.history.to_numpy())
    assert list(again.history.columns) == list(model.history.columns)


def test_model_without_coordinates_survives(tmp_path: Path) -> None:
    model = sailerx.fit(MDATA, progress="none", single_block=True, **TINY)
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(sailerx.load(tmp_path / "run").embed(MDATA), model.embed(MDATA))


def test_awkward_names_of_peaks_survive(tmp_path: Path) -> None:
    mdata = paired(n_contigs=4)
    names = [*mdata["atac"].var_names[:-2], "NA:1-2", 'chr",ü:3-4']
    mdata["atac"].var_names = names
    del mdata["atac"].var["chrom"]
    model = sailerx.fit(mdata, progress="none", **TINY)
    model.save(tmp_path / "run")
    again = sailerx.load(tmp_path / "run")
    assert set(again.peaks.index) == set(names)
    np.testing.assert_array_equal(again.embed(mdata), model.embed(mdata))


def test_folder_holds_safetensors_json_and_csv_alone(saved: Path) -> None:
    assert {path.suffix for path in saved.iterdir()} == {".safetensors", ".json", ".csv"}


def test_path_with_spaces_and_utf8_works(model: sailerx.Model, tmp_path: Path) -> None:
    path = tmp_path / "mein Modell – ü" / "läuft 1"
    model.save(path)
    np.testing.assert_array_equal(sailerx.load(str(path)).embed(MDATA), model.embed(MDATA))


# Writing


def test_existing_folder_is_refused_with_the_remedy(model: sailerx.Model, saved: Path) -> None:
    with pytest.raises(InputError, match=r"run exists already. Choose another folder.*overwrite=True"):
        model.save(saved)


def test_existing_model_is_replaced_if_asked(model: sailerx.Model, saved: Path) -> None:
    (saved / "stray.txt").write_text("x", encoding="utf-8")
    model.save(saved, overwrite=True)
    assert not (saved / "stray.txt").exists()
    assert files_below(saved.parent) == {"run", *(f"run/{path.name}" for path in saved.iterdir())}
    sailerx.load(saved)


def test_folder_of_something_else_is_never_replaced(model: sailerx.Model, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="thesis is not a model folder, so it is not replaced"):
        model.save(tmp_path / "thesis", overwrite=True)
    assert files_below(tmp_path) == {"thesis", "thesis/chapter.txt"}


def fail_within(place: AbstractContextManager[Path]) -> None:
    """An error after half of the work."""
    with contextlib.suppress(ZeroDivisionError), place as path:
        half = path / "half.txt" if path.is_dir() else path
        half.write_text("x", encoding="utf-8")
        raise ZeroDivisionError


def test_error_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    fail_within(new_folder(tmp_path / "new" / "deep"))
    assert files_below(tmp_path) == set()


def test_error_while_replacing_leaves_the_old_model(model: sailerx.Model, saved: Path) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    fail_within(new_folder(saved, overwrite=True))
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert len(list(saved.parent.iterdir())) == 1


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_model_is_replaced_whole(
    model: sailerx.Model, saved: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_one_step:
        monkeypatch.setattr("sailerx.files.atomic._exchange", lambda *_: False)
    (saved / "history.csv").unlink()
    model.save(saved, overwrite=True)
    np.testing.assert_array_equal(sailerx.load(saved).embed(MDATA), model.embed(MDATA))
    assert [path.name for path in saved.parent.iterdir()] == ["run"]


def test_an_old_model_is_put_back_if_the_new_one_cannot_take_its_place(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    monkeypatch.setattr("sailerx.files.atomic._exchange", lambda *_: False)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="cannot be written"), new_folder(saved, overwrite=True):
        pass
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in saved.parent.iterdir()] == ["run"]


def test_full_disk_leaves_nothing_behind(
    model: sailerx.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        trained, "save_file", full
    )  # a real full disk: test_cli.py, where mounting is allowed
    with pytest.raises(OSError, match="No space left on device"):
        model.save(tmp_path / "run")
    assert files_below(tmp_path) == set()


def test_new_file_is_atomic(tmp_path: Path) -> None:
    fail_within(new_file(tmp_path / "a.txt"))
    assert files_below(tmp_path) == set()
    with new_file(tmp_path / "a.txt") as path:
        path.write_text("whole", encoding="utf-8")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "whole"
    assert files_below(tmp_path) == {"a.txt"}


def test_new_file_needs_its_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="the folder of .* must exist"),
        new_file(tmp_path / "no" / "a.txt"),
    ):
        pass
    with pytest.raises(InputError, match="must be a file, but is a folder"), new_file(tmp_path):
        pass


# Reading


def test_missing_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    for name in ("foreign", "nowhere"):
        with pytest.raises(
            InputError, match=rf"{name} is not a whole sailerx model: .*missing. Give a folder that `fit`"
        ):
            sailerx.load(tmp_path / name)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "peaks.csv", "history.csv"])
def test_each_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(InputError, match=f"not a whole sailerx model: {name} missing"):
        sailerx.load(saved)


def change_json(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    model = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(model), encoding="utf-8")


def test_newer_model_is_refused_with_both_versions(saved: Path) -> None:
    change_json(saved, sailerx_model=99)
    with pytest.raises(
        InputError, match=r"newer sailerx \(model version 99; this one reads up to \d+\). Upgrade"
    ):
        sailerx.load(saved)


def settings_of(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))["settings"]
    return settings


@pytest.mark.parametrize(
    "tamper",
    [
        lambda run: (run / "weights.safetensors").write_bytes(
            (run / "weights.safetensors").read_bytes()[:-100]
        ),
        lambda run: (run / "weights.safetensors").write_bytes(b"\x80\x04 a pickle"),
        lambda run: (run / "model.json").write_text("{", encoding="utf-8"),
        lambda run: (run / "model.json").write_text("[]", encoding="utf-8"),
        lambda run: (run / "peaks.csv").write_text(
            "peak,chrom,start,end\nchr1:5-9,chr1,5,9\n", encoding="utf-8"
        ),
        lambda run: (run / "peaks.csv").write_text("", encoding="utf-8"),
        lambda run: change_json(run, settings={"unknown": 1}),
        lambda run: change_json(run, settings=settings_of(run) | {"n_latent": 7}),
        lambda run: change_json(run, blocks=[]),
        lambda run: change_json(run, sailerx_model="one"),
        lambda run: change_json(run, confounders={}),
    ],
)
def test_damaged_and_tampered_models_are_refused(saved: Path, tamper: Any) -> None:
    tamper(saved)
    with pytest.raises(InputError, match=r"run is damaged or not a sailerx model: .*Fit it again"):
        sailerx.load(saved)


@pytest.mark.parametrize("name", ["weights.safetensors", "joint.safetensors", "peaks.csv", "history.csv"])
def test_one_changed_byte_is_noticed(saved: Path, name: str) -> None:
    data = bytearray((saved / name).read_bytes())
    data[-2] ^= 1  # within the last number
    (saved / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name} is not what was written. Fit it again"):
        sailerx.load(saved)


def test_a_changed_setting_is_noticed(saved: Path) -> None:
    change_json(saved, settings=settings_of(saved) | {"seed_of_nothing": 1})
    with pytest.raises(InputError, match="model.json is not what was written"):
        sailerx.load(saved)


def test_model_of_a_version_without_checksums_is_read(model: sailerx.Model, saved: Path) -> None:
    about = json.loads((saved / "model.json").read_text(encoding="utf-8"))
    del about["sha256"]
    (saved / "model.json").write_text(json.dumps(about), encoding="utf-8")
    np.testing.assert_array_equal(sailerx.load(saved).embed(MDATA), model.embed(MDATA))
    (saved / "joint.safetensors").unlink()
    with pytest.raises(InputError, match="damaged or not a sailerx model"):
        sailerx.load(saved)


def test_models_written_between_releases_must_be_fitted_again(saved: Path) -> None:
    change_json(saved, sailerx_model=2)
    with pytest.raises(InputError, match=r"between releases \(model version 2\).*Fit it again"):
        sailerx.load(saved)


def test_copied_folder_is_the_same_model(model: sailerx.Model, saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "copy")
    np.testing.assert_array_equal(sailerx.load(tmp_path / "copy").embed(MDATA), model.embed(MDATA))
