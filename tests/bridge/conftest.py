"""One R session for all bridge tests, started by the first that needs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import mudata
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bridge" / "examples"), str(Path(__file__).resolve().parent)]


@pytest.fixture(autouse=True)
def _columns_left_in_place() -> Iterator[None]:
    """mudata 0.3 must say whether it copies columns to the top; 0.4 never does."""
    if not hasattr(mudata, "set_options"):
        yield
        return
    with mudata.set_options(pull_on_update=False):
        yield


class RSide:
    """What the tests ask of R: contents to Seurat objects and back, through files."""

    def __init__(self) -> None:
        from sailerx_bridge.session import r_function

        r_function("WriteH5MU")  # loads the package
        self.run = import_module("rpy2.robjects").r
        self.run("suppressPackageStartupMessages(library(SeuratObject))")
        self.run(f"source({json.dumps(str(ROOT / 'bridge' / 'examples' / 'content.R'))})")
        self.run(
            """
            sailerx <- asNamespace("sailerx")
            from_json <- function(json) jsonlite::fromJSON(json, simplifyVector = FALSE)
            names_of_modalities <- c(RNA = "rna", ATAC = "atac")
            seurat_to_file <- function(json, file) sailerx$WriteH5MU(to_seurat(from_json(json)), file)
            describe_file <- function(file, to = NULL) {
              object <- sailerx$ReadH5MU(file, verbose = FALSE)
              if (!is.null(to)) sailerx$WriteH5MU(object, to)
              to_json(describe(object, names_of_modalities))
            }
            """
        )

    def write(self, content: dict[str, Any], path: Path) -> None:
        """A Seurat object with this content, by WriteH5MU()."""
        self.run["seurat_to_file"](to_json(content), str(path))

    def read(self, path: Path) -> dict[str, Any]:
        """The content of the Seurat object that ReadH5MU() makes of a file."""
        return json.loads(self.run["describe_file"](str(path))[0])

    def rewrite(self, source: Path, target: Path) -> dict[str, Any]:
        """File to Seurat object to file; returns the content of the object."""
        return json.loads(self.run["describe_file"](str(source), str(target))[0])


def to_json(content: Any) -> str:
    """JSON as R reads it, with doubles as hexadecimal text, which loses nothing."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        return value.hex() if isinstance(value, float) else value

    return json.dumps(plain(content))


@pytest.fixture(scope="session")
def r() -> RSide:
    """R with Seurat and sailerx."""
    return RSide()
