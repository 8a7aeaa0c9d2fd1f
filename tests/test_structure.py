"""The rooms of the package: imports go down the list of rooms, and light things stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import get_type_hints

import pytest

import sailerx
import sailerx.api
from sailerx.flags import _imported, _in_source

PACKAGE = Path(sailerx.__file__).parent
#: from the ground up; a module imports from its own room and from those before it
ROOMS = (
    *(
        "errors",
        "config",
        "versions",
        "device",
        "compiled",
        "threads",
        "files",
        "data",
        "kernels",
        "joint",
        "minibatches",
    ),
    *(
        "network",
        "training",
        "regulators",
        "simulation",
        "results",
        "evaluate",
        "plot",
        "metrics",
        "motifs",
        "api",
        "demo",
    ),
    *("flags", "commands", "cli", "__main__"),
)
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def room_of(path: Path) -> str:
    return path.with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Modules of the package that a module imports, also within functions; not what only a type checker sees."""
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    typing_only = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    names: set[str] = set()
    for node in set(ast.walk(tree)) - typing_only:
        if isinstance(node, ast.ImportFrom) and node.module == "sailerx":
            names |= {f"sailerx.{name.name}" for name in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sailerx."):
            names.add(str(node.module))
    return names


def test_every_module_has_its_room() -> None:
    assert {room_of(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_down(path: Path) -> None:
    allowed = ROOMS[: ROOMS.index(room_of(path)) + 1]
    rooms = {name.split(".")[1] for name in imported(path)}
    assert rooms <= set(allowed) - {"plot", "metrics", "motifs"}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        ".".join(("sailerx", *path.relative_to(PACKAGE).with_suffix("").parts)): imported(
            path.relative_to(PACKAGE)
        )
        for path in PACKAGE.rglob("*.py")
    }
    seen: dict[str, bool] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name in graph and name not in seen:
            for below in graph[name]:
                visit(below, (*above, name))
            seen[name] = True

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(
    "code",
    [
        "import sailerx",
        "from sailerx.data.peaks import peak_table",
        "from sailerx.data.reading import read",
        "from sailerx.cli import parser; parser('info')",
        *(
            f"from sailerx.cli import parser; parser('{name}')"
            for name in ("fit", "impute", "links", "report")
        ),
    ],
)
def test_light_things_do_not_load_torch(code: str) -> None:
    code = f"import sys; {code}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fit_imports_nothing_that_it_can_do_without(tmp_path: Path) -> None:
    sailerx.simulate_to_file(tmp_path / "cells.h5mu", 150, 100, 300, 3)
    heavy = {
        "sklearn",
        "scipy.stats",
        "torch._dynamo",
        "sympy",
        "matplotlib",
        "scanpy",
        "umap",
        "lightning_fabric",
    }
    words = ["fit", str(tmp_path / "cells.h5mu"), "-o", str(tmp_path / "run"), "--max-epochs", "1"]
    code = (
        f"import sys; from sailerx.cli import main; print(main({words!r}), *({heavy!r} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    assert answer.stdout.split() == ["0"]


@pytest.mark.parametrize("name", ["fit", "Model.impute", "Model.links", "Model.differential_accessibility"])
def test_parameters_read_from_the_source_are_those_of_the_function(name: str) -> None:
    function = attrgetter(name)(sailerx.api)
    hints = get_type_hints(function)
    names = [word for word, kind in hints.items() if kind in (int, float, bool, str, str | None)]
    assert names
    assert _in_source(f"sailerx.api:{name}", names) == _imported(function, names)
