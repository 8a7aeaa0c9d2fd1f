"""Steps of the paper's experiments: each is computed once and kept, and one that cannot be computed says why."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: a row of results: experiment, data, method, measure, about and value, or the reason why it was not run
Row = dict[str, Any]


class NotRunError(Exception):
    """A step that cannot be computed; its message says what is missing."""


@dataclass(frozen=True)
class Plan:
    """How the experiments are run.

    Attributes
    ----------
    work
        Folder of what takes long to compute.
    quick
        Few epochs, few motifs: to see that everything works, not for results.
    seed
        Seed of all methods.
    threads
        Threads of each method.
    peers, imputation
        Pythons that have requirements-peers.txt and requirements-imputation.txt.
    without
        Methods that are left out: METHOD, or METHOD@DATA.
    """

    work: Path
    quick: bool = False
    seed: int = 0
    threads: int = 1
    peers: str = sys.executable
    imputation: str = sys.executable
    without: tuple[str, ...] = ()

    @property
    def max_epochs(self) -> int | None:
        """Epochs of the trained models; None: the preset's."""
        return 3 if self.quick else None

    def folder(self, data: str, about: object) -> Path:
        """Folder of what is computed of a data set; another for other files, other sizes and another seed."""
        digest = hashlib.sha256(repr((about, self.quick, self.seed)).encode()).hexdigest()[:8]
        return self.work / f"{data}-{digest}"

    def refuse(self, method: str, data: str) -> None:
        """Stop a method that is to be left out."""
        if {method, f"{method}@{data}"} & set(self.without):
            raise NotRunError("left out on request")


def kept(folder: Path, name: str, compute: Callable[[], list[Row]], *, about: object = ()) -> list[Row]:
    """Return the rows of a step, computed unless they are in the folder already.

    Parameters
    ----------
    folder, name
        Where the rows are kept.
    compute
        The step.
    about
        What else the rows depend on, beside the folder's data; rows of another ``about`` are computed again.
    """
    digest = hashlib.sha256(repr(about).encode()).hexdigest()[:12]
    file = folder / f"{name}-{digest}.json"
    if file.exists():
        return list(json.loads(file.read_text(encoding="utf-8")))
    rows = compute()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}")
    temporary.write_text(json.dumps(rows, default=float), encoding="utf-8")
    os.replace(temporary, file)
    return rows


def save_array(values: np.ndarray, file: Path) -> None:
    """Write an array; the file appears when it is complete."""
    temporary = file.with_name(f".{file.name}")
    np.save(temporary, np.asarray(values, np.float32))
    temporary.replace(file)


def rows_of(experiment: str, data: str, method: str, values: dict[str, float], about: str = "") -> list[Row]:
    """Write scores as rows, one per measure."""
    same = {"experiment": experiment, "data": data, "method": method, "about": about}
    return [
        same | {"measure": name, "value": float(value), "not_run": ""}
        for name, value in values.items()
        if np.isfinite(value)
    ]


def attempt(experiment: str, data: str, method: str, compute: Callable[[], list[Row]]) -> list[Row]:
    """Return the rows of a method, or one row with the reason why it was not run."""
    try:
        return compute()
    except NotRunError as why:
        row = {"experiment": experiment, "data": data, "method": method, "about": "", "measure": ""}
        return [row | {"value": "", "not_run": str(why)}]


def need(python: str, packages: Iterable[str]) -> None:
    """Stop where another tool's package is missing."""
    missing = [name for name in packages if not _has(python, name)]
    if missing:
        raise NotRunError(f"package missing: {', '.join(missing)}")


def _has(python: str, package: str) -> bool:
    if python == sys.executable:
        return importlib.util.find_spec(package) is not None
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def ended(what: str, run: Callable[[], object]) -> None:
    """Run another tool; if it ends with an error, say so in place of its result."""
    try:
        run()
    except (SystemExit, subprocess.CalledProcessError) as error:
        raise NotRunError(f"{what} ended with an error") from error
