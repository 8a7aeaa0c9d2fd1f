"""Benchmark scripts on tiny data."""

from __future__ import annotations

import contextlib
import csv
import functools
import importlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import backed
import gpu
import h5py
import mudata
import numpy as np
import pandas as pd
import published
import pytest
import quick
import scipy.sparse as sp
import scoring
import stopping
import whole
import zarr

import sailerx
from data import paired, write


def script(name: str, *arguments: object) -> str:
    """What a benchmark prints, run in this process: one of its own would load torch again."""
    with (
        pytest.MonkeyPatch.context() as patch,
        mudata.set_options(pull_on_update=False),
        contextlib.redirect_stdout(io.StringIO()) as printed,
    ):
        patch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        try:
            importlib.import_module(name).main()
        except SystemExit as stop:
            if stop.code:
                pytest.fail(str(stop.code))
    return printed.getvalue()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a benchmark starts as a Python of its own runs in this process too."""
    run_in_process(monkeypatch)


def run_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.run

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0] != sys.executable:
            return start(command, **options)
        return subprocess.CompletedProcess(command, 0, script(Path(command[1]).stem, *command[2:]))

    monkeypatch.setattr(subprocess, "run", run)


def test_rows_are_computed_once_and_become_a_table_on_the_page(tmp_path: Path, in_process: None) -> None:
    data = write(paired(n_cells=130), tmp_path / "tiny.h5mu")
    out, page = tmp_path / "tiny.csv", tmp_path / "page.md"
    run = [data, "--seeds", 0, "--out", out, "--threads", 1, "--no-tools"]
    script("quality", *run, "--methods", "rna_pca")
    before = out.read_text(encoding="utf-8").splitlines()
    script("quality", *run, "--methods", "rna_pca", "rna_pca@unseen")
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert out.read_text(encoding="utf-8").splitlines()[:3] == before
    assert [(r["method"], r["metric"], r["cells"]) for r in rows] == [
        ("rna_pca", "cosine", "130"),
        ("rna_pca", "euclidean", "130"),
        ("rna_pca@unseen", "cosine", "26"),
        ("rna_pca@unseen", "euclidean", "26"),
    ]
    assert all(0 <= float(r["nmi"]) <= 1 and float(r["peak_mb"]) > 10 for r in rows)
    page.write_text(
        "Above.\n<!-- table: tiny -->\nold\n<!-- end of table: tiny -->\nBelow.\n", encoding="utf-8"
    )
    table = script("quality", "--table", out, "--into", page)
    assert table.count("\n") == 4
    assert table in page.read_text(encoding="utf-8")
    assert "old" not in page.read_text(encoding="utf-8")


def test_held_out_cells_are_one_in_five_and_differ_by_seed() -> None:
    cells = scoring.held_out(60, 0)
    assert cells.sum() == 12
    assert (cells == scoring.held_out(60, 0)).all()
    assert (cells != scoring.held_out(60, 1)).any()


def test_vote_of_listed_neighbors_matches_a_classifier_on_the_embedding() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 20)
    z = rng.normal(size=(60, 3)) + 1.5 * (labels == "a")[:, None]
    expected = scoring.metrics.knn_accuracy(z, labels)
    assert 1 / 3 < expected < 1
    assert scoring.vote(scoring.nearest(z, "euclidean"), labels) == pytest.approx(expected)


@pytest.mark.full
def test_training_from_a_file_is_measured(tmp_path: Path) -> None:
    """Reading and training are started as they are outside of tests, each in a process of its own."""
    out, work = tmp_path / "backed.csv", tmp_path / "work"
    sizes = ["--sizes", "600x900", "--density", 0.05, "--work", work]
    script("backed", *sizes, "--out", out, "--threads", 1)
    with open(out, encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["cells"], row["peaks"]) == ("600", "900")
    assert 0.8 < float(row["open_peaks"]) / (0.05 * 600 * 900) < 1
    assert float(row["reading_cells_per_second"]) > float(row["training_cells_per_second"]) > 0
    assert float(row["trained_cells"]) == 500  # one mini-batch
    assert float(row["embedding_seconds"]) > 0
    assert "| 600 | 900 |" in script("backed", "--table", out)
    script("backed", "--figure", tmp_path / "backed.svg", "--out", out)
    assert "<svg" in (tmp_path / "backed.svg").read_text(encoding="utf-8")


def test_an_epoch_is_left_when_its_time_is_over() -> None:
    rate, n_cells = backed.timed(iter([10, 20, 30]), float("inf"))
    assert n_cells == 60
    assert rate > 0
    assert backed.timed(iter([10, 20, 30]), 0)[1] == 10
    row = {"cells": 1000, "epochs": 20, "training_cells_per_second": 10.0, "embedding_seconds": 1600.0}
    assert backed.hours(row) == pytest.approx(1.0)


def test_readers_are_compared(tmp_path: Path, in_process: None) -> None:
    """A sharded copy holds what the file holds, and both are read whole; annbatch needs a Python of its own."""
    out, work = tmp_path / "readers.csv", tmp_path / "work"
    script("readers", "--sizes", "600x900", "--density", 0.05, "--work", work, "--rounds", 1, "--out", out)
    rows = pd.read_csv(out)
    assert rows["way"].tolist() == ["h5mu", "zarr"]
    assert (rows["reading_cells_per_second"] > 0).all()
    assert "| 600 × 900 |" in script("readers", "--table", out)
    (file,), (folder,) = work.glob("*.h5mu"), work.glob("*.zarr")
    assert zarr.open_group(folder, mode="r").metadata.zarr_format == 3
    expected, found = sailerx.read(file), sailerx.read(folder)
    for name in ("rna", "atac"):
        assert (expected[name].X != found[name].X).nnz == 0
        pd.testing.assert_frame_equal(expected[name].obs, found[name].obs)


def test_embeddings_of_a_file_are_compared_in_a_table_and_a_figure(tmp_path: Path) -> None:
    data = write(paired(n_cells=150), tmp_path / "x.h5mu")
    arguments = (data, "--labels", "cell_type", "--seeds", 0, "--out", tmp_path / "out")
    printed = script("side_by_side", *arguments)
    lines = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    rows = {row["embedding"]: row for row in csv.DictReader(lines)}
    assert {"RNA PCA", "ATAC LSI", "sailerx", "ATAC alone", "ATAC shuffled"} <= set(rows)
    assert all(0 <= float(row["nmi"]) <= 1 and row["gain_rna"] for row in rows.values())
    assert f"| RNA PCA | {float(rows['RNA PCA']['knn']):.3f} |" in printed
    assert (tmp_path / "out" / "table.md").read_text() == printed
    assert (tmp_path / "out" / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_script_for_a_gpu_runs_on_a_cpu_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "bandwidth", functools.partial(gpu.bandwidth, n_bytes=2**24))
    out, data = tmp_path / "gpu.csv", write(paired(n_cells=60), tmp_path / "tiny.h5mu")
    options = ["--sizes", "50x300", "--files", data, "--seeds", 0, "--work", tmp_path / "work", "--out", out]
    printed = script("gpu", *options, "--device", "cpu", "--epochs", 2, "--profile")
    assert "Self CPU" in printed
    with open(out, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["data"], r["preset"]) for r in rows] == [
        ("50 × 300, 5 %", "default"),
        ("50 × 300, 5 %", "paper"),
        ("tiny", "default"),
    ]
    assert [int(r["epochs"]) for r in rows] == [2, 12, 2]
    assert 0 < float(rows[0]["share_of_limit"]) < 1
    assert 0 <= float(rows[2]["nmi"]) <= 1
    assert "| tiny | cpu | default |" in script("gpu", "--table", out)


def test_speed_of_both_presets_becomes_a_table(tmp_path: Path, in_process: None) -> None:
    out, data = tmp_path / "speed.csv", write(paired(n_cells=60), tmp_path / "tiny.h5mu")
    sizes = ["--sizes", "50x300", "--files", data, "--work", tmp_path / "work"]
    script("speed", *sizes, "--rounds", 1, "--epochs", 2, "--threads", 1, "--out", out)
    with open(out, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(r["data"], r["method"]) for r in rows] == [
        (name, method) for name in ("50 × 300, 5 %", "tiny") for method in ("paper", "default")
    ]
    assert all(float(r["seconds_per_epoch"]) > 0 and float(r["peak_mb"]) > 100 for r in rows)
    table = script("speed", "--table", out)
    assert "| tiny | cpu | 1 | **sailerx, default preset** |" in table
    assert "reference" not in table  # nor any other empty column


@pytest.mark.parametrize("backed", [False, "r"])
def test_the_published_implementation_is_given_the_same_data_sorted_by_chromosome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backed: Any
) -> None:
    monkeypatch.setattr(published, "CELLS_AT_ONCE", 7)
    data = paired(n_cells=60)
    file = write(data, tmp_path / "tiny.h5mu")
    with mudata.set_options(pull_on_update=False):
        read = mudata.read_h5mu(file, backed=backed)
    published._write(read, np.zeros((60, 3)), tmp_path / "data" / "it.h5")
    chrom = data["atac"].var["chrom"].to_numpy(dtype=str)
    order = np.argsort(chrom, kind="stable")
    with h5py.File(tmp_path / "data" / "it.h5") as written:
        x = written["atac"]
        parts = (x["data"][:], x["indices"][:], x["indptr"][:])
        found = sp.csr_matrix(parts, x.attrs["shape"])
        np.testing.assert_array_equal(found.toarray(), data["atac"].X.toarray()[:, order])
        assert x["chrom_size"][:].tolist() == np.unique(chrom, return_counts=True)[1].tolist()
        np.testing.assert_array_equal(written["cells/rna_depth"][:], np.ravel(data["rna"].X.sum(axis=1)))


def test_transferred_labels_are_scored_and_binned(tmp_path: Path) -> None:
    data = write(paired(n_cells=150), tmp_path / "tiny.h5mu")
    out, bins = tmp_path / "transfer.csv", tmp_path / "reliability.csv"
    split = ["--library", "batch", "--held-out", "batch1", "--seeds", 0, "--missing", "pca+rna"]
    script("transfer", data, *split, "--methods", "lsi", "sailerx", "--out", out, "--bins", bins)
    rows, binned = (
        list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) for path in (out, bins)
    )
    assert [row["method"] for row in rows] == ["lsi", "sailerx"]
    for row in rows:
        own = [bin_ for bin_ in binned if bin_["method"] == row["method"]]
        n = [int(bin_["cells"]) for bin_ in own]
        right = sum(float(bin_["right"]) * k for bin_, k in zip(own, n, strict=True)) / sum(n)
        assert right == pytest.approx(float(row["accuracy"]), rel=1e-3)
    assert script("transfer", "--table", out).count("\n") == 4
    assert script("transfer", "--table", bins).count("\n") == 12


def test_motifs_are_timed_and_planted_ones_ranked(tmp_path: Path, in_process: None) -> None:
    out = tmp_path / "motifs.csv"
    script("motifs", "--out", out, "--sizes", "100x600x20", "--threads", 1)
    row = next(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert (row["method"], row["cells"], row["motifs"]) == ("sailerx", "100", "20")
    assert float(row["cpu_seconds"]) > 0
    assert "| **sailerx** | 100 × 600 × 20 |" in script("motifs", "--table", out)
    truth = tmp_path / "motifs-truth.csv"
    script(
        "motifs",
        "--truth",
        "--out",
        truth,
        "--cells",
        120,
        "--epochs",
        1,
        "--every",
        100,
        "--types",
        3,
        "--peaks",
        900,
    )
    rows = list(csv.DictReader(truth.read_text(encoding="utf-8").splitlines()))
    assert [row["accessibility"] for row in rows[:2]] == ["counts", "imputed"]
    assert len(rows) == 6
    assert script("motifs", "--table", truth).count("\n") >= 5


def test_links_are_timed_and_compared_with_the_truth(tmp_path: Path) -> None:
    out = tmp_path / "links.csv"
    small = ["--sizes", 120, 60, 300, 20, "--types", 4, "--distances", 500_000, "--epochs", 1]
    script("links", "--out", out, *small)
    row = next(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert 0 < int(row["true"]) <= 20 < int(row["pairs"])
    assert 0 <= float(row["auroc"]) <= 1
    assert script("links", "--table", out).count("\n") >= 3


# quick.py


def quartiles(**of_task: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(of_task, orient="index", columns=["lower", "median", "upper"])


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ((1.9, 2.0, 2.1), []),
        ((1.0, 1.1, 1.2), []),  # faster
        ((2.12, 2.15, 2.2), []),  # above the spread, but by less than a tenth
        ((2.0, 2.6, 3.0), []),  # by more than a tenth, but within the spread
        ((2.5, 2.6, 3.0), ["12 epochs, default preset takes 1.30 times as long as before"]),
    ],
)
def test_a_task_is_slower_if_it_is_so_by_more_than_its_spread(
    now: tuple[float, float, float], says: list[str]
) -> None:
    before = quartiles(default=(1.9, 2.0, 2.1), start=(1.0, 1.0, 1.0))
    found = quick.slower(before, quartiles(default=now, paper=(1.0, 1.0, 1.0)))
    assert [text.split(":")[0] for text in found] == says


def test_quick_ends_with_a_sentence_if_something_got_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    committed = tmp_path / "quick.csv"
    fast, slow = quartiles(paper=(1.0, 1.0, 1.0)), quartiles(paper=(2.0, 2.0, 2.0))
    for keep, now, says in (
        ("--keep", fast, None),
        (None, fast, None),
        (None, slow, "paper preset takes 2.00 times"),
    ):
        monkeypatch.setattr(quick, "measured", lambda _, now=now: (now, None))
        monkeypatch.setattr(sys, "argv", ["quick.py", "--committed", str(committed), *filter(None, [keep])])
        if says is None:
            quick.main()
        else:
            with pytest.raises(SystemExit, match=says):
                quick.main()
    assert (
        "| 3 epochs, paper preset | 1.00 (1.00 to 1.00) | 2.00 (2.00 to 2.00) | 2.00 |"
        in capsys.readouterr().out
    )


@pytest.mark.full
def test_quick_times_every_task(tmp_path: Path) -> None:
    data = write(paired(n_cells=130), tmp_path / "tiny.h5mu")
    with mudata.set_options(pull_on_update=False):
        with_types = mudata.read_h5mu(data)
    with_types["atac"].obs["cell_type"] = pd.Categorical(["A", "B"] * 65)
    write(with_types, data)
    with quick.runner(Path(quick.__file__).parents[1], data) as timed:
        assert all(timed(task) > 0 for task in (quick.WORKLOAD, *quick.TASKS))


# whole.py


def test_whole_runs_are_measured_scored_and_put_into_a_table(tmp_path: Path) -> None:
    data, out = write(paired(n_cells=130), tmp_path / "tiny.h5mu"), tmp_path / "whole.csv"
    script(
        "whole", "--sizes", "--files", data, "--methods", "embedding", "mofa", "--threads", 1, "--out", out
    )
    ours, peer = pd.read_csv(out).to_dict("records")
    assert ours["peak_mb"] > 50
    assert ours["cpu_seconds"] > 0.5
    assert 0 <= ours["knn"] <= 1
    assert (peer["method"], peer["note"]) == ("mofa", "not installed")
    ours_line, peer_line = script("whole", "--table", out).splitlines()[2:]
    assert ours_line.startswith("| tiny | cpu | 1 | **sailerx, embedding alone** (`--max-epochs 0`) |")
    assert peer_line == "| tiny | cpu | 1 | MOFA+, 30 factors | not installed |  |  |  |"


def test_a_whole_run_of_another_tool_writes_its_embedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(paired(n_cells=130), tmp_path / "tiny.h5mu")
    settings = {"epochs": 7, "stopped at the limit of time": True}

    def first_genes(mdata: mudata.MuData, seed: int) -> tuple[np.ndarray, dict[str, object]]:
        return mdata["rna"].X[:, :3].toarray() + seed, settings | {"hours": whole.peers.HOURS}

    monkeypatch.setattr(whole.peers, "HOURS", 1.0)
    monkeypatch.setitem(whole.PEERS, "mofa", (first_genes, []))
    whole.one("mofa", "2", str(data), str(tmp_path / "embedding.npy"), "0.5")
    expected = sailerx.read(data)["rna"].X[:, :3].toarray() + 2
    np.testing.assert_array_equal(whole.embedding_in(tmp_path), expected)
    written = json.loads((tmp_path / "settings.json").read_text())
    assert written == settings | {"hours": 0.5}
    assert whole.cut_short(written) == "stopped in epoch 7"
    assert whole.cut_short({}) == ""


# stopping.py


def test_gain_is_zero_for_peak_frequencies_and_positive_for_the_removed_peaks() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((40, 30)) < 0.3
    out = x & (rng.random(x.shape) < 0.25)
    left, removed = sp.csr_matrix((x & ~out).astype(np.float32)), sp.csr_matrix(out.astype(np.float32))
    frequency = np.asarray(left.sum(axis=0)).ravel() + 0.5
    assert stopping.gain(np.tile(frequency, (40, 1)), left, removed) == pytest.approx(0, abs=1e-6)
    assert stopping.gain(frequency + 5 * out, left, removed) > 0.1


def test_runs_with_and_without_prior_and_stopping_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write(paired(n_cells=80), tmp_path / "tiny.h5mu"), tmp_path / "stopping.csv"
    short = {name: options | {"max_epochs": 3, "patience": 1} for name, options in stopping.RUNS.items()}
    monkeypatch.setattr(stopping, "RUNS", short)
    script("stopping", "--files", data, "--seeds", 0, 1, "--out", out)
    rows = pd.read_csv(out)
    assert len(rows) == 8
    assert np.isfinite(rows["gain"]).all()
    assert (rows.loc[~rows["run"].str.contains("stopped"), "epochs"] == 3).all()
    assert script("stopping", "--table", out).count("| tiny | 80 × 90 |") == 4


@pytest.mark.full
def test_scaling_becomes_a_table(tmp_path: Path) -> None:
    out, sizes = tmp_path / "scaling.csv", ["--size", "100x300", "--work", tmp_path]
    script("scaling", *sizes, "--rounds", 1, "--epochs", 2, "--out", out)
    rows = pd.read_csv(out)
    assert list(rows["way"]) == ["one", "two", "apart"]
    shares = " | ".join(f"{100 * rows['seconds'][0] / rows['seconds'][i]:.0f} %" for i in (1, 2))
    assert script("scaling", "--table", out).splitlines()[2].endswith(f"| {shares} |")
