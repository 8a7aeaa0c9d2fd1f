"""The examples in docstrings run, and every public function has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import sailerx

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder()
    for info in pkgutil.walk_packages(sailerx.__path__, "sailerx."):
        if info.name != "sailerx.__main__":
            yield from (found for found in finder.find(importlib.import_module(info.name)) if found.examples)


EXAMPLES = {example.name: example for example in examples()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_gives_what_it_says(name: str) -> None:
    said: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(EXAMPLES[name], out=said.append)
    assert not said, "".join(said)


def public_functions() -> dict[str, Any]:
    """What users call: functions of the package, and methods of its model."""
    exported = {name: getattr(sailerx, name) for name in sailerx.__all__}
    functions = {name: f for name, f in exported.items() if inspect.isfunction(f)}
    own = {"write_into"}  # for the command line
    methods = {
        f"Model.{name}": f
        for name, f in vars(sailerx.Model).items()
        if inspect.isfunction(f) and not name.startswith("_") and name not in own
    }
    return functions | methods


@pytest.mark.parametrize("name", public_functions())
def test_public_function_has_an_example(name: str) -> None:
    function = public_functions()[name]
    assert f"{function.__module__}.{name}" in EXAMPLES
