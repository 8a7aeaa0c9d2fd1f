"""Which work runs in several threads: independent tasks, in a pool whose threads each run single-threaded PyTorch.

Chromosomes, say, are too small for PyTorch to use several cores inside one operation; in parallel they keep all cores busy. Threads
that split one operation wait for each other at its end, thousands of times in a run, and for long where other programs run too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

_Task = TypeVar("_Task")
#: more than one, so that a thread that is held up delays the others little
_PARTS_PER_THREAD = 4
#: number of operations on one number each from which a second thread is worth waking
_WORTH_IT = 2**21
#: cells × peaks of a set up to which a whole run is as fast in one thread
_LITTLE = 2**24
#: threads of the pool while PyTorch's own operations have one; None = as many as they have
_of_pool: int | None = None


def n_threads() -> int:
    """Return the number of threads of `share_out`: that of PyTorch where `operations_alone` does not hold."""
    return torch.get_num_threads() if _of_pool is None else _of_pool


@contextmanager
def operations_alone(of_pool: int | None = None) -> Iterator[None]:
    """Run each of PyTorch's operations in this thread, in the block; `share_out` keeps its threads, or has ``of_pool``.

    With another program on one of two cores, training takes two thirds of the time that it takes if operations are split; with both
    cores free, up to a tenth more.
    """
    global _of_pool
    before = torch.get_num_threads(), _of_pool
    _of_pool = n_threads() if of_pool is None else of_pool
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        _of_pool = before[1]


@contextmanager
def operations_split() -> Iterator[None]:
    """Run PyTorch's operations in all threads again, in a block of few and large ones."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread_for_little(n_entries: int) -> Iterator[None]:
    """Run the block in one thread, if the data have few entries (cells × peaks).

    BLAS and OpenMP libraries split operations that take less time than waking a thread. With other programs on the same cores, small
    sets took three to four times as long by two threads.
    """
    if n_entries > _LITTLE:
        yield
        return
    # in this order: PyTorch, which alone knows its MKL, is the last to be set back
    with operations_alone(of_pool=1), threadpool_limits(1):
        yield


def share_out(
    tasks: Sequence[_Task], work: Callable[[Iterator[_Task]], None], n_operations: float = math.inf
) -> None:
    """Run ``work`` in each thread on one shared iterator of tasks. Tasks must not write to the same memory.

    Of fewer than `_WORTH_IT` operations, this thread alone runs it. Autograd records nothing.
    """
    n, of_operations = n_threads(), torch.get_num_threads()
    left = iter(tasks)
    if n == 1 or len(tasks) == 1 or n_operations < _WORTH_IT:
        work(left)
        return

    @torch.no_grad()  # grad mode is per thread
    def alone() -> None:
        torch.set_num_threads(1)  # for this thread; in the BLAS library it may hold for all
        work(left)

    others = [_pool(n - 1).submit(alone) for _ in range(min(n, len(tasks)) - 1)]
    try:
        alone()
    finally:
        wait(others)
        torch.set_num_threads(of_operations)
    for other in others:
        other.result()


def parts_of(n: int) -> list[range]:
    """Split n rows into parts of consecutive ones, several per thread, as tasks of `share_out`."""
    size = max(1, -(-n // (_PARTS_PER_THREAD * n_threads())))
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Restore PyTorch's number of threads after a block that runs Numba in parallel, as umap-learn does.

    Numba's first parallel loop sets the number of OpenMP's threads for the whole process; on one of two busy cores, training
    took six times as long after it.
    """
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n)


if hasattr(os, "register_at_fork"):  # a forked process inherits the pool without its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
