"""Convert contents (see bridge/examples/content.py) to a form that == compares entry by entry."""

from __future__ import annotations

from typing import Any

Content = dict[str, Any]


def normal(content: Content, like: Content | None = None) -> Content:
    """A content without what carries no meaning: order of cells in a modality, of reductions and of graphs.

    Text columns of `like` count as text here too, for plain mudata stores text as categories.
    """
    like = like or content
    cells = content["cells"]
    return {
        "cells": cells,
        "obs": {name: column(entry, like["obs"].get(name)) for name, entry in content["obs"].items()},
        "modalities": {
            name: modality(entry, like["modalities"][name]) for name, entry in content["modalities"].items()
        },
        "reductions": {
            (entry["modality"], entry["name"]): reduction(entry) for entry in content["reductions"]
        },
        "graphs": {(entry["modality"], entry["name"]): graph(entry, content) for entry in content["graphs"]},
    }


def column(entry: Content, like: Content | None) -> Content:
    text = like is not None and like["kind"] == "character"
    kind = "character" if text else entry["kind"]
    values = [number(value) if kind == "double" else value for value in entry["values"]]
    return {"kind": kind, "values": values, "levels": None if text else entry.get("levels")}


def number(value: Any) -> Any:
    """A float, also from R's hexadecimal text; None stays."""
    if value is None:
        return None
    return float.fromhex(value) if isinstance(value, str) else float(value)


def modality(entry: Content, like: Content) -> Content:
    cells, features = entry["cells"], entry["features"]
    counts = {
        (cell, feature): number(value)
        for cell, row in zip(cells, entry["counts"], strict=True)
        for feature, value in zip(features, row, strict=True)
        if number(value)
    }
    return {
        "cells": set(cells),
        "features": features,
        "counts": counts,
        "obs": {
            name: by_cell(value, cells, like["obs"].get(name)) for name, value in entry.get("obs", {}).items()
        },
        "var": {name: column(value, like["var"].get(name)) for name, value in entry["var"].items()},
        "ranges": whole(entry.get("ranges")),
        "seqinfo": whole(entry.get("seqinfo")),
        "fragments": entry.get("fragments") or {},
    }


def by_cell(entry: Content, cells: list[str], like: Content | None) -> Content:
    plain = column(entry, like)
    return plain | {"values": dict(zip(cells, plain["values"], strict=True))}


def reduction(entry: Content) -> Content:
    loadings = entry["loadings"]
    return {
        "embedding": rows(entry["cells"], entry["embedding"]),
        "loadings": None if loadings is None else rows(loadings["features"], loadings["values"]),
        "stdev": [number(value) for value in entry["stdev"]],
    }


def rows(names: list[str], values: list[list[Any]]) -> dict[str, list[float]]:
    return {name: [number(value) for value in row] for name, row in zip(names, values, strict=True)}


def graph(entry: Content, content: Content) -> dict[tuple[str, str], float]:
    home = content["modalities"][entry["modality"]] if entry["modality"] else content
    cells = home["cells"]
    return {
        (source, target): number(weight)
        for source, row in zip(cells, entry["edges"], strict=True)
        for target, weight in zip(cells, row, strict=True)
        if number(weight)
    }


def whole(columns: Content | None) -> Content | None:
    """Coordinates and lengths, which R may hold as doubles, as whole numbers."""
    if columns is None:
        return None
    return {
        name: [int(number(v)) if is_number(name, v) else v for v in values]
        for name, values in columns.items()
    }


def is_number(name: str, value: Any) -> bool:
    return name in ("start", "end", "length") and value is not None
