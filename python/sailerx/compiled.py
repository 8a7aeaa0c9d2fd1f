"""Loops compiled by Numba for this processor when they are first called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

#: LLVM may reorder sums to use SIMD; NaN and infinity keep their meaning
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function by Numba, without the GIL; cache it on disk where a cache folder is writable."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": _FASTMATH}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # neither the package's folder nor the user's cache is writable
        return numba.njit(function, **options)
