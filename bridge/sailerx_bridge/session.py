"""Call functions of the R package sailerx in an R session inside this Python process (rpy2)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from sailerx.errors import InputError

ROOT = Path(__file__).resolve().parents[2]

# call f and return its error message, empty without error: rpy2's own exceptions hold only the end of a long message
_GUARD = "function(f, ...) tryCatch({ f(...); character() }, error = conditionMessage)"


@cache
def r_function(name: str) -> Any:
    """Look up a function of the R package sailerx, as a Python callable.

    Parameters
    ----------
    name
        Name of the function, exported or not.

    Returns
    -------
    callable
        Takes strings, paths, dictionaries of strings and None; returns None; an R error becomes an `InputError`.

    Raises
    ------
    ImportError
        If rpy2, R or the R package is missing; the message says how to install it.
    """
    return _Function(_load_package()(name))


class _Function:
    """A function of R; raises `InputError` with the full message of an R error."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.guarded = _import_rpy2().r(_GUARD)

    def __call__(self, *args: Any) -> Any:
        message = self.guarded(self.function, *map(_to_r, args))
        if len(message):
            raise InputError(str(message[0]))


def _to_r(value: Any) -> Any:
    from rpy2 import rinterface, robjects

    if value is None:
        return rinterface.NULL
    if isinstance(value, dict):
        vector = robjects.StrVector(list(value.values()))
        vector.names = robjects.StrVector(list(value))
        return vector
    return robjects.StrVector([str(value)]) if isinstance(value, str | Path) else value


@cache
def _load_package() -> Any:
    """Load the R package, installed or from this checkout; return R's look-up of a name in its namespace."""
    robjects = _import_rpy2()
    _add_project_library(robjects)
    if not _has_package(robjects, "sailerx"):
        _load_checkout(robjects)
    return robjects.r('function(name) get(name, envir = asNamespace("sailerx"))')


def _has_package(robjects: Any, name: str) -> bool:
    return bool(robjects.r["requireNamespace"](name, quietly=True)[0])


def _add_project_library(robjects: Any) -> None:
    """Prepend the library into which `make` installs R packages to R's library paths."""
    library = ROOT / ".rlib"
    if library.is_dir() and str(library) not in list(robjects.r(".libPaths()")):
        robjects.r(f".libPaths(c({_r_strings([str(library)])}, .libPaths()))")


def _r_strings(texts: list[str]) -> str:
    return ", ".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts)


def _load_checkout(robjects: Any) -> None:
    source = ROOT / "rpkg"
    if not (source / "DESCRIPTION").exists() or not _has_package(robjects, "pkgload"):
        raise ImportError(
            f"Seurat objects need the R package sailerx, which R at {robjects.r('R.home()')[0]} has not. "
            'Install it in R: install.packages("<its folder or file>", repos = NULL, type = "source").'
        )
    robjects.r(
        f"pkgload::load_all({_r_strings([str(source)])}, quiet = TRUE, helpers = FALSE, attach = FALSE)"
    )


def _import_rpy2() -> Any:
    os.environ.setdefault("RPY2_CFFI_MODE", "ABI")
    try:
        from rpy2 import robjects
    except ImportError as error:
        raise ImportError(
            "Seurat objects need rpy2, which is not installed. Install it where R is: pip install 'sailerx[r]'."
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ImportError(
            f"Seurat objects need R, which rpy2 cannot start: {error}. Put R on the PATH."
        ) from error
    return robjects
