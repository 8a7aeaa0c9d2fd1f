"""Tell whether the files of a model folder are as they were written: a changed byte would change results without a word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: key of model.json that holds the checksums
KEY = "sha256"
#: name under which the checksum of model.json itself is, without the checksums
_ITSELF = "model.json"


def checksums(folder: Path, names: Sequence[str], model: Mapping[str, Any]) -> dict[str, str]:
    """Compute SHA-256 of files, by name, and of the content of model.json."""
    of_files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return of_files | {_ITSELF: _of_content(model)}


def refuse_changed(folder: Path, model: Mapping[str, Any]) -> None:
    """Compare the files of a model folder with the checksums in model.json; models of older versions have none.

    Raises
    ------
    ValueError
        With the name of a file that is missing or is not what was written.
    """
    known = model.get(KEY, {})
    missing = [name for name in known if name != _ITSELF and not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    found = checksums(folder, [name for name in known if name != _ITSELF], model) if known else {}
    changed = [name for name in known if known[name] != found[name]]
    if changed:
        raise ValueError(f"{changed[0]} is not what was written")


def _of_content(model: Mapping[str, Any]) -> str:
    content = {key: value for key, value in model.items() if key != KEY}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
