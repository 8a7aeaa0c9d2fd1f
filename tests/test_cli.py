"""The command line: the same results as in Python, and errors that leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from mudata import MuData

import sailerx
from data import TINY, TINY_FLAGS, files_below, paired, with_atac, with_part, write
from sailerx.cli import main
from sailerx.data.contract import format_schema

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated data in a path with spaces and UTF-8."""
    return write(paired(), tmp_path_factory.mktemp("cli") / "Daten – ü" / "in put.h5mu")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, in an empty folder; gives status, output and errors."""
    before = Path.cwd()
    os.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    yield call  # type: ignore[misc]
    os.chdir(before)


def in_new_process(
    folder: Path, *arguments: str | Path, before: Sequence[str] = (), **options: object
) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "sailerx", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload, no-any-return]


def refused(answer: tuple[int, str, str]) -> str:
    """The message of a refusal, which is the last line on the error stream; no traceback, nothing on the output."""
    status, out, err = answer
    assert status == 2, err
    assert out == ""
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("sailerx: error: "), err
    return last.removeprefix("sailerx: error: ")


# What works


def test_new_process_embeds_bit_for_bit_as_python_does(file: Path, tmp_path: Path) -> None:
    answer = in_new_process(
        tmp_path,
        "fit",
        file,
        "-o",
        "ein Lauf/ü",
        "--embed",
        "fit.h5ad",
        "--batch-key",
        "batch",
        "--seed",
        "3",
        *TINY_FLAGS,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == ""
    assert "cells/s" in answer.stderr
    z = ad.read_h5ad(tmp_path / "fit.h5ad").obsm["X_sailerx"]
    model = sailerx.fit(file, batch_key="batch", seed=3, progress="none", **TINY)
    np.testing.assert_array_equal(z, model.embed(sailerx.read(file)))
    np.testing.assert_array_equal(z, sailerx.load(tmp_path / "ein Lauf" / "ü").embed(sailerx.read(file)))
    assert {path.name for path in tmp_path.iterdir()} == {"fit.h5ad", "ein Lauf"}


def test_embed_writes_what_the_model_says(run: Run, file: Path, tmp_path: Path) -> None:
    assert run("fit", file, "-o", "run", "--progress", "none", *TINY_FLAGS) == (0, "", "")
    assert run("embed", "run", file, "-o", "out.h5ad") == (0, "", "")
    model, out = sailerx.load(tmp_path / "run"), ad.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(out.obsm["X_sailerx"], model.embed(sailerx.read(file)))
    assert json.loads(out.uns["sailerx"]["settings"])["n_latent"] == 5
    sailerx.read(file)["atac"].write_h5ad(tmp_path / "atac.h5ad")
    assert run("embed", "run", "atac.h5ad", "-o", "again.h5ad")[0] == 0
    again = ad.read_h5ad(tmp_path / "again.h5ad")
    np.testing.assert_array_equal(again.obsm["X_sailerx"], model.embed(sailerx.read(file)["atac"]))
    assert (out.obs["sailerx_has_rna"].all(), again.obs["sailerx_has_rna"].any()) == (True, False)


def test_match_peaks_brings_counts_onto_a_files_or_a_models_peaks(
    run: Run, file: Path, tmp_path: Path
) -> None:
    there = sailerx.read(file)["atac"][:, 10:].copy()
    there.write_h5ad(tmp_path / "there.h5ad")
    status, out, err = run("match-peaks", "there.h5ad", file, "-o", "matched.h5ad")
    assert (status, err) == (0, "")
    n = int(there.X.sum())
    assert out == f"{n:,} of {n:,} counts kept, on 80 of 90 peaks\n"
    matched = ad.read_h5ad(tmp_path / "matched.h5ad")
    np.testing.assert_array_equal(matched.X.toarray()[:, 10:], there.X.toarray())
    assert run("fit", file, "-o", "run", "--progress", "none", *TINY_FLAGS)[0] == 0
    assert run("match-peaks", "there.h5ad", "run", "-o", "again.h5ad")[1] == out


def test_match_peaks_refuses_what_is_no_model_or_file(run: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "is not a whole sailerx model" in refused(run("match-peaks", file, "empty", "-o", "out.h5ad"))
    assert not (tmp_path / "out.h5ad").exists()


def test_check_describes_the_file(run: Run, file: Path, tmp_path: Path) -> None:
    status, out, err = run("check", file, "--batch-key", "batch")
    assert (status, err) == (0, "")
    assert out.rstrip() == sailerx.check(file, batch_key="batch")
    assert files_below(tmp_path) == set()


def test_info_is_json_for_other_programs(run: Run) -> None:
    status, out, err = run("info")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert {"sailerx", "python", "torch", "mudata", "anndata"} <= set(found["versions"])
    assert found["device"] in ("cpu", "cuda")
    assert isinstance(found["format_version"], int)


def test_warnings_are_lines_of_their_own(run: Run, tmp_path: Path) -> None:
    mdata = paired()
    path = write(with_part(mdata, rna=mdata["rna"][:40].copy()), tmp_path / "in.h5mu")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        status, _, err = run("fit", path, "-o", "run", "--progress", "none", *TINY_FLAGS)
    assert status == 0
    expected = "sailerx: warning: 20 of 60 cells of 'atac' have no 'rna'; they are trained without alignment."
    assert err.splitlines() == [expected]


def test_running_a_command_leaves_the_callers_warnings_alone(run: Run, file: Path) -> None:
    before = warnings.showwarning
    run("check", file)
    assert warnings.showwarning is before


def test_existing_model_is_replaced_only_if_asked(run: Run, file: Path, tmp_path: Path) -> None:
    fit = ["fit", file, "-o", "run", "--progress", "none", *TINY_FLAGS]
    assert run(*fit)[0] == 0
    assert "run exists already" in refused(run(*fit))
    assert run(*fit, "--overwrite", "--seed", "1")[0] == 0
    assert sailerx.load(tmp_path / "run").record["seed"] == 1


# What is refused


def test_bad_input_in_a_new_process_ends_with_one_line_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "in.h5mu").write_text("not HDF5", encoding="utf-8")
    answer = in_new_process(tmp_path, "fit", "in.h5mu", "-o", "new/run", "--embed", "out.h5ad")
    message = refused((answer.returncode, answer.stdout, answer.stderr))
    assert "in.h5mu" in message
    assert files_below(tmp_path) == {"in.h5mu"}


def test_traceback_is_shown_when_asked_for(run: Run) -> None:
    status, _, err = run("fit", "nowhere.h5mu", "-o", "run", "--traceback")
    assert status == 2
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("sailerx: error: ")


def normalised() -> MuData:
    mdata = paired()
    return with_atac(mdata, mdata["atac"].X.toarray() / 3)


def with_empty_cell() -> MuData:
    mdata = paired()
    x = mdata["atac"].X.toarray()
    x[7] = 0
    return with_atac(mdata, x)


def without_overlap() -> MuData:
    mdata = paired()
    rna = mdata["rna"].copy()
    rna.obs_names = [f"{name}-rna" for name in rna.obs_names]
    return with_part(mdata, rna=rna)


def with_missing_batch() -> MuData:
    mdata = paired()
    atac = mdata["atac"].copy()
    atac.obs["donor"] = pd.Categorical(["x", None, "y"] * 20)
    return with_part(mdata, atac=atac)


def without_coordinates() -> MuData:
    mdata = paired()
    a = mdata["atac"]
    return with_part(mdata, atac=ad.AnnData(a.X, a.obs, pd.DataFrame(index=[f"peak{i}" for i in range(90)])))


def with_empty_rna() -> MuData:
    mdata = paired()
    rna = mdata["rna"]
    keep = sp.diags((np.arange(60) != 5).astype(np.float32))
    return with_part(mdata, rna=ad.AnnData(sp.csr_matrix(keep @ rna.X), rna.obs.copy(), rna.var.copy()))


@pytest.mark.parametrize(
    ("make", "flags", "found"),
    [
        (normalised, [], "X of modality 'atac' holds values that are not whole numbers"),
        (with_empty_cell, [], "1 of 60 have none"),
        (without_overlap, [], "must share barcodes, found none in common"),
        (with_missing_batch, ["--batch-key", "donor"], "'donor' must have a value for every cell: 20 of 60"),
        (without_coordinates, [], "chr1:5-9, chr1-5-9 or chr1_5_9"),
        (with_empty_rna, [], "1 of 60 have depth 0"),
        (paired, ["--rna-embedding", "X_pca"], "has no obsm 'X_pca'"),
        (paired, ["--atac-layer", "raw"], "has no layer 'raw'. It has: X"),
        (paired, ["--batch-key", "donor"], "no obs column 'donor'. There are: "),
        (paired, ["--rna", "gex"], "must have a modality 'gex'; it has: rna, atac"),
        (paired, ["--threads", "0"], "`threads` must be at least 1, got 0"),
        (paired, ["--n-latent", "0"], "`n_latent` must be at least 1, got 0"),
        (paired, ["--n-latent", "many"], "invalid int value: 'many'"),
        (paired, ["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_left(
    run: Run,
    tmp_path: Path,
    make: Callable[[], object],
    flags: list[str],
    found: str,
) -> None:
    write(make(), tmp_path / "in.h5mu")  # type: ignore[arg-type]
    answer = run("fit", "in.h5mu", "-o", "new/run", "--embed", "out.h5ad", "--progress", "none", *flags)
    assert found in refused(answer)
    assert files_below(tmp_path) == {"in.h5mu"}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_newer(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        h5.attrs[format_schema()["x-version-attribute"]] = 99


@pytest.mark.parametrize(
    ("spoil", "found"), [(cut, "in.h5mu"), (make_newer, "99"), (lambda path: path.unlink(), "in.h5mu")]
)
@pytest.mark.parametrize("command", [["fit", "-o", "run"], ["check"]])
def test_file_that_cannot_be_read_is_refused(
    run: Run,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    found: str,
    command: list[str],
) -> None:
    path = write(paired(), tmp_path / "in.h5mu")
    spoil(path)
    assert found in refused(run(command[0], "in.h5mu", *command[1:]))
    assert files_below(tmp_path) <= {"in.h5mu"}


def test_embed_refuses_what_is_no_model(run: Run, file: Path, tmp_path: Path) -> None:
    assert "is not a whole sailerx model" in refused(run("embed", tmp_path / "none", file, "-o", "out.h5ad"))
    assert files_below(tmp_path) == set()


def test_output_that_cannot_be_written_is_refused_before_training(
    run: Run, file: Path, tmp_path: Path
) -> None:
    answer = run("fit", file, "-o", "run", "--embed", "nowhere/out.h5ad", "--max-epochs", "100000")
    assert "the folder of nowhere/out.h5ad must exist" in refused(answer)
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize("command", [[], ["train"], ["fit"], ["embed", "run"]])
def test_incomplete_commands_are_refused(run: Run, command: list[str]) -> None:
    refused(run(*command))


def test_full_disk_leaves_nothing_behind(file: Path, tmp_path: Path) -> None:
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]  # no file may grow beyond 4 kB
    answer = in_new_process(
        tmp_path, "fit", file, "-o", "new/run", "--embed", "out.h5ad", *TINY_FLAGS, before=limited
    )
    message = refused((answer.returncode, answer.stdout, answer.stderr))
    assert "File too large" in message
    assert files_below(tmp_path) == set()


def test_interrupt_leaves_nothing_behind(
    run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sailerx.api.train", interrupt)
    status, out, err = run("fit", file, "-o", "new/run", "--embed", "out.h5ad", *TINY_FLAGS)
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == "sailerx: interrupted"
    assert files_below(tmp_path) == set()


def test_termination_leaves_nothing_behind(file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sailerx", "fit", str(file), "-o", "new/run", *TINY_FLAGS]
    long = [*command, "--max-epochs=100000", "--progress=lines"]
    with subprocess.Popen(long, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "epoch" not in (line := process.stderr.readline()):
            assert line, "it ended before it trained"
        process.terminate()
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "sailerx: interrupted"
    assert files_below(tmp_path) == set()


def test_unexpected_errors_say_how_to_see_where(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("sailerx.api.train", fail)
    status, _, err = run("fit", file, "-o", "run", *TINY_FLAGS)
    assert status == 1
    assert err.splitlines()[-1].startswith(
        "sailerx: error: on purpose (ZeroDivisionError; run again with --traceback"
    )
