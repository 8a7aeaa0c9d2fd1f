"""A thread pool for independent tasks: `torch.get_num_threads` threads, each running single-threaded PyTorch.

Chromosomes, say, are too small for PyTorch to use several cores inside one operation; in parallel they keep all cores busy.
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

_Task = TypeVar("_Task")
#: more than one, so that a thread that is held up delays the others little
_PARTS_PER_THREAD = 4
#: number of operations on one number each from which a second thread is worth waking
_WORTH_IT = 2**21


def share_out(
    tasks: Sequence[_Task], work: Callable[[Iterator[_Task]], None], n_operations: float = math.inf
) -> None:
    """Run ``work`` in each thread on one shared iterator of tasks. Tasks must not write to the same memory.

    Of fewer than `_WORTH_IT` operations, this thread alone runs it. Autograd records nothing.
    """
    n_threads = torch.get_num_threads()
    left = iter(tasks)
    if n_threads == 1 or len(tasks) == 1 or n_operations < _WORTH_IT:
        work(left)
        return

    @torch.no_grad()  # grad mode is per thread
    def alone() -> None:
        torch.set_num_threads(1)  # for this thread; in the BLAS library it may hold for all
        work(left)

    others = [_pool(n_threads - 1).submit(alone) for _ in range(min(n_threads, len(tasks)) - 1)]
    try:
        alone()
    finally:
        wait(others)
        torch.set_num_threads(n_threads)
    for other in others:
        other.result()


def parts_of(n: int) -> list[range]:
    """Split n rows into parts of consecutive ones, several per thread, as tasks of `share_out`."""
    size = max(1, -(-n // (_PARTS_PER_THREAD * torch.get_num_threads())))
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Restore PyTorch's number of threads after a block that runs Numba in parallel, as umap-learn does.

    Numba's first parallel loop sets the number of OpenMP's threads for the whole process; on one of two busy cores, training
    took six times as long after it.
    """
    n_threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads)


if hasattr(os, "register_at_fork"):  # a forked process inherits the pool without its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
