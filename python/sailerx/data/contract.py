"""Check that an .h5mu file is one that sailerx can read, by the JSON Schema in bridge/format.json.

First the file's outline is built: one JSON object per HDF5 group or dataset, without reading the data; the schema describes
this outline. Then lengths are compared (rows of matrices with barcodes and so on), which a schema cannot express. Any valid
.h5mu passes, whether or not sailerx wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn

import h5py
import jsonschema
import numpy as np

from sailerx.errors import InputError
from sailerx.files.global_heaps import has_endless_heap
from sailerx.files.trouble import reading

Profile = Literal["readable", "written"]

_HERE = Path(__file__).resolve().parent
_SCHEMA_PATHS = (_HERE / "format.json", _HERE.parents[2] / "bridge" / "format.json")
#: NumPy dtype kind → name in the outline
_JSON_DTYPES = {
    "i": "integer",
    "u": "integer",
    "f": "float",
    "b": "boolean",
    "O": "string",
    "S": "string",
    "U": "string",
}


def check_file(path: str | Path, *, profile: Profile = "readable") -> int | None:
    """Check that a file is a complete .h5mu that sailerx can read; raise otherwise.

    Parameters
    ----------
    path
        The file.
    profile
        ``"readable"``: what every reader accepts. ``"written"``: the narrower form that the R writer produces.

    Returns
    -------
    Format version declared in the file (attribute ``sailerx-format``); ``None`` without the attribute.

    Raises
    ------
    InputError
        The file is missing, not HDF5, cut short, of a newer format version, or lacks what an .h5mu must have.
    """
    path = Path(path)
    with open_hdf5(path) as file, reading(path):
        version = _check_version(path, file)
        _check_outline(path, outline(file), profile)
        for name, problem in _wrong_lengths(file):
            raise InputError(f"{path}: {name} {problem}. The file is damaged: write it again.")
    return version


@cache
def format_schema() -> dict[str, Any]:
    """Read ``format.json``, from beside this module (wheel) or from ``bridge/`` (checkout)."""
    path = next(path for path in _SCHEMA_PATHS if path.exists())
    return json.loads(path.read_text(encoding="utf-8"))


def outline(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Describe an HDF5 node as JSON: ``attrs``; ``members`` of a group; ``shape``, ``dtype``, ``type`` of a dataset."""
    attrs = {key: _plain(node.attrs, key) for key in node.attrs}
    if isinstance(node, h5py.Group):
        return {"attrs": attrs, "members": {key: outline(node[key]) for key in node}}
    shape = None if node.shape is None else list(node.shape)
    dtype = _JSON_DTYPES.get(node.dtype.kind, "other")
    return {"attrs": attrs, "shape": shape, "dtype": dtype, "type": str(node.dtype)}


def _plain(attrs: h5py.AttributeManager, key: str) -> Any:
    value = attrs[key]
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    InputError
        With the reason if it is missing, of another kind, cut short, in use, or not permitted to be read.
    """
    if not path.exists():
        raise InputError(f"The input must be an .h5mu file: there is no file {path}. Check the path.")
    with reading(path):
        with open(path, "rb"):  # the system's reasons, which HDF5 does not always pass on
            pass
        if h5py.is_hdf5(path):
            if has_endless_heap(path):
                raise InputError(
                    f"{path} cannot be read: the part with its texts is damaged. Copy or write it again."
                )
            return h5py.File(path, "r")
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
        refuse_one_modality(path)
    schema = {"$ref": f"#/$defs/{profile}", "$defs": format_schema()["$defs"]}
    errors = jsonschema.Draft202012Validator(schema).iter_errors(found)
    worst = min(errors, key=lambda error: len(error.absolute_path), default=None)
    if worst is not None:
        raise InputError(_describe(path, worst))


def refuse_one_modality(path: Path) -> NoReturn:
    """Refuse a file with a single AnnData object where RNA and ATAC are needed."""
    raise InputError(
        f"{path} must be an .h5mu file, but it holds a single AnnData object. "
        'Put it beside the other modality: mudata.MuData({"rna": rna, "atac": atac}).write("file.h5mu").'
    )


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
    """Find the innermost ``description`` on the schema path to the broken rule; jsonschema's path omits each ``$ref``."""
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


def _wrong_lengths(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Yield (HDF5 name, what is wrong) for each matrix or array whose shape contradicts the number of cells or features."""
    for modality in file["mod"].values():
        n_cells, n_features = _length(modality["obs"]), _length(modality["var"])
        matrices = [modality["X"]] if "X" in modality else []
        for matrix in [*matrices, *modality.get("layers", {}).values()]:
            if matrix.attrs.get("encoding-type") != "null" and _shape(matrix) != (n_cells, n_features):
                yield matrix.name, f"must be {n_cells} cells × {n_features} features, but is {_shape(matrix)}"
            yield from _wrong_sparse_lengths(matrix)
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


def _wrong_sparse_lengths(matrix: h5py.Group | h5py.Dataset) -> Iterator[tuple[str, str]]:
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
