"""A run that was stopped goes on as if nothing had happened."""

from __future__ import annotations

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
from safetensors import safe_open
from safetensors.torch import save_file

import sailerx
from data import TINY, Silent, as_flags, multiome, paired, tiny_settings, without_times, write
from sailerx import InputError
from sailerx.training.checkpoint import Checkpoints, fingerprint
from sailerx.training.loop import train
from sailerx.training.state import TrainingState


class StopError(Exception):
    """The lights went out."""


class StopAfter(Silent):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def update(self, epoch: int, record: Any) -> None:
        if epoch == self.epoch:
            raise StopError


def fit(**arguments: Any) -> sailerx.Model:
    return sailerx.fit(paired(), **(TINY | {"max_epochs": 7, "progress": "none"} | arguments))


def run(
    checkpoints: Checkpoints | None, stop_after: int = 99
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    settings = tiny_settings(max_epochs=7)
    vae, history = train(
        multiome(settings=settings),
        settings,
        seed=0,
        device=torch.device("cpu"),
        progress=StopAfter(stop_after),
        checkpoints=checkpoints,
    )
    return vae.state_dict(), history


@pytest.mark.parametrize("stop_after", [1, 2, 4, 6])
def test_resumed_run_ends_bit_identical(tmp_path: Path, stop_after: int) -> None:
    weights, history = run(None)
    checkpoints = Checkpoints(tmp_path / "state", "this run", epochs=2)
    with pytest.raises(StopError):
        run(checkpoints, stop_after)
    resumed, resumed_history = run(checkpoints)
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    pd.testing.assert_frame_equal(without_times(history), without_times(resumed_history), check_exact=True)


def test_run_goes_on_from_the_last_epoch_that_was_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", "this run", epochs=2)
    with pytest.raises(StopError):
        run(checkpoints, 5)
    shown: list[int] = []

    class Listener(Silent):
        def update(self, epoch: int, record: Any) -> None:
            shown.append(epoch)

    settings = tiny_settings(max_epochs=7)
    data = multiome(settings=settings)
    where = torch.device("cpu")
    train(data, settings, seed=0, device=where, progress=Listener(), checkpoints=checkpoints)
    assert shown == [5, 6, 7]


def test_minutes_decide_too(tmp_path: Path) -> None:
    never = Checkpoints(tmp_path / "never", "x", epochs=None, minutes=60)
    with pytest.raises(StopError):
        run(never, 3)
    assert not never.path.exists()
    always = Checkpoints(tmp_path / "always", "x", epochs=None, minutes=0)
    with pytest.raises(StopError):
        run(always, 3)
    assert always.path.exists()


def test_finished_run_is_taken_from_its_checkpoint(tmp_path: Path) -> None:
    first = fit(checkpoint=tmp_path / "state")
    again = fit(checkpoint=tmp_path / "state")
    pd.testing.assert_frame_equal(first.history, again.history, check_exact=True)
    np.testing.assert_array_equal(first.embed(paired()), again.embed(paired()))


@pytest.mark.parametrize("changed", [{"seed": 1}, {"gamma": 5.0}, {"batch_key": "batch"}, {"max_epochs": 8}])
def test_checkpoint_of_another_run_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    fit(checkpoint=tmp_path / "state")
    with pytest.raises(sailerx.InputError, match="must be a checkpoint of this run.*Delete it"):
        fit(checkpoint=tmp_path / "state", **changed)
    fit(checkpoint=tmp_path / "state", resume=False, **changed)
    fit(checkpoint=tmp_path / "state", **changed)


def test_fingerprint_hangs_on_the_data() -> None:
    settings = tiny_settings()
    one, other = multiome(), multiome(paired(seed=1))
    assert fingerprint(one, settings, 0) == fingerprint(multiome(), settings, 0)
    assert fingerprint(one, settings, 0) != fingerprint(other, settings, 0)


def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("nothing of the kind")
    with pytest.raises(sailerx.InputError, match="is not a whole checkpoint.*Delete it"):
        fit(checkpoint=path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(sailerx.InputError, match="must be a checkpoint of this run"):
        fit(checkpoint=path)


def test_place_and_pace_that_cannot_work_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(sailerx.InputError, match="the folder of the checkpoint .* must exist"):
        fit(checkpoint=tmp_path / "nowhere" / "state")
    with pytest.raises(sailerx.InputError, match="`checkpoint_epochs` must be at least 1, got 0"):
        fit(checkpoint=tmp_path / "state", checkpoint_epochs=0)


def test_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    fit(checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(sailerx.InputError, match="is not a whole checkpoint"):
        fit(checkpoint=path)


def test_old_checkpoint_stays_when_a_new_one_cannot_be_written(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", "x", epochs=2)
    with pytest.raises(StopError):
        run(checkpoints, 3)
    before = checkpoints.path.read_bytes()
    (tmp_path / ".state.part").mkdir()  # where the new one would go
    with pytest.raises(OSError, match="could not be written"):
        run(checkpoints)
    assert checkpoints.path.read_bytes() == before


def command(folder: Path, max_epochs: int) -> list[str]:
    flags = as_flags(TINY | {"max_epochs": max_epochs})
    files = [str(folder / "in.h5mu"), "-o", str(folder / "run")]
    more = [
        "--checkpoint",
        str(folder / "state"),
        "--checkpoint-epochs",
        "1",
        "--progress",
        "none",
        "--threads",
        "1",
    ]
    return [sys.executable, "-m", "sailerx", "fit", *files, *flags, *more]


@pytest.mark.full
@pytest.mark.parametrize("n_kills", [2, 20])
def test_killed_run_resumes_to_the_same_model(tmp_path: Path, n_kills: int) -> None:
    write(paired(), tmp_path / "in.h5mu")
    fit = command(tmp_path, max_epochs=400 if n_kills > 2 else 150)
    subprocess.run(fit, check=True)
    expected = (tmp_path / "run" / "weights.safetensors").read_bytes()
    (tmp_path / "run").rename(tmp_path / "uninterrupted")
    random = np.random.default_rng(0)
    killed = 0
    while killed < n_kills:
        process = subprocess.Popen(fit)
        state, before = tmp_path / "state", epochs_in(tmp_path / "state")
        while epochs_in(state) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2))
        if process.poll() is not None:  # it was done before the moment came
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert killed > 0
    if not (tmp_path / "run").exists():
        subprocess.run(fit, check=True)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == expected
    left = {path.name for path in tmp_path.iterdir()} - {"in.h5mu", "run", "uninterrupted"}
    assert not {name for name in left if not name.startswith(".run.")}


def epochs_in(path: Path) -> int:
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        return file.metadata()["records"].count('"epoch"')


def test_checkpoint_from_another_kind_of_device_goes_on_with_other_random_numbers() -> None:
    """A GPU's state of random numbers is of another size."""
    run, settings = TrainingState(multiome(), tiny_settings(), 0, torch.device("cpu")), tiny_settings()
    tensors = run.tensors() | {"random.noise": torch.zeros(16, dtype=torch.uint8)}
    other = TrainingState(multiome(), settings, 0, torch.device("cpu"))
    other.load(tensors, [{"epoch": 0}])
    assert torch.equal(other.vae.mean_head.weight, run.vae.mean_head.weight)
    assert not torch.equal(other.noise.get_state(), run.noise.get_state())


def test_checkpoint_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    sailerx.fit(paired(), max_epochs=2, progress="none", checkpoint=path)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.95):
        damaged = bytearray(whole)
        damaged[int(len(whole) * share)] ^= 0x41
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not as it was written"):
            sailerx.fit(paired(), max_epochs=2, progress="none", checkpoint=path)
    path.write_bytes(whole)
    sailerx.fit(paired(), max_epochs=2, progress="none", checkpoint=path)
