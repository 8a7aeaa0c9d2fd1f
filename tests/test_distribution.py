"""What would be published: wheel and sdist hold what they must and nothing else, and work in an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import anndata
import pytest

import sailerx

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, folder: Path) -> str:
    """Run a program that finds neither this checkout nor its environment, nor the libraries of an R in this process."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "SAILERX_PYTHON", "LD_LIBRARY_PATH"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    answer = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built of it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode("utf-8"))


def test_both_pass_the_check_of_the_package_index(built: tuple[Path, Path]) -> None:
    answer = run(
        sys.executable, "-m", "twine", "--no-color", "check", "--strict", *built, folder=built[0].parent
    )
    assert answer.count("PASSED") == 2


def test_wheel_holds_every_module_and_what_they_read(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {
        path.relative_to(ROOT / folder).as_posix()
        for folder in ("python", "bridge")
        for path in (ROOT / folder).glob("sailerx*/**/*.py")
    }
    data = {
        "sailerx/py.typed",
        "sailerx_bridge/py.typed",
        "sailerx/data/format.json",
        "sailerx/evaluate/report.html",
    }
    assert inside == modules | data


def test_sdist_holds_nothing_of_other_folders(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {Path(*Path(name).parts[1:]).parts for name in archive.getnames()}
    assert {parts[0] for parts in names} == {
        *("python", "bridge", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"),
        *("pyproject.toml", "PKG-INFO", ".gitignore"),
    }


def test_metadata_say_what_the_package_is(built: tuple[Path, Path]) -> None:
    found = metadata(built[1])
    assert (found["Name"], found["Version"]) == ("sailerx", sailerx.__version__)
    assert found["License-Expression"] == "MIT"
    assert found["Requires-Python"] == ">=3.11"
    assert found["Description-Content-Type"] == "text/markdown"
    assert found.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in found.get_all("Requires-Dist") if "==" in name.split(";")[0]]  # no pins


def test_readme_has_no_badges() -> None:
    assert "shields.io" not in (ROOT / "README.md").read_text(encoding="utf-8")


# In an empty environment


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that holds PyTorch for CPUs alone."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    # not with this environment's own Python: the new one would look into it
    run(os.path.realpath(sys.executable), "-m", "venv", folder, folder=folder.parent)
    constraints = (ROOT / "setup" / "constraints-cpu.txt").read_text(encoding="utf-8")
    torch = next(line for line in constraints.splitlines() if line.startswith("torch=="))
    python = folder / "bin" / "python"
    try:
        run(python, "-m", "pip", "install", "--quiet", torch, folder=folder)
    except AssertionError as error:
        if "No matching distribution" in str(error) or "Could not find a version" in str(error):
            pytest.skip(f"no package index that has {torch} can be reached")
        raise
    return python


@pytest.mark.full
@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_package_works_where_nothing_else_is_installed(
    built: tuple[Path, Path], empty: Path, tmp_path: Path, kind: str
) -> None:
    package = built[("sdist", "wheel").index(kind)]
    constraints = ROOT / "setup" / "constraints-cpu.txt"
    run(empty, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", package, folder=tmp_path)
    run(empty, "-m", "pip", "install", "--quiet", "--constraint", constraints, package, folder=tmp_path)
    run(empty, "-m", "pip", "check", folder=tmp_path)
    place = run(empty, "-c", "import sailerx; print(sailerx.__file__)", folder=tmp_path).strip()
    assert Path(place).is_relative_to(empty.parent.parent)
    command = empty.parent / "sailerx"
    run(command, "simulate", "in.h5mu", "--n-cells=80", "--n-peaks=200", "--n-types=3", folder=tmp_path)
    assert "80, of which 80 have RNA" in run(command, "check", "in.h5mu", folder=tmp_path)
    run(command, "fit", "in.h5mu", "-o", "run", "--max-epochs=2", "--device=cpu", folder=tmp_path)
    run(command, "embed", "run", "in.h5mu", "-o", "out.h5ad", folder=tmp_path)
    assert anndata.read_h5ad(tmp_path / "out.h5ad").obsm["X_sailerx"].shape[0] == 80
