"""The number of CPU threads for loops that release Python's lock."""

from __future__ import annotations

import os

from sailerx.errors import InputError


def number_of_threads(threads: int | None) -> int:
    """Choose the number of threads: the one given, else OpenMP's (``OMP_NUM_THREADS``), else one per usable core.

    Raises
    ------
    InputError
        If it is below 1.
    """
    if threads is not None:
        if threads < 1:
            raise InputError(f"`threads` must be at least 1, got {threads}.")
        return threads
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
