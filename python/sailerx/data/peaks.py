"""Genomic coordinates of peaks, and their division into blocks by chromosome."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from sailerx.errors import InputError

#: read from the right: contig names may hold any separator themselves (HLA-A*01:01, chr1-KI270706v1-random)
_NAME = re.compile(r"^(?P<chrom>.+)[:_-](?P<start>\d+)[_-](?P<end>\d+)$")
_COLUMNS = ["chrom", "start", "end"]

#: start and end (exclusive) of each chromosome's peaks among the columns of x
Blocks = tuple[tuple[int, int], ...]


def peak_table(var: pd.DataFrame) -> pd.DataFrame | None:
    """Coordinates of peaks from columns ``chrom``, ``start``, ``end``, or else from their names.

    Parameters
    ----------
    var
        One row per peak; the index holds the names.

    Returns
    -------
    Columns ``chrom`` (str), ``start``, ``end`` (int64) under the same index, in the convention of the source;
    ``None`` if there are no columns and not one name is understood.

    Raises
    ------
    InputError
        If some names are coordinates and others are not, or coordinate columns hold missing values.
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


FORMS = (
    "Understood are var columns `chrom`, `start`, `end`, or names of the form chr1:5-9, chr1-5-9 or chr1_5_9. "
    "For features without coordinates set `single_block=True` (command line: --single-block)."
)


def blocks_by_chromosome(chrom: np.ndarray, min_peaks: int) -> tuple[np.ndarray, Blocks]:
    """Order of the peaks in which each chromosome is contiguous, and the bounds of the blocks in that order.

    Parameters
    ----------
    chrom
        Chromosome of each peak, in any order.
    min_peaks
        Chromosomes and contigs with fewer peaks share one last block.

    Returns
    -------
    Positions of the peaks in the new order, and ``(start, end)`` of each block.
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
    """Position among ``peaks`` of each of a model's peaks.

    Parameters
    ----------
    peaks
        The peak table of some data (`peak_table`), or names alone.
    known
        The peak table of the model. The two are matched by coordinates where both have them, else by name.

    Returns
    -------
    One position per known peak, -1 where the data lack it.
    """
    both_have_coordinates = len(peaks.columns) and len(known.columns)
    keys = [
        pd.MultiIndex.from_frame(table[_COLUMNS]) if both_have_coordinates else table.index
        for table in (peaks, known)
    ]
    return keys[0].get_indexer(keys[1])
