"""sailerx: unbalanced single-cell RNA + ATAC, with an RNA embedding as the teacher of chromatin accessibility.

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sailerx.errors import InputError

if TYPE_CHECKING:
    from sailerx import metrics as metrics
    from sailerx import motifs as motifs
    from sailerx import plot as plot
    from sailerx.api import Model, check, fit, load
    from sailerx.config import Settings
    from sailerx.data.combine import combine
    from sailerx.data.match_peaks import match_peaks
    from sailerx.data.reading import read
    from sailerx.simulation.in_memory import simulate
    from sailerx.simulation.to_file import simulate_to_file

__version__ = "0.1.0"

# PyTorch on Linux then takes memory in large pages. Gradients of a network on 130,000 peaks or more come anew from the system in each
# step, which in small pages costs a sixth of the step. PyTorch looks at this once, when it first needs memory.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# OpenMP's threads wait for each other many times in a step. By default they spin for milliseconds, and where other programs use the
# cores too, two threads took 0.5 to 1.3 seconds for an epoch that one thread computes in 0.12. If they sleep at once (PASSIVE), waking
# them takes a fifth of an epoch. So GNU's OpenMP spins for less than a tenth of a millisecond. Read once, when PyTorch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "4000")

__all__ = [
    "InputError",
    "Model",
    "Settings",
    "check",
    "combine",
    "fit",
    "load",
    "match_peaks",
    "read",
    "simulate",
    "simulate_to_file",
]

_HOME = {
    "Model": "api",
    "check": "api",
    "fit": "api",
    "load": "api",
    "read": "data.reading",
    "Settings": "config",
    "combine": "data.combine",
    "match_peaks": "data.match_peaks",
    "simulate": "simulation.in_memory",
    "simulate_to_file": "simulation.to_file",
}
_MODULES = ("metrics", "motifs", "plot")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"sailerx.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'sailerx' has no attribute {name!r}")
    return getattr(import_module(f"sailerx.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
