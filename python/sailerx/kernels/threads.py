"""Tasks shared out among threads: as many as PyTorch would use inside an operation, each of which then uses one.

Many operations of moderate size, one after the other, keep several processors busy badly; side by side they do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

_Task = TypeVar("_Task")


def share_out(tasks: Sequence[_Task], work: Callable[[Iterator[_Task]], None]) -> None:
    """Let each thread work on the next of the tasks until none is left. They must not write to the same place.

    No gradient is recorded.
    """
    n_threads = torch.get_num_threads()
    left = iter(tasks)
    if n_threads == 1 or len(tasks) == 1:
        work(left)
        return

    @torch.no_grad()  # whether gradients are recorded is known to each thread alone
    def alone() -> None:
        torch.set_num_threads(1)  # holds for this thread, and for the library of products in all
        work(left)

    others = [_pool(n_threads - 1).submit(alone) for _ in range(min(n_threads, len(tasks)) - 1)]
    try:
        alone()
    finally:
        wait(others)
        torch.set_num_threads(n_threads)
    for other in others:
        other.result()


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads)


if hasattr(os, "register_at_fork"):  # a forked process has the pool, but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
