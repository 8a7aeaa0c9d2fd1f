"""Versions of what a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("sailerx", "torch", "numba", "numpy", "scipy", "scikit-learn", "anndata", "mudata", "h5py")


def versions() -> dict[str, str]:
    """Version of Python and of each package a run depends on, without importing them."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
