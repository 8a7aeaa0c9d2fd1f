"""Is this file one that sailerx can read? Checks an .h5mu file against bridge/format.json.

The file is first outlined: one JSON object per HDF5 group or dataset, without reading the data. The outline is what
the JSON Schema in ``format.json`` describes. Whether the parts fit each other in length, which no schema can say, is
checked afterwards. Any valid .h5mu passes, whether or not sailerx wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import h5py
import jsonschema
import numpy as np

from sailerx.errors import InputError

Profile = Literal["readable", "written"]

_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE / "format.json", _HERE.parents[2] / "bridge" / "format.json")
_KINDS = {
    "i": "integer",
    "u": "integer",
    "f": "float",
    "b": "boolean",
    "O": "string",
    "S": "string",
    "U": "string",
}


def check_file(path: str | Path, *, profile: Profile = "readable") -> int | None:
    """Raise an error that says what is wrong, unless the file is an .h5mu that can be read.

    Parameters
    ----------
    path
        The file.
    profile
        ``"readable"``: what every reader takes. ``"written"``: the narrower form that the R writer makes.

    Returns
    -------
    The format version that the file declares; ``None`` if it was written without sailerx.

    Raises
    ------
    InputError
        The file is missing, not HDF5, cut short, of a newer format version, or lacks what an .h5mu must have.
    """
    path = Path(path)
    with _open(path) as file:
        version = _check_version(path, file)
        _check_outline(path, outline(file), profile)
        for name, problem in _misfits(file):
            raise InputError(f"{path}: {name} {problem}. The file is damaged: write it again.")
    return version


@cache
def format_schema() -> dict[str, Any]:
    """The machine-readable contract: ``format.json`` beside this module, or in the checkout's ``bridge/``."""
    place = next(place for place in _PLACES if place.exists())
    return json.loads(place.read_text(encoding="utf-8"))


def outline(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """A node as JSON: ``attrs``, and ``members`` of a group or ``shape``, ``dtype`` and ``type`` of a dataset."""
    attrs = {key: _plain(node.attrs, key) for key in node.attrs}
    if isinstance(node, h5py.Group):
        return {"attrs": attrs, "members": {key: outline(node[key]) for key in node}}
    shape = None if node.shape is None else list(node.shape)
    dtype = _KINDS.get(node.dtype.kind, "other")
    return {"attrs": attrs, "shape": shape, "dtype": dtype, "type": str(node.dtype)}


def _plain(attrs: h5py.AttributeManager, key: str) -> Any:
    value = attrs[key]
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise InputError(f"The input must be an .h5mu file: there is no file {path}. Check the path.")
    try:
        if h5py.is_hdf5(path):
            return h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path} must be a complete HDF5 file, but it was cut short or is damaged ({error}). "
            "Copy or write it again."
        ) from error
    raise InputError(
        f"{path} must be an HDF5 file in the .h5mu layout, but it is of another kind or was cut short near its start. "
        "Write it with mudata's `write` in Python or `WriteH5MU()` in R."
    )


def _check_version(path: Path, file: h5py.File) -> int | None:
    schema = format_schema()
    found = file.attrs.get(schema["x-version-attribute"])
    if found is None:
        return None
    version = int(found)
    if version > schema["x-version"]:
        raise InputError(
            f"{path} must be of format version {schema['x-version']} or older, but it is of version {version}. "
            "Install a newer sailerx."
        )
    return version


def _check_outline(path: Path, found: dict[str, Any], profile: Profile) -> None:
    if found["attrs"].get("encoding-type") == "anndata":
        raise InputError(
            f"{path} must be an .h5mu file, but it holds a single AnnData object. "
            'Put it beside the other modality: mudata.MuData({"rna": rna, "atac": atac}).write("file.h5mu").'
        )
    schema = {"$ref": f"#/$defs/{profile}", "$defs": format_schema()["$defs"]}
    errors = jsonschema.Draft202012Validator(schema).iter_errors(found)
    worst = min(errors, key=lambda error: len(error.absolute_path), default=None)
    if worst is not None:
        raise InputError(_describe(path, worst))


def _describe(path: Path, error: jsonschema.ValidationError) -> str:
    where = (
        "/".join(str(part) for part in error.absolute_path if part not in ("members", "attrs")) or "the file"
    )
    found = error.message if len(error.message) < 200 else f"does not meet `{error.validator}`"
    return (
        f"{path}: {_rule(error)}. Found at {where}: {found}. "
        "Write the file again with mudata in Python or `WriteH5MU()` in R."
    )


def _rule(error: jsonschema.ValidationError) -> str:
    """The innermost description on the way to the rule that was broken; jsonschema leaves references out of the way."""
    definitions = format_schema()["$defs"]
    schema: Any = (
        definitions["readable"] if error.absolute_schema_path[0] != "allOf" else definitions["written"]
    )
    rule = definitions["readable"]["description"]
    for step in error.absolute_schema_path:
        while isinstance(schema, dict) and step not in schema and "$ref" in schema:
            schema = definitions[schema["$ref"].removeprefix("#/$defs/")]
            rule = schema.get("description", rule)
        schema = schema[step]
        rule = schema.get("description", rule) if isinstance(schema, dict) else rule
    return rule


def _misfits(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Parts whose lengths do not fit each other, as (name of the part, what is wrong)."""
    for modality in file["mod"].values():
        n_cells, n_features = _length(modality["obs"]), _length(modality["var"])
        matrices = [modality["X"]] if "X" in modality else []
        for matrix in [*matrices, *modality.get("layers", {}).values()]:
            if matrix.attrs.get("encoding-type") != "null" and _shape(matrix) != (n_cells, n_features):
                yield matrix.name, f"must be {n_cells} cells × {n_features} features, but is {_shape(matrix)}"
            yield from _sparse_misfits(matrix)
        for entry in modality.get("obsm", {}).values():
            if isinstance(entry, h5py.Dataset) and entry.shape[0] != n_cells:
                yield entry.name, f"must have one row per cell: expected {n_cells}, got {entry.shape[0]}"


def _length(frame: h5py.Group) -> int:
    index = frame[frame.attrs["_index"]]
    return len(index["values"] if isinstance(index, h5py.Group) else index)


def _shape(matrix: h5py.Group | h5py.Dataset) -> tuple[int, ...]:
    return tuple(
        int(size) for size in (matrix.shape if isinstance(matrix, h5py.Dataset) else matrix.attrs["shape"])
    )


def _sparse_misfits(matrix: h5py.Group | h5py.Dataset) -> Iterator[tuple[str, str]]:
    if isinstance(matrix, h5py.Dataset):
        return
    major = _shape(matrix)[0 if matrix.attrs["encoding-type"] == "csr_matrix" else 1]
    n_values, pointers = len(matrix["data"]), matrix["indptr"]
    if len(pointers) != major + 1:
        yield matrix.name, f"must have {major + 1} pointers, but has {len(pointers)}"
    elif len(matrix["indices"]) != n_values or int(pointers[-1]) != n_values:
        yield (
            matrix.name,
            f"must have as many values as indices, and as its last pointer says, but has {n_values}",
        )
