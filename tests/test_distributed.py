"""Several processes train what one process trains, and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import on_ranks
import sailerx
from data import TINY_FLAGS, paired, without_times, write
from on_ranks import OPTIONS, ROWS
from sailerx import InputError, metrics
from sailerx.cli import main
from sailerx.minibatches.sampler import Sampler

pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed; `make setup` installs it")
CPU = torch.device("cpu")
TESTS = Path(__file__).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
KINDS = [f"{kind}, {name}" for kind in ("paired", "hybrid") for name in ROWS]


def python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", *arguments]
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=ENVIRONMENT | environment, **streams)


def said_by(process: subprocess.Popen[str], status: int = 0) -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == status, said
    return said


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found that torchrun started, see `on_ranks`."""
    folder = tmp_path_factory.mktemp("ranks")
    path = write(paired(), folder / "in.h5mu")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said_by(python(*torchrun, str(TESTS / "on_ranks.py"), str(path), str(folder)))
    found = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]
    return [of_rank | {"threads": (folder / f"{rank}.txt").read_text()} for rank, of_rank in enumerate(found)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(paired(), tmp_path / "in.h5mu")


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], atol: float = 1e-5) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(
            ours[name], theirs[name], rtol=1e-4, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


# One step


@pytest.mark.parametrize("kind", KINDS)
def test_step_of_two_ranks_is_that_of_one_process(ranks: list[dict[str, Any]], kind: str) -> None:
    alone = on_ranks.steps()[kind]
    for rank in ranks:
        found = rank["steps"][kind]
        assert found["held_out"] == pytest.approx(alone["held_out"], rel=1e-5)
        torch.testing.assert_close(found["loss"], alone["loss"], rtol=1e-5, atol=0)
        torch.testing.assert_close(found["terms"], alone["terms"], rtol=1e-5, atol=1e-6)
        assert_close(found["gradient"], alone["gradient"], atol=1e-4)
        assert_close(found["state"], alone["state"])


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_have_the_same_gradient_bit_by_bit(ranks: list[dict[str, Any]], kind: str) -> None:
    first, second = (rank["steps"][kind]["gradient"] for rank in ranks)
    assert all(torch.equal(first[name], second[name]) for name in first)


# A run


def test_parameters_are_equal_on_all_ranks_after_each_epoch(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["epochs"] for rank in ranks)
    assert len(first) == len(second) == 3
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(first[0]["to_peaks.weight"], first[1]["to_peaks.weight"])


@pytest.mark.parametrize("run", ["in memory", "backed"])
def test_run_of_two_ranks_is_that_of_one_process(
    ranks: list[dict[str, Any]], run: str, tmp_path: Path
) -> None:
    path = write(paired(), tmp_path / "in.h5mu")
    alone = sailerx.fit(path, progress="none", **OPTIONS)
    for rank in ranks:
        history, expected = rank[run]["history"], alone.history
        exact = [without_times(table).drop(columns="held_out") for table in (history, expected)]
        pd.testing.assert_frame_equal(*exact, rtol=1e-3)
        # rounding decides where biases before BatchNorm go, whose running means follow more slowly
        np.testing.assert_allclose(history["held_out"], expected["held_out"], rtol=0.01)
        np.testing.assert_allclose(rank[run]["embedding"], alone.embed(path), atol=0.1)
        assert rank[run]["record"]["processes"] == 2
        assert rank[run]["record"]["backed"] == (run == "backed")


@pytest.mark.parametrize("run", ["in memory", "backed", "buffers"])
def test_models_of_all_ranks_are_equal(ranks: list[dict[str, Any]], run: str) -> None:
    first, second = (rank[run]["weights"] for rank in ranks)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("run", ["in memory", "backed", "buffers"])
def test_each_rank_reads_its_own_shard(ranks: list[dict[str, Any]], run: str) -> None:
    for number, rank in enumerate(ranks):
        blocks = {cell // 4 for cell in rank[run]["read"]}
        assert {block % 2 for block in blocks} == {number}
    read = set.union(*(rank[run]["read"] for rank in ranks))
    assert len(read) >= 45  # all that are trained on, and more


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_buffers_hold_as_many_blocks_of_each_rank(world_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sailerx.data.csr_on_disk.CELLS_PER_CHUNK", 4)
    whole = torch.ones(240, dtype=torch.bool)
    sampler = Sampler.of(whole, 10, 0.5, n_buffers=5, world_size=world_size)
    order = torch.cat(list(sampler.epoch(torch.Generator().manual_seed(0))))
    assert sorted(order.tolist()) == list(range(240))
    rank_of = order.view(5, 48).div(4, rounding_mode="floor") % world_size
    counts = torch.stack([(rank_of == rank).sum(dim=1) for rank in range(world_size)])
    assert (counts == 48 // world_size).all()


# Errors


def test_every_rank_stops_where_the_loss_is_no_number(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["errors"]["nan"] for rank in ranks)
    assert first.startswith("FloatingPointError: training stopped in epoch")
    assert second.startswith("FirstProcessError: the first process has stopped: FloatingPointError")


def test_error_of_the_first_rank_is_everybodys(ranks: list[dict[str, Any]]) -> None:
    assert [rank["errors"]["first"] for rank in ranks] == [
        "ValueError: of the first",
        "FirstProcessError: the first process has stopped: ValueError: of the first",
    ]
    assert all(rank["made"].tolist() == [0, 1, 2] for rank in ranks)


def test_data_in_memory_and_a_wrong_number_of_processes_are_refused(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert (
            "`devices` × `nodes` must be the number of processes that were started: 3 × 1"
            in rank["errors"]["number"]
        )
        assert "several processes need the path of an .h5mu file as data" in rank["errors"]["data"]


def test_processes_that_nobody_started_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"needs as many processes.*sailerx fit FILE.*torchrun.*srun"):
        sailerx.fit(file, devices=2)
    for wrong in ({"devices": 0}, {"nodes": 0}):
        with pytest.raises(InputError, match="must be at least 1, got 0"):
            sailerx.fit(file, **wrong)


def test_missing_lightning_fabric_is_named_with_the_command_that_installs_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(InputError, match="pip install 'lightning-fabric"):
        sailerx.fit(file, devices=2)
    assert main(["fit", str(file), "-o", str(tmp_path / "run"), "--devices", "2"]) == 2
    assert "pip install 'lightning-fabric" in capsys.readouterr().err


def test_one_process_does_without_lightning_fabric(file: Path) -> None:
    code = "import sys; sys.modules['lightning_fabric'] = None; from sailerx.cli import main; sys.exit(main(sys.argv[1:]))"
    said_by(python("-c", code, "fit", str(file), "-o", str(file.with_name("run")), *TINY_FLAGS))


# The command


def fit_command(folder: Path, *more: str) -> list[str]:
    files = [str(folder / "in.h5mu"), "-o", str(folder / "run")]
    checkpoint = ["--checkpoint", str(folder / "state"), "--checkpoint-epochs", "1"]
    return [
        "-m",
        "sailerx",
        "fit",
        *files,
        *TINY_FLAGS,
        "--device",
        "cpu",
        "--threads",
        "1",
        *checkpoint,
        *more,
    ]


def test_threads_have_ended_before_python_shuts_down(ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert "python" in found["threads"]
        assert "gloo" not in found["threads"]


def test_command_starts_the_processes_and_the_first_one_writes(file: Path) -> None:
    embedding = ["--embed", str(file.with_name("embedding.h5ad"))]
    said = said_by(python(*fit_command(file.parent, "--devices", "2", *embedding)))
    assert said.count("training on 2 × cpu (1 thread): 60 cells") == 1
    found, alone = sailerx.load(file.with_name("run")), sailerx.fit(file, progress="none", **on_ranks.TINY)
    pd.testing.assert_frame_equal(without_times(found.history), without_times(alone.history), rtol=1e-3)
    left = {path.name for path in file.parent.iterdir()}
    assert left == {"in.h5mu", "run", "embedding.h5ad"}


def test_command_tells_what_the_first_process_refuses_once(file: Path) -> None:
    said = said_by(python(*fit_command(file.parent, "--devices", "2", "--batch-key", "nobody")), status=2)
    assert said.count("error") == 1
    assert "sailerx: error: no obs column 'nobody'" in said
    assert {path.name for path in file.parent.iterdir()} == {"in.h5mu"}


@pytest.mark.parametrize("lost", [1, pytest.param(0, marks=pytest.mark.full)])
def test_killed_rank_ends_the_run_and_one_process_goes_on(file: Path, lost: int) -> None:
    command = fit_command(file.parent, "--max-epochs", "150", "--progress", "none")
    launcher = python(*command, "--devices", "2")
    while not file.with_name("state").exists() and launcher.poll() is None:
        time.sleep(0.1)
    os.kill(process_of(launcher.pid, lost), signal.SIGKILL)
    began = time.monotonic()
    said = said_by(launcher, status=1)
    assert time.monotonic() - began < 60
    assert f"the process of rank {1 - lost} has lost another one" in said
    assert f"the process of rank {lost} was killed (SIGKILL), and the run has ended with it." in said
    assert said.count("A run with a checkpoint resumes from it when it is started again.") == 2
    assert not file.with_name("run").exists()
    said_by(python(*command))
    history = sailerx.load(file.with_name("run")).history
    assert history["epoch"].tolist() == list(range(150))


def process_of(parent: int, rank: int) -> int:
    """The child process that has this rank."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    wanted = f"RANK={rank}".encode()
    return next(int(c) for c in children if wanted in Path(f"/proc/{c}/environ").read_bytes().split(b"\0"))


@pytest.mark.full
def test_srun_on_two_nodes_is_recognised(file: Path) -> None:
    slurm = {
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_ID": "0",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_JOB_NAME": "fit",
    }
    sizes = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_LOCALID": "0"}
    command = fit_command(file.parent, "--nodes", "2")
    tasks = [python(*command, **slurm, **sizes, SLURM_PROCID=r, SLURM_NODEID=r) for r in "01"]
    said = [said_by(task) for task in tasks]
    assert "training on 2 × cpu" in said[0]
    assert said[1] == ""
    assert sailerx.load(file.with_name("run")).record["processes"] == 2


@pytest.mark.full
def test_quality_is_that_of_one_process(tmp_path: Path) -> None:
    path = tmp_path / "in.h5mu"
    signal = {"rna_depth": 800, "atac_depth": 400, "rna_signal": 1.0, "atac_signal": 1.0, "atac_batch": 0.8}
    sailerx.simulate_to_file(path, 800, 500, 2000, 6, n_batches=2, seed=0, **signal)
    labels = sailerx.read(path)["atac"].obs["cell_type"].astype(str).to_numpy()
    options = ["--batch-key", "batch", "--minibatch-size", "100", "--max-epochs", "60", "--progress", "none"]

    def nmi(devices: int, seed: int) -> float:
        run = str(tmp_path / f"{devices}-{seed}")
        more = ["--device", "cpu", "--devices", str(devices), "--seed", str(seed), *options]
        said_by(python("-m", "sailerx", "fit", str(path), "-o", run, *more))
        return metrics.best_clustering(sailerx.load(run).embed(path), labels)["nmi"]

    one, two = ([nmi(devices, seed) for seed in range(3)] for devices in (1, 2))
    assert 0.5 < np.mean(one) < 0.99  # neither chance nor beyond all doubt
    assert np.mean(two) == pytest.approx(np.mean(one), abs=0.01), (one, two)
