"""Hypothesis strategies for contents, with values that are known to break exchange between R and Python."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Content = dict[str, Any]

CONTIGS = [
    "chr1",
    "chrX",
    "2",
    "HLA-A*01:01",
    "chr1-KI270706v1-random",
    "chrUn_gl000211",
    "HLA-DRB1*15:01:01:01",
]
LABELS = [
    "1",
    "2",
    "10",
    "01",
    "NA",
    "",
    " ",
    "T|cell",
    "a/b",
    "naïve",
    "CD8+ T",
    "TRUE",
    "1e5",
    "細胞",
    "x" * 300,
]
NAMES = [
    "A",
    "é",
    "gene_1",
    "gene-1",
    "a|b",
    "a.b",
    "x y",
    "細胞",
    "1",
    "AC000001.1",
    "B_|_C",
    "#",
    "NA",
    "α",
    "TRUE",
]
KINDS = ["factor", "ordered", "character", "integer", "double", "logical"]
QUARTERS = st.integers(-40, 40).map(lambda value: value / 4)
DOUBLES = st.floats(allow_nan=False, allow_subnormal=False, allow_infinity=True)


@st.composite
def contents(draw: st.DrawFn, modality_columns: bool = False) -> Content:
    """Two modalities, not all cells in both, columns of every kind, reductions and graphs."""
    rna_cells, atac_cells = draw(cells_of_both())
    cells = list(dict.fromkeys([*rna_cells, *atac_cells]))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=4, max_size=9, unique=True))
    modalities = {
        "rna": draw(modality(rna_cells, names[2:], modality_columns)),
        "atac": draw(modality(atac_cells, ["peak_" + name for name in names[:3]], modality_columns)),
    }
    modalities["atac"] |= draw(peaks(len(modalities["atac"]["features"])))
    return {
        "cells": cells,
        "obs": draw(columns(len(cells))),
        "modalities": modalities,
        "reductions": draw(reductions(cells, modalities)),
        "graphs": draw(graphs(cells, modalities)),
    }


@st.composite
def cells_of_both(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    n_cells = draw(st.integers(3, 7))
    cells = [f"{draw(st.sampled_from(NAMES))}-{number}" for number in range(n_cells)]
    rna = cells[: draw(st.integers(2, n_cells))]
    rest = cells[len(rna) :]
    shared = draw(st.lists(st.sampled_from(rna), min_size=max(0, 2 - len(rest)), unique=True))
    return rna, draw(st.permutations([*shared, *rest]))


@st.composite
def modality(draw: st.DrawFn, cells: list[str], features: list[str], modality_columns: bool) -> Content:
    """Counts with empty rows and columns or nothing at all, whole or not, small or large."""
    value = st.sampled_from([0, 0, 0, 1, 2, draw(st.sampled_from([3, 255, 65536, 2**24 - 1]))])
    silent = draw(st.sampled_from([False, False, True]))
    counts = [[0 if silent else draw(value) for _ in features] for _ in cells]
    obs = draw(columns(len(cells), prefix="own ")) if modality_columns else {}
    return {
        "cells": cells,
        "features": features,
        "counts": counts,
        "obs": obs,
        "var": draw(columns(len(features))),
    }


@st.composite
def peaks(draw: st.DrawFn, n_peaks: int) -> Content:
    chrom = draw(st.lists(st.sampled_from(CONTIGS), min_size=n_peaks, max_size=n_peaks))
    start = draw(st.lists(st.integers(0, 2 * 10**8), min_size=n_peaks, max_size=n_peaks, unique=True))
    end = [first + draw(st.integers(1, 5000)) for first in start]
    seqinfo = draw(st.none() | lengths(list(dict.fromkeys(chrom))))
    return {"ranges": {"chrom": chrom, "start": start, "end": end}, "seqinfo": seqinfo}


@st.composite
def lengths(draw: st.DrawFn, contigs: list[str]) -> Content:
    each = {"min_size": len(contigs), "max_size": len(contigs)}
    return {
        "contigs": contigs,
        "length": draw(st.lists(st.none() | st.integers(1, 2**31 - 1), **each)),
        "circular": draw(st.lists(st.none() | st.booleans(), **each)),
        "genome": draw(st.sampled_from([["hg38"] * len(contigs), [None] * len(contigs)])),
    }


@st.composite
def columns(draw: st.DrawFn, n_values: int, prefix: str = "") -> Content:
    """Each kind once with and once without missing values, under names in any order."""
    names = draw(
        st.permutations(
            ["batch", "nCount RNA", "état", "a:b", "1", "x.y", "TRUE", "é è", "if", "_x", "-", "Z"]
        )
    )
    wanted = [(kind, missing) for kind in KINDS for missing in (False, True)]
    return {
        prefix + name: draw(column(kind, n_values, missing))
        for name, (kind, missing) in zip(names, wanted, strict=True)
    }


@st.composite
def column(draw: st.DrawFn, kind: str, n_values: int, missing: bool) -> Content:
    values = {
        "character": st.sampled_from(LABELS),
        "integer": st.integers(-(2**31) + 1, 2**31 - 1),
        "double": DOUBLES,
        "logical": st.booleans(),
    }
    levels = draw(st.lists(st.sampled_from(LABELS), min_size=2, max_size=5, unique=True))
    used = draw(st.lists(st.sampled_from(levels), min_size=1, unique=True))
    value = values.get(kind, st.sampled_from(used))
    drawn = draw(st.lists(value, min_size=n_values, max_size=n_values))
    if missing:
        drawn[draw(st.integers(0, n_values - 1))] = None
    return {"kind": kind, "values": drawn} | ({"levels": levels} if kind in ("factor", "ordered") else {})


@st.composite
def reductions(draw: st.DrawFn, cells: list[str], modalities: Content) -> list[Content]:
    """Of a modality with loadings, of some of its cells only, and one of all cells."""
    rna, atac = modalities["rna"], modalities["atac"]
    some = draw(st.integers(2, len(rna["cells"])))
    out = [
        draw(reduction("pca", "rna", rna["cells"], rna["features"])),
        draw(reduction("umap.2", "rna", rna["cells"][:some], None)),
        draw(reduction("lsi", "atac", atac["cells"], atac["features"])),
    ]
    if len(cells) > len(rna["cells"]):
        out.append(draw(reduction("wnn.umap", None, cells, None)))
    return out


@st.composite
def reduction(
    draw: st.DrawFn, name: str, home: str | None, cells: list[str], features: list[str] | None
) -> Content:
    n_dimensions = draw(st.integers(1, 3))
    row = st.lists(DOUBLES, min_size=n_dimensions, max_size=n_dimensions)
    quarters = st.lists(QUARTERS.map(abs), min_size=n_dimensions, max_size=n_dimensions)
    loadings = None
    if features and draw(st.booleans()):
        loadings = {"features": features, "values": [draw(row) for _ in features]}
    stdev = draw(quarters) if features and draw(st.booleans()) else []
    return {
        "name": name,
        "modality": home,
        "cells": cells,
        "embedding": [draw(row) for _ in cells],
        "loadings": loadings,
        "stdev": stdev,
    }


@st.composite
def graphs(draw: st.DrawFn, cells: list[str], modalities: Content) -> list[Content]:
    """Not symmetric, with cells that have no neighbour."""

    def edges(n_cells: int) -> list[list[float]]:
        return [[draw(st.sampled_from([0, 0, 1, 0.25])) for _ in range(n_cells)] for _ in range(n_cells)]

    rna, atac = modalities["rna"]["cells"], modalities["atac"]["cells"]
    return [
        {"name": "nn", "modality": "rna", "edges": edges(len(rna))},
        {"name": "distances", "modality": "atac", "edges": edges(len(atac))},
        {"name": "wsnn", "modality": None, "edges": edges(len(cells))},
    ]
