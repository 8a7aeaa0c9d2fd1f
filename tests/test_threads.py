"""The thread pool for independent tasks."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info

import sailerx
from data import paired
from sailerx import threads
from sailerx.threads import one_thread_for_little, operations_alone, operations_split, share_out
from sailerx.training import adam, loop


@pytest.fixture(params=[1, 2, 3])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_tasks", [0, 1, 2, 50])
def test_each_task_runs_once_and_the_thread_count_is_restored(n_threads: int, n_tasks: int) -> None:
    done = []
    share_out(range(n_tasks), lambda tasks: done.extend(tasks))
    assert sorted(done) == list(range(n_tasks))
    assert torch.get_num_threads() == n_threads


def test_all_threads_work_in_parallel_each_single_threaded_without_autograd(n_threads: int) -> None:
    together = threading.Barrier(n_threads, timeout=60)
    inside = []

    def work(tasks: Iterator[int]) -> None:
        for _ in tasks:
            together.wait()
            inside.append((torch.get_num_threads(), (torch.ones(1, requires_grad=True) * 2).requires_grad))

    with torch.no_grad():
        share_out(range(n_threads), work)
    assert inside == n_threads * [(1, False)]


def test_operations_stay_in_one_thread_while_the_pool_keeps_its_own(n_threads: int) -> None:
    together = threading.Barrier(n_threads, timeout=60)
    with operations_alone():
        assert (torch.get_num_threads(), threads.n_threads()) == (1, n_threads)
        with operations_split(), operations_alone():
            assert (torch.get_num_threads(), threads.n_threads()) == (1, n_threads)
        with operations_split():
            assert torch.get_num_threads() == n_threads
        share_out(range(n_threads), lambda tasks: [together.wait() for _ in tasks])
        assert (torch.get_num_threads(), threads.n_threads()) == (1, n_threads)
        with pytest.raises(ValueError, match="inside"), operations_split():
            raise ValueError("inside")
        assert torch.get_num_threads() == 1
    assert (torch.get_num_threads(), threads.n_threads()) == (n_threads, n_threads)


@pytest.mark.parametrize("n_entries", [2**24, 2**24 + 1])
def test_little_data_have_one_thread_in_all_libraries(n_threads: int, n_entries: int) -> None:
    def found() -> list[int]:
        told = re.findall(r"_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())  # MKL's as well
        return [*(pool["num_threads"] for pool in threadpool_info()), *map(int, told)]

    before = found()
    with one_thread_for_little(n_entries), operations_alone(), operations_split():
        assert threads.n_threads() == torch.get_num_threads() == (1 if n_entries == 2**24 else n_threads)
        assert n_entries > 2**24 or found() == len(before) * [1]
    assert found() == before
    assert torch.get_num_threads() == threads.n_threads() == n_threads


def test_training_runs_operations_alone_and_adam_in_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_LITTLE", 0)
    seen: dict[str, set[tuple[int, int]]] = {"loss": set(), "adam": set()}

    def told(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            seen[name].add((torch.get_num_threads(), threads.n_threads()))
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(loop, "minibatch_loss", told("loss", loop.minibatch_loss))
    monkeypatch.setattr(adam, "_step", told("adam", adam._step))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        sailerx.fit(paired(n_cells=60), max_epochs=1, progress="none")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == {"loss": {(1, 3)}, "adam": {(3, 3)}}


def test_few_operations_are_done_by_the_calling_thread_alone() -> None:
    before, called_by = torch.get_num_threads(), []
    torch.set_num_threads(3)

    def work(tasks: Iterator[int]) -> None:
        called_by.append(threading.get_ident())
        list(tasks)

    share_out(range(50), work, 1000)
    torch.set_num_threads(before)
    assert called_by == [threading.get_ident()]


def test_error_in_a_thread_is_raised_after_all_have_ended(n_threads: int) -> None:
    def work(tasks: Iterator[int]) -> None:
        for task in tasks:
            if task == 7:
                raise ValueError("the eighth")

    with pytest.raises(ValueError, match="the eighth"):
        share_out(range(20), work)
    assert torch.get_num_threads() == n_threads


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings(
    "ignore:.*JAX is multithreaded:RuntimeWarning"
)  # loaded by scib-metrics in other tests
def test_a_forked_process_has_threads_of_its_own(n_threads: int) -> None:
    share_out(range(10), list)
    process = multiprocessing.get_context("fork").Process(target=share_out, args=(range(10), list))
    process.start()
    process.join(60)
    alive = process.is_alive()
    process.kill()
    assert not alive
    assert process.exitcode == 0


def test_scores_and_layouts_leave_openmps_number_of_threads_as_it_was() -> None:
    """Numba's first parallel loop sets it, and torch's products would then use as many; here it stands for UMAP."""
    script = (
        "import sys, types, numba, numpy as np, torch; torch.set_num_threads(1)\n"
        "from threadpoolctl import threadpool_info; from sailerx import metrics, plot\n"
        "@numba.njit(parallel=True)\n"
        "def loop(z):\n"
        "    for i in numba.prange(len(z)): z[i] += 1\n"
        "    return z\n"
        "stand_in = types.SimpleNamespace(fit_transform=lambda z: loop(z.copy())[:, :2])\n"
        "sys.modules['umap'] = types.SimpleNamespace(UMAP=lambda *_, **__: stand_in)\n"
        "z = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)\n"
        "metrics.neighbor_graph(z); plot.umap_layout(z)\n"
        "print([pool['num_threads'] for pool in threadpool_info() if '/torch/' in pool['filepath']])"
    )
    variables = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env=variables | {"NUMBA_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"\d+", answer.stdout)
    assert set(found) <= {"1"}, answer.stdout + answer.stderr
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["PASSIVE", "4000"]),
        ({"GOMP_SPINCOUNT": "7"}, ["PASSIVE", "7"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", None]),
    ],
)
def test_openmp_waits_as_the_user_says_or_awake_for_a_moment(
    asked: dict[str, str], expected: list[str | None]
) -> None:
    names = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"]
    others = {name: value for name, value in os.environ.items() if name not in names}
    script = f"import os, json, sailerx; print(json.dumps([os.environ.get(name) for name in {names}]))"
    answer = subprocess.run(
        [sys.executable, "-c", script], env=others | asked, capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == expected
