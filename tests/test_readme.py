"""The code blocks of README.md run as they stand there.

Each block is run alone, in the order of the page, and all in one folder that holds what the page takes for
given: ``multiome.h5mu``, ``atac_only.h5ad`` and, for R, ``obj.rds``. Python's run in the process of the tests, which has
loaded torch and compiled UMAP. A block that cannot run here stands under a comment that says
why, and counts as a skip:

    <!-- not run: needs a file of your own -->

What is typed after a ``$`` (set-up, these tests, the demo) runs elsewhere; that `make` knows it is tested here.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import mudata
import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD

import sailerx

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(
    r"(?:<!--\s*not run:\s*(?P<reason>.*?)\s*-->\s*)?"  # directly above, blank lines aside
    r"^```(?P<language>python|r|sh)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMANDS = {
    "r": ["Rscript", "block.r"],
    "sh": ["bash", "-euo", "pipefail", "block.sh"],
}
SUFFIXES = {"r": "r", "sh": "sh"}


class Block(NamedTuple):
    language: str
    code: str
    reason: str | None
    line: int

    @classmethod
    def all_of(cls, text: str) -> list[Block]:
        return [
            cls(m["language"], m["code"], m["reason"], text.count("\n", 0, m.start("code")))
            for m in BLOCK.finditer(text)
        ]


TEXT = README.read_text(encoding="utf-8")
BLOCKS = Block.all_of(TEXT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``multiome.h5mu``: 200 cells, a reduction ``X_pca``, columns ``donor`` and ``plate``."""
    path = tmp_path_factory.mktemp("readme")
    mdata = sailerx.simulate(200, 300, 500, 3, seed=0)
    rna = mdata["rna"]
    rna.obsm["X_pca"] = TruncatedSVD(20, random_state=0).fit_transform(rna.X.log1p())
    for adata in mdata.mod.values():
        adata.obs["donor"] = adata.obs.pop("batch")
        adata.obs["plate"] = np.resize(["p1", "p2", "p3"], adata.n_obs)
    with mudata.set_options(pull_on_update=False):
        mdata.write(path / "multiome.h5mu")
    sailerx.simulate(100, 300, 500, 3, seed=0)["atac"].write_h5ad(path / "atac_only.h5ad")
    return path


@pytest.fixture(scope="module")
def seurat_folder(folder: Path) -> Path:
    """The same folder, with ``obj.rds``: the same cells as a Seurat object."""
    read = 'sailerx::ReadH5MU("multiome.h5mu", assays = c(RNA = "rna", peaks = "atac"))'
    subprocess.run(["Rscript", "-e", f'saveRDS({read}, "obj.rds")'], cwd=folder, check=True, timeout=300)
    return folder


def needs(block: Block) -> list[pytest.MarkDecorator]:
    return [pytest.mark.r] if block.language == "r" else []


def run_here(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `python block.py` does, in names of its own; warnings are no errors there."""
    (folder / "block.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runpy.run_path("block.py", run_name="__main__")


@pytest.mark.parametrize(
    "block", [pytest.param(b, marks=needs(b), id=f"line {b.line} ({b.language})") for b in BLOCKS]
)
def test_readme_block_runs_as_written(
    block: Block, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if block.reason:
        pytest.skip(f"README.md, line {block.line}: {block.reason}")
    scratch = request.getfixturevalue("seurat_folder" if block.language == "r" else "folder")
    if block.language == "python":
        run_here(block.code, scratch, monkeypatch)
        return
    (scratch / f"block.{SUFFIXES[block.language]}").write_text(block.code, encoding="utf-8")
    # `sailerx` and `python` are the environment's own, as after activating it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    answer = subprocess.run(
        COMMANDS[block.language],
        cwd=scratch,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert answer.returncode == 0, f"{block.code}\n{answer.stdout}\n{answer.stderr}"


def test_readme_shows_each_face() -> None:
    assert {block.language for block in BLOCKS if not block.reason} == {"python", "r", "sh"}


def test_make_knows_every_command_that_the_page_names() -> None:
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", TEXT))
    known = set(re.findall(r"^([a-z-]+):.*##", (README.parent / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= known


def test_blocks_keep_their_code_their_line_and_their_reason() -> None:
    runs = "# Title\n\n```sh\necho 1\n```\n\n"
    does_not = "<!-- not run: needs the sea -->\n\n```python\nswim()\n```\n\n"
    text = runs + does_not + "```text\nno code\n```\n"
    assert Block.all_of(text) == [
        Block("sh", "echo 1\n", None, 3),
        Block("python", "swim()\n", "needs the sea", 9),
    ]
