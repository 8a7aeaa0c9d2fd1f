"""Packages that only the work with sequences needs, imported when they are used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from sailerx.errors import InputError


def required(name: str, purpose: str) -> ModuleType:
    """Import a package of the extra ``motifs``.

    Parameters
    ----------
    name
        Name of the package.
    purpose
        What it is needed for, as the subject of a sentence.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise InputError(
            f"{purpose} needs the package {name!r}, which is not installed. Install it: pip install 'sailerx[motifs]'."
        ) from error
