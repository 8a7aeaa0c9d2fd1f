"""Parse genomic coordinates of peaks, and group peaks into one block per chromosome."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sailerx.data.names import as_seurat_writes, completed, unique_positions
from sailerx.errors import InputError

#: a peak name, parsed from the right because contig names may contain the separators (HLA-A*01:01, chr1-KI270706v1-random);
#: numbers may have thousands separators, and a suffix (.1) may tell equal names apart
_NAME = (
    r"^(?P<chrom>.+)(?P<before_start>[:_-])(?P<start>[0-9][0-9,]*)"
    r"(?P<before_end>[_-])(?P<end>[0-9][0-9,]*)(?:\.[0-9]+)?$"
)
_COLUMNS = ["chrom", "start", "end"]
#: values of the column `feature_types`, as Cell Ranger and others write them, of features that are not peaks
OTHER_TYPES = ("Gene Expression", "GEX", "Antibody Capture", "CRISPR Guide Capture", "Multiplexing Capture")

#: (start, end) of each block: the range of columns of x, end exclusive, with the peaks of one chromosome
Blocks = tuple[tuple[int, int], ...]

#: advice that ends messages about peaks without coordinates
FORMS = (
    "Understood are var columns `chrom`, `start`, `end`, or names of the form chr1:5-9, chr1-5-9 or chr1_5_9."
)
SINGLE_BLOCK = "For features without coordinates set `single_block=True` (command line: --single-block)."


def peak_table(var: pd.DataFrame) -> pd.DataFrame | None:
    """Read coordinates of peaks from the columns ``chrom``, ``start``, ``end`` of var, else from their names.

    Columns are 0-based and half-open, as in BED, and so are names: ``chr1:1000-1300`` starts at 1000. Only names with two
    hyphens, which is how Signac writes them, count from 1 with both ends included: ``chr1-1001-1300`` is the same peak.

    Parameters
    ----------
    var
        One row per peak; the index holds the names.

    Returns
    -------
    Table with the index of ``var`` (as str) and columns ``chrom`` (str), ``start``, ``end`` (int64), 0-based and half-open;
    ``None`` if ``var`` lacks the columns and no name is a coordinate.

    Raises
    ------
    InputError
        If only some of the names are coordinates, or a coordinate is missing or no whole number.
    """
    table = _from_columns(var) if set(_COLUMNS) <= set(var.columns) else _from_names(var)
    if table is None:
        return None
    return table.astype({"chrom": object}).set_axis(var.index.astype(str))


def _from_columns(var: pd.DataFrame) -> pd.DataFrame:
    bad = var[_COLUMNS].isna().any(axis=1)
    if bad.any():
        raise InputError(
            f"every peak needs chrom, start and end: {bad.sum()} of {len(var)} have a missing value, "
            f"first {var.index[bad][0]!r}. Complete or drop them."
        )
    chrom = var["chrom"].astype(str).astype(object)
    return pd.DataFrame({"chrom": chrom, **{end: _positions(var[end]) for end in ("start", "end")}})


def _from_names(var: pd.DataFrame) -> pd.DataFrame | None:
    names = var.index.to_series().astype(str)
    parts = names.str.extract(_NAME)
    bad = parts["chrom"].isna()
    if bad.all():
        return None
    if bad.any():
        raise InputError(
            f"peak names must all be coordinates: {bad.sum()} of {len(var)} are not, first {var.index[bad][0]!r}. "
            f"{_advice(var, bad)}"
        )
    from_one = ((parts["before_start"] == "-") & (parts["before_end"] == "-")).to_numpy()
    start, end = _positions(parts["start"]), _positions(parts["end"])
    start = np.where(from_one, np.maximum(start - 1, 0), start)
    return pd.DataFrame({"chrom": parts["chrom"], "start": start, "end": end})


def _advice(var: pd.DataFrame, bad: pd.Series) -> str:
    """What to do about features that are not peaks among those that are."""
    if "feature_types" not in var:
        return f"Keep the peaks alone: leave out genes and other features. {FORMS}"
    kinds = ", ".join(sorted(var.loc[bad.to_numpy(), "feature_types"].astype(str).unique())[:3])
    return f"They are of the type {kinds}. {_keep_peaks('atac')}"


def _keep_peaks(modality: str) -> str:
    """How to leave out the features that are not peaks."""
    own = f"mdata[{modality!r}]"
    return f"Keep the peaks alone: `mdata.mod[{modality!r}] = {own}[:, {own}.var['feature_types'] == 'Peaks'].copy()`."


def refuse_other_features(var: pd.DataFrame, modality: str) -> None:
    """Refuse an ATAC modality with features that ``feature_types`` calls something else than peaks, such as genes.

    Raises
    ------
    InputError
        If the column says so of any feature.
    """
    if "feature_types" not in var:
        return
    other = var["feature_types"].isin(OTHER_TYPES).to_numpy()
    if other.any():
        raise InputError(
            f"modality {modality!r} must hold peaks alone, but {other.sum()} of its {len(var)} features are of the type "
            f"{str(var['feature_types'].to_numpy()[other][0])!r}, first {str(var.index[other][0])!r}. {_keep_peaks(modality)}"
        )


def _positions(column: pd.Series) -> np.ndarray:
    """Positions on a chromosome, given as numbers or as text (with thousands separators or without), as int64."""
    values = column
    if not pd.api.types.is_numeric_dtype(column.dtype):
        values = pd.to_numeric(column.astype(str).str.replace(",", "", regex=False), errors="coerce")
    number = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = ~((number >= 0) & (number < 2**53) & (number == np.floor(number)))
    if bad.any():
        raise InputError(
            f"`{column.name}` of a peak must be a whole number of bases, from 0: {bad.sum()} of {len(column)} are none, first "
            f"{column.to_numpy()[bad][0]!r} of {str(column.index[bad][0])!r}. Correct them."
        )
    return number.astype(np.int64)


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
    """Find the column of the data for each peak of a model: by coordinates, else by a name that is a coordinate.

    A name tells more than coordinates where one side counted from 0 and the other from 1, or where Seurat rewrote the name of a
    contig. Other names, such as ``peak17``, are compared only where one side has no coordinates.

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
    if not (len(peaks.columns) and len(known.columns)):
        return unique_positions(peaks.index, known.index)
    by_coordinates = unique_positions(
        *(pd.MultiIndex.from_frame(table[_COLUMNS]) for table in (peaks, known))
    )
    if (by_coordinates >= 0).all():
        return by_coordinates
    return completed(by_coordinates, same_names(peaks.index, known.index))


def same_names(here: pd.Index, known: pd.Index) -> np.ndarray:
    """Find each known peak among the names here, in whichever form both are written (chr1:5-9, chr1-5-9, chr1_5_9).

    Returns
    -------
    One position in ``here`` per name of ``known``; -1 where there is none, or a name is no coordinate.
    """
    keys = [_in_one_form(names) for names in (here, known)]
    equal = unique_positions(here.astype(str), known.astype(str))
    return np.where(keys[1] == "", -1, completed(equal, unique_positions(*keys)))


def _in_one_form(names: pd.Index) -> pd.Index:
    """Write peak names as Signac does, with the numbers that they hold; empty text for names that are no coordinates."""
    parts = names.to_series().astype(str).str.extract(_NAME)
    numbers = [parts[part].str.replace(",", "", regex=False) for part in ("start", "end")]
    chrom = pd.Series(as_seurat_writes(pd.Index(parts["chrom"].fillna(""))), index=parts.index)
    return pd.Index((chrom + "-" + numbers[0] + "-" + numbers[1]).fillna(""))
