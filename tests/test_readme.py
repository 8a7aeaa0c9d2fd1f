"""The code blocks of README.md run as they stand there.

Each block is run alone, in the order of the page, and all in one scratch folder: a block may use files that
an earlier one has written. A block that cannot run here stands under a comment that says why, and counts as a
skip:

    <!-- not run: needs a file of your own -->
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCK = re.compile(
    r"(?:<!--\s*not run:\s*(?P<reason>.*?)\s*-->\s*)?"  # directly above, blank lines aside
    r"^```(?P<language>python|r|sh)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMANDS = {
    "python": [sys.executable, "block.py"],
    "r": ["Rscript", "block.r"],
    "sh": ["bash", "-euo", "pipefail", "block.sh"],
}
SUFFIXES = {"python": "py", "r": "r", "sh": "sh"}


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


BLOCKS = Block.all_of(README.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def needs(block: Block) -> list[pytest.MarkDecorator]:
    return [pytest.mark.r] if block.language == "r" else []


@pytest.mark.parametrize(
    "block", [pytest.param(b, marks=needs(b), id=f"line {b.line} ({b.language})") for b in BLOCKS]
)
def test_readme_block_runs_as_written(block: Block, scratch: Path) -> None:
    if block.reason:
        pytest.skip(f"README.md, line {block.line}: {block.reason}")
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


def test_blocks_keep_their_code_their_line_and_their_reason() -> None:
    runs = "# Title\n\n```sh\necho 1\n```\n\n"
    does_not = "<!-- not run: needs the sea -->\n\n```python\nswim()\n```\n\n"
    text = runs + does_not + "```text\nno code\n```\n"
    assert Block.all_of(text) == [
        Block("sh", "echo 1\n", None, 3),
        Block("python", "swim()\n", "needs the sea", 9),
    ]
