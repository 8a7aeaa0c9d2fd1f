"""Damaged and odd files, one mutation each, drawn from a seed: .h5mu, .h5ad and model folders as programs and disks leave them.

`KINDS` has the mutations by kind; the first line of each docstring says what is done.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.random import Generator

Mutation = Callable[[Path, Generator], None]


# HDF5: the elements of a file


def nodes(file: h5py.File, kind: type = h5py.HLObject) -> list[str]:
    """Names of the groups and datasets of a file, or of one of both, in a fixed order."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return sorted(found)


def drawn(names: list[str], rng: Generator) -> str:
    return names[int(rng.integers(len(names)))]


def in_hdf5(change: Callable[[h5py.File, Generator], None]) -> Mutation:
    """A mutation of an HDF5 file from one of its content."""

    def mutate(path: Path, rng: Generator) -> None:
        with h5py.File(path, "r+") as file:
            change(file, rng)

    mutate.__doc__ = change.__doc__
    return mutate


def put(file: h5py.File, name: str, value: Any) -> None:
    """Replace a dataset; its attributes stay."""
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = value
    file[name].attrs.update(attributes)


def numbers(file: h5py.File) -> list[str]:
    return [name for name in nodes(file, h5py.Dataset) if file[name].dtype.kind in "iuf" and file[name].size]


def texts(file: h5py.File) -> list[str]:
    return [name for name in nodes(file, h5py.Dataset) if file[name].dtype.kind == "O" and file[name].shape]


def unchanged(path: Path, rng: Generator) -> None:
    """Nothing: the valid original."""


@in_hdf5
def element_removed(file: h5py.File, rng: Generator) -> None:
    """A group or dataset is missing."""
    del file[drawn(nodes(file), rng)]


@in_hdf5
def element_renamed(file: h5py.File, rng: Generator) -> None:
    """A group or dataset has another name."""
    name = drawn(nodes(file), rng)
    file.move(name, name + "_")


@in_hdf5
def elements_exchanged(file: h5py.File, rng: Generator) -> None:
    """Two datasets have changed places."""
    one, other = (drawn(nodes(file, h5py.Dataset), rng) for _ in range(2))
    if one != other:
        file.move(one, "kept")
        file.move(other, one)
        file.move("kept", other)


@in_hdf5
def group_for_dataset(file: h5py.File, rng: Generator) -> None:
    """A group is where a dataset should be, or the reverse."""
    name = drawn(nodes(file), rng)
    was_group = isinstance(file[name], h5py.Group)
    attributes = dict(file[name].attrs)
    del file[name]
    made = file.create_dataset(name, data=[1, 2, 3]) if was_group else file.create_group(name)
    made.attrs.update(attributes)


TYPES: dict[str, Callable[[int, Generator], Any]] = {
    "text": lambda n, _: np.array([f"t{i}" for i in range(n)], dtype=object),
    "bytes": lambda n, _: np.array([b"\xff\xfe"] * n, dtype="S4"),
    "double": lambda n, rng: rng.normal(size=n),
    "byte": lambda n, rng: rng.integers(0, 255, n).astype(np.uint8),
    "long": lambda n, rng: rng.integers(-(2**62), 2**62, n),
    "truth": lambda n, rng: rng.random(n) < 0.5,
    "complex": lambda n, rng: rng.normal(size=n) + 1j,
    "half": lambda n, rng: rng.normal(size=n).astype(np.float16),
    "compound": lambda n, _: np.zeros(n, dtype=[("a", "i4"), ("b", "f8")]),
    "opaque": lambda n, _: np.zeros(n, dtype="V5"),
}


@in_hdf5
def other_type(file: h5py.File, rng: Generator) -> None:
    """A dataset has values of another type."""
    name = drawn(nodes(file, h5py.Dataset), rng)
    n = file[name].shape[0] if file[name].shape else 1
    put(file, name, TYPES[drawn(sorted(TYPES), rng)](n, rng))


@in_hdf5
def other_shape(file: h5py.File, rng: Generator) -> None:
    """A dataset is longer, shorter, empty, a scalar, or has one axis more."""
    name = drawn(nodes(file, h5py.Dataset), rng)
    values = np.atleast_1d(file[name][()])
    forms = [
        values[:-1],
        np.concatenate([values, values[:1]]),
        values[:0],
        values.ravel()[0],
        values[None],
        values[..., None],
    ]
    file_value = forms[int(rng.integers(len(forms)))]
    put(file, name, file_value)


@in_hdf5
def no_data(file: h5py.File, rng: Generator) -> None:
    """A dataset has the null dataspace."""
    put(file, drawn(nodes(file, h5py.Dataset), rng), h5py.Empty("f4"))


@in_hdf5
def strange_numbers(file: h5py.File, rng: Generator) -> None:
    """Numbers are missing, infinite, negative, fractions or far too large."""
    name = drawn(numbers(file), rng)
    values = file[name][()]
    strange = np.array([np.nan, np.inf, -np.inf, -1, 0.5, 1e30, 2**31, 2**53 + 1, 2.0**63])
    flat = np.atleast_1d(values).astype(float).ravel()
    flat[rng.integers(flat.size, size=3)] = strange[rng.integers(len(strange), size=3)]
    shaped = flat.reshape(np.shape(values))
    with np.errstate(invalid="ignore"):
        put(file, name, shaped if rng.random() < 0.5 else shaped.astype(values.dtype))


@in_hdf5
def sparse_arrays(file: h5py.File, rng: Generator) -> None:
    """Indices or pointers of a sparse matrix are out of range, negative, in disorder or repeated."""
    name = drawn([name for name in numbers(file) if name.endswith(("/indices", "/indptr"))], rng)
    values = file[name][:].astype(np.int64)
    at = int(rng.integers(len(values)))
    change = int(rng.integers(5))
    if change < 3:
        values[at] = (10**6, -1, 2**40)[change]
    elif change == 3:
        values = values[::-1].copy()
    else:
        values[:] = values[at]
    put(file, name, values)


@in_hdf5
def strange_texts(file: h5py.File, rng: Generator) -> None:
    """Names or texts occur twice, are empty, very long, or no UTF-8."""
    name = drawn(texts(file), rng)
    values = file[name][:]
    if not len(values):
        return
    odd = [
        values[0],
        b"",
        b"x" * 10_000,
        b"\xff\xfe\xfa",
        b"a/b\n\t",
        "\u202e\U0001f9ec".encode(),
        b"nan",
    ]
    values[rng.integers(len(values), size=2)] = odd[int(rng.integers(len(odd)))]
    put(file, name, values)


@in_hdf5
def categories(file: h5py.File, rng: Generator) -> None:
    """Codes of a categorical column are out of range, or its categories occur twice or are missing."""
    names = [name for name in nodes(file, h5py.Group) if "codes" in file[name] and "categories" in file[name]]
    name = drawn(names, rng)
    codes, values = file[f"{name}/codes"][:], file[f"{name}/categories"][:]
    change = int(rng.integers(4))
    if change < 2:
        codes[int(rng.integers(len(codes)))] = (100, -7)[change]
        put(file, f"{name}/codes", codes)
    else:
        put(file, f"{name}/categories", np.repeat(values[:1], len(values)) if change == 2 else values[:-1])


@in_hdf5
def attribute_removed(file: h5py.File, rng: Generator) -> None:
    """An attribute is missing."""
    name = drawn([name for name in nodes(file) if len(file[name].attrs)], rng)
    del file[name].attrs[drawn(sorted(file[name].attrs), rng)]


ENCODINGS = ["dataframe", "categorical", "csr_matrix", "csc_matrix", "array", "dict", "null", "awkward-array"]
ENCODINGS += ["nullable-integer", "raw", "anndata", "9.9.9", ""]
ATTRIBUTES: list[Any] = [*ENCODINGS, 0, -1, 2**40, 1.5, True, [1, 2], [5, 10**12], [3, 3, 3], ["a", "b"]]
ATTRIBUTES += [b"\xff\xfe", h5py.Empty("f4"), [], np.nan]


@in_hdf5
def attribute_changed(file: h5py.File, rng: Generator) -> None:
    """An attribute has another value or type: encodings, versions, shapes, orders of columns."""
    name = drawn([name for name in nodes(file) if len(file[name].attrs)], rng)
    file[name].attrs[drawn(sorted(file[name].attrs), rng)] = ATTRIBUTES[int(rng.integers(len(ATTRIBUTES)))]


@in_hdf5
def root_attribute(file: h5py.File, rng: Generator) -> None:
    """An attribute of the file, or of its modalities, is missing or another."""
    group = file["mod"] if "mod" in file and rng.random() < 0.5 else file
    name = drawn([*sorted(group.attrs), "sailerx-format", "mod-order"], rng)
    if name in group.attrs and rng.random() < 0.4:
        del group.attrs[name]
    else:
        group.attrs[name] = ATTRIBUTES[int(rng.integers(len(ATTRIBUTES)))]


@in_hdf5
def strange_links(file: h5py.File, rng: Generator) -> None:
    """An element is a link: to nothing, to another file, to another element, or a group holds itself."""
    name, other = drawn(nodes(file), rng), drawn(nodes(file), rng)
    change = int(rng.integers(5))
    if change == 4:
        group = file[drawn(nodes(file, h5py.Group), rng)]
        group["itself"] = group
        return
    target = file[other] if change == 3 and not other.startswith(name) else h5py.SoftLink("/" + other)
    del file[name]
    links = [h5py.SoftLink("/nowhere"), h5py.ExternalLink("gone.h5", "/x"), h5py.SoftLink("/" + name), target]
    file[name] = links[min(change, 3)]


# Any file: its bytes


def cut_short(path: Path, rng: Generator) -> None:
    """The file ends early."""
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])


def bytes_flipped(path: Path, rng: Generator) -> None:
    """A few bytes are others."""
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    data[rng.integers(len(data), size=int(rng.integers(1, 30)))] = rng.integers(0, 256)
    path.write_bytes(data.tobytes())


def header_flipped(path: Path, rng: Generator) -> None:
    """Bytes near the start, where HDF5 and safetensors describe the rest, are others."""
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    data[rng.integers(min(len(data), 4096), size=8)] = rng.integers(0, 256, size=8)
    path.write_bytes(data.tobytes())


def block_of_zeros(path: Path, rng: Generator) -> None:
    """A block of the file is zero, as after a failed write."""
    data = bytearray(path.read_bytes())
    start = int(rng.integers(len(data)))
    end = min(len(data), start + 4096)
    data[start:end] = bytes(end - start)
    path.write_bytes(bytes(data))


def other_file(path: Path, rng: Generator) -> None:
    """Something else is there: an empty file, text, zeros, a zip, or an empty folder."""
    contents = [b"", b"cell,gene\n1,2\n", bytes(4096), b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n"]
    path.unlink()
    choice = int(rng.integers(len(contents) + 1))
    if choice == len(contents):
        path.mkdir()
    else:
        path.write_bytes(contents[choice])


# Model folders


def model_file(folder: Path, rng: Generator, suffix: str = "") -> Path:
    files = sorted(path for path in folder.iterdir() if path.name.endswith(suffix))
    return files[int(rng.integers(len(files)))]


def in_model(change: Mutation) -> Mutation:
    """A mutation of one file of a model folder."""

    def mutate(folder: Path, rng: Generator) -> None:
        change(model_file(folder, rng), rng)

    mutate.__doc__ = f"In a model folder: {(change.__doc__ or '').splitlines()[0]}"
    return mutate


def model_file_removed(folder: Path, rng: Generator) -> None:
    """A file of a model folder is missing."""
    model_file(folder, rng).unlink()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values in a JSON document, containers included."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path] * bool(path) + [leaf for key, inner in items for leaf in leaves(inner, (*path, key))]


ODD_JSON: list[Any] = [
    None, True, -1, 0, 1.5, 10**6, 2**70, -1e308, float("nan"), float("inf"), "", "x", "../../etc", [], [1], [[0, 1]], {}, {"a": 1},
]  # fmt: skip


def model_json(folder: Path, rng: Generator) -> None:
    """A value of model.json is missing, or of another type or size."""
    path = folder / "model.json"
    model = json.loads(path.read_text())
    paths = leaves(model)
    *above, last = paths[int(rng.integers(len(paths)))]
    place = model
    for key in above:
        place = place[key]
    if rng.random() < 0.3:
        del place[last]
    else:
        place[last] = ODD_JSON[int(rng.integers(len(ODD_JSON)))]
    path.write_text(json.dumps(model))


def model_table(folder: Path, rng: Generator) -> None:
    """A table of a model folder lacks a row or column, or holds odd text."""
    path = model_file(folder, rng, ".csv")
    lines = path.read_text().splitlines()
    change = int(rng.integers(4))
    at = int(rng.integers(len(lines)))
    if change == 0:
        del lines[at]
    elif change == 1:
        lines = [line.rpartition(",")[0] for line in lines]
    elif change == 2:
        lines[at] = lines[at].replace(",", ';"', 1)
    else:
        lines[at] = "x" + lines[at].replace("1", "é")
    path.write_text("\n".join(lines))


def model_arrays(folder: Path, rng: Generator) -> None:
    """An array of a model folder is missing, or of another shape or type, or has missing values."""
    from safetensors.numpy import load_file, save_file

    path = model_file(folder, rng, ".safetensors")
    arrays = load_file(path)
    name = drawn(sorted(name for name in arrays if arrays[name].size), rng)  # nothing changes in an empty one
    change = int(rng.integers(5))
    if change == 0:
        del arrays[name]
    elif change == 1:
        arrays[name] = np.concatenate([arrays[name].ravel()] * 2)
    elif change == 2:
        arrays[name] = arrays[name].astype(np.int8)
    elif change == 3 and arrays[name].dtype.kind == "f":
        arrays[name] = np.full_like(arrays[name], np.nan)
    else:
        arrays[name] = arrays[name][None]
    save_file(arrays, path)


OF_CONTENT: list[Mutation] = [
    *(
        element_removed,
        element_renamed,
        elements_exchanged,
        group_for_dataset,
        other_type,
        other_shape,
        no_data,
    ),
    *(
        strange_numbers,
        sparse_arrays,
        strange_texts,
        categories,
        attribute_removed,
        attribute_changed,
        root_attribute,
    ),
    strange_links,
]
OF_BYTES: list[Mutation] = [cut_short, bytes_flipped, header_flipped, block_of_zeros, other_file]
OF_MODELS: list[Mutation] = [
    model_file_removed,
    model_json,
    model_table,
    model_arrays,
    *(in_model(change) for change in OF_BYTES[:4]),
]

#: kind of input → its mutations
KINDS: dict[str, list[Mutation]] = {
    ".h5mu": [*OF_CONTENT, *OF_BYTES, unchanged],
    ".h5ad": [*OF_CONTENT, *OF_BYTES, unchanged],
    "model": [*OF_MODELS, unchanged],
}


def mutant(original: Path, kind: str, seed: int, path: Path) -> str:
    """Copy a file or folder, mutate the copy once, and return what was done.

    The mutations of a kind come in turn, so that equally many seeds have each.
    """
    shutil.copytree(original, path) if original.is_dir() else shutil.copy(original, path)
    mutation = KINDS[kind][seed % len(KINDS[kind])]
    mutation(path, np.random.default_rng([seed, sorted(KINDS).index(kind)]))
    return (mutation.__doc__ or "").splitlines()[0]
