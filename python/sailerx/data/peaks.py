"""Parse genomic coordinates of peaks, and group peaks into one block per chromosome."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from sailerx.errors import InputError

#: a peak name, parsed from the right because contig names may contain the separators (HLA-A*01:01, chr1-KI270706v1-random)
_NAME = re.compile(r"^(?P<chrom>.+)[:_-](?P<start>\d+)[_-](?P<end>\d+)$")
_COLUMNS = ["chrom", "start", "end"]

#: (start, end) of each block: the range of columns of x, end exclusive, with the peaks of one chromosome
Blocks = tuple[tuple[int, int], ...]

#: advice that ends messages about peaks without coordinates
FORMS = (
    "Understood are var columns `chrom`, `start`, `end`, or names of the form chr1:5-9, chr1-5-9 or chr1_5_9. "
    "For features without coordinates set `single_block=True` (command line: --single-block)."
)


def peak_table(var: pd.DataFrame) -> pd.DataFrame | None:
    """Read coordinates of peaks from the columns ``chrom``, ``start``, ``end`` of var, else parse their names.

    Parameters
    ----------
    var
        One row per peak; the index holds the names.

    Returns
    -------
    Table with the index of ``var`` (as str) and columns ``chrom`` (str), ``start``, ``end`` (int64), 0- or 1-based as in the
    source; ``None`` if ``var`` lacks the columns and no name is a coordinate.

    Raises
    ------
    InputError
        If only some of the names are coordinates, or a coordinate column has missing values.
    """
    if set(_COLUMNS) <= set(var.columns):
        table = var[_COLUMNS]
        bad = table.isna().any(axis=1)
        if bad.any():
            raise InputError(
                f"every peak needs chrom, start and end: {bad.sum()} of {len(var)} have a missing value, "
                f"first {var.index[bad][0]!r}. Complete or drop them."
            )
    else:
        table = var.index.to_series().astype(str).str.extract(_NAME)
        bad = table["chrom"].isna()
        if bad.all():
            return None
        if bad.any():
            raise InputError(
                f"peak names must all be coordinates: {bad.sum()} of {len(var)} are not, first {var.index[bad][0]!r}. "
                + FORMS
            )
    return pd.DataFrame(
        {
            "chrom": table["chrom"].astype(str).to_numpy(dtype=object),
            "start": table["start"].to_numpy(dtype=np.int64),
            "end": table["end"].to_numpy(dtype=np.int64),
        },
        index=var.index.astype(str),
    )


def blocks_by_chromosome(chrom: np.ndarray, min_peaks: int) -> tuple[np.ndarray, Blocks]:
    """Sort peaks by chromosome, and give the range of columns of each block.

    Parameters
    ----------
    chrom
        Chromosome of each peak, in any order.
    min_peaks
        Chromosomes and contigs with fewer peaks share one block, the last.

    Returns
    -------
    Order of the peaks (a permutation: position of each, stable within a chromosome), and the blocks in this order.
    """
    names, inverse, counts = np.unique(chrom, return_inverse=True, return_counts=True)
    small = counts < min_peaks
    block_of_chrom = np.where(small, len(names), np.arange(len(names)))
    block = block_of_chrom[inverse]
    order = np.argsort(block, kind="stable")
    edges = np.flatnonzero(np.diff(block[order], prepend=-1, append=len(names) + 1))
    bounds = [int(edge) for edge in edges]
    return order, tuple(zip(bounds[:-1], bounds[1:], strict=True))


def columns_in_order(peaks: pd.DataFrame, known: pd.DataFrame) -> np.ndarray:
    """Find the column of the data for each peak of a model, by coordinates if both have them, else by name.

    Parameters
    ----------
    peaks
        Peak table of the data (`peak_table`), or a table with names as index and no columns.
    known
        Peak table of the model.

    Returns
    -------
    One position in ``peaks`` per row of ``known``; -1 if the data lack the peak.
    """
    both_have_coordinates = len(peaks.columns) and len(known.columns)
    keys = [
        pd.MultiIndex.from_frame(table[_COLUMNS]) if both_have_coordinates else table.index
        for table in (peaks, known)
    ]
    return keys[0].get_indexer(keys[1])
