"""Where genes start: from a GTF file, or a table of genes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from sailerx.errors import InputError

#: path of a GTF or of a table (.csv, .tsv), or the table itself
AnnotationLike: TypeAlias = str | os.PathLike[str] | pd.DataFrame
_GTF = ["chrom", "source", "feature", "start", "end", "score", "strand", "frame", "attributes"]


def gene_starts(annotation: AnnotationLike) -> pd.DataFrame:
    """Read the transcription start site (TSS) of each gene.

    Parameters
    ----------
    annotation
        Path of a GTF file (``.gtf`` or ``.gtf.gz``; GENCODE, Ensembl, RefSeq), or a table or its path (.csv, .tsv) with
        one row per gene: names as index (in a file, the first column), columns ``chrom`` and ``tss`` (0-based), or ``chrom``,
        ``start``, ``end`` (0-based, half-open) and ``strand``. Of genes of one name, the longest is taken.

    Returns
    -------
    Index: names; columns ``chrom`` (str), ``tss`` (int64, 0-based) and ``strand`` (``+``, ``-``, or ``.`` if unknown).

    Raises
    ------
    InputError
        If the file is missing or of another format, columns are missing, or a gene has no usable position.
    """
    table = annotation if isinstance(annotation, pd.DataFrame) else _read(Path(annotation))
    columns = set(table.columns)
    if {"chrom", "tss"} <= columns:
        tss, length = _positions(table, "tss"), np.zeros(len(table))
    elif {"chrom", "start", "end", "strand"} <= columns:
        start, end = _positions(table, "start"), _positions(table, "end")
        tss, length = np.where(table["strand"] == "-", end - 1, start), end - start
    else:
        raise InputError(
            "a table of genes must have the columns chrom and tss, or chrom, start, end and strand, but has "
            f"{', '.join(map(str, table.columns)) or 'none'}."
        )
    strand = table["strand"].astype(str).to_numpy() if "strand" in columns else "."
    starts = pd.DataFrame({"chrom": table["chrom"].astype(str).to_numpy(), "tss": tss, "strand": strand})
    starts.index = pd.Index(table.index.astype(str), name=None)
    longest_first = np.argsort(-length, kind="stable")
    kept = longest_first[~starts.index[longest_first].duplicated()]
    return starts.iloc[np.sort(kept)]


def _positions(table: pd.DataFrame, name: str) -> np.ndarray:
    """Take a column of positions as int64, in a table whose chromosomes are known."""
    values = pd.to_numeric(table[name], errors="coerce").to_numpy(float)
    bad = (
        ~((values >= 0) & (values < 2**53) & (values == np.floor(values))) | table["chrom"].isna().to_numpy()
    )
    if bad.any():
        gene = table.index[bad][0]
        raise InputError(
            f"every gene must have a chromosome and whole positions of at least 0: {bad.sum()} of {len(table)} have not, first "
            f"{gene!r} (chrom {table['chrom'].iloc[bad.argmax()]!r}, {name} {table[name].iloc[bad.argmax()]!r}). Correct or drop them."
        )
    return values.astype(np.int64)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"the annotation {path} must be a GTF file or a table, but there is no such file.")
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind == ".gtf":
        return _read_gtf(path)
    if kind in (".csv", ".tsv"):
        return pd.read_csv(path, sep="," if kind == ".csv" else "\t", index_col=0, dtype={"chrom": str})
    raise InputError(
        f"an annotation must be a GTF file (.gtf, .gtf.gz) or a table (.csv, .tsv), got {path.name}."
    )


def _read_gtf(path: Path) -> pd.DataFrame:
    """Genes of a GTF, named by ``gene_name``, else ``gene`` (RefSeq), else ``gene_id``."""
    table = pd.read_csv(
        path, sep="\t", comment="#", header=None, names=_GTF, dtype={"chrom": str}, low_memory=False
    )
    genes = table[table["feature"] == "gene"]
    if not len(genes):
        raise InputError(f"{path} must have lines of the feature 'gene', but has none. Is it a GTF file?")
    names = pd.Series(np.nan, genes.index, dtype=object)
    for key in ("gene_name", "gene", "gene_id"):
        names = names.fillna(genes["attributes"].str.extract(rf'(?:^|;)\s*{key} "?([^";]+)"?', expand=False))
    return genes.assign(start=genes["start"].astype(int) - 1).set_index(pd.Index(names.astype(str)))
