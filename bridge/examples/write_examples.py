"""Write v1/content.json as .h5mu with the installed versions of anndata and mudata.

The example files are frozen: run this, in each supported version, and ``write_examples.R`` only for a new format version.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from content import to_mudata, without_pulling

HERE = Path(__file__).resolve().parent / "v1"


def main() -> None:
    """Write one file, named after the minor version of anndata."""
    without_pulling()
    content = json.loads((HERE / "content.json").read_text(encoding="utf-8"))
    generation = ".".join(version("anndata").split(".")[:2])
    to_mudata(content).write(HERE / f"anndata-{generation}.h5mu")


if __name__ == "__main__":
    main()
