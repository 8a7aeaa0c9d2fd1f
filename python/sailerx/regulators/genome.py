"""Sequences of peaks from a genome: FASTA (plain, or bgzipped with an index), 2bit, or sequences in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from sailerx.data.names import listed
from sailerx.errors import InputError
from sailerx.regulators.optional import required

#: path of a FASTA or 2bit file, or sequences by contig
GenomeLike: TypeAlias = str | os.PathLike[str] | Mapping[str, str]


@dataclass(frozen=True)
class Genome:
    """An open genome: the length of each contig, in bases, and a function (contig, start, end) → sequence in capitals."""

    lengths: Mapping[str, int]
    fetch: Callable[[str, int, int], str]


@contextmanager
def opened_genome(genome: GenomeLike) -> Iterator[Genome]:
    """Open a genome for the ``with`` body.

    Raises
    ------
    InputError
        If the file is missing or cannot be read as FASTA or 2bit, or its index cannot be made.
    """
    if isinstance(genome, Mapping):
        sequences = genome
        yield Genome(
            {name: len(s) for name, s in sequences.items()}, lambda c, s, e: sequences[c][s:e].upper()
        )
        return
    path = Path(genome)
    if not path.is_file():
        raise InputError(f"the genome {path} must be a FASTA or 2bit file, but there is no such file.")
    with _two_bit(path) if path.suffix == ".2bit" else _fasta(path) as found:
        yield found


@contextmanager
def _two_bit(path: Path) -> Iterator[Genome]:
    py2bit = required("py2bit", "a genome in 2bit format")
    try:
        file = py2bit.open(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} must be a 2bit file, but cannot be read as one: {error}.") from error
    try:
        yield Genome(file.chroms(), lambda chrom, start, end: file.sequence(chrom, start, end).upper())
    finally:
        file.close()


@contextmanager
def _fasta(path: Path) -> Iterator[Genome]:
    pyfaidx = required("pyfaidx", "a genome in FASTA format")
    try:
        file = pyfaidx.Fasta(str(path), as_raw=True, sequence_always_upper=True)
    except Exception as error:  # pyfaidx raises its own errors, Biopython's and the system's
        raise InputError(
            f"{path} must be a FASTA file, plain or compressed by bgzip, that has an index or lies where one can be written "
            f"(`samtools faidx`), but it cannot be used: {' '.join(str(error).split())}."
        ) from error
    try:
        yield Genome({name: len(file[name]) for name in file.keys()}, lambda c, s, e: str(file[c][s:e]))  # noqa: SIM118
    finally:
        file.close()


def peak_sequences(peaks: pd.DataFrame, genome: GenomeLike) -> list[str]:
    """Read the sequence of each peak, in capitals.

    Parameters
    ----------
    peaks
        Columns ``chrom``, ``start``, ``end``, 0-based and half-open.
    genome
        The genome.

    Raises
    ------
    InputError
        If the genome cannot be read, lacks a contig of the peaks, or a peak lies beyond its contig's end.
    """
    with opened_genome(genome) as found:
        refuse_other_genome(peaks, found.lengths)
        places = peaks[["chrom", "start", "end"]].itertuples(index=False, name=None)
        return [found.fetch(str(chrom), int(start), int(end)) for chrom, start, end in places]


def refuse_other_genome(peaks: pd.DataFrame, lengths: Mapping[str, int]) -> None:
    """Check that every peak lies within a contig of the genome.

    Raises
    ------
    InputError
        Names the contigs of both, and says if they differ by the prefix ``chr`` alone.
    """
    contigs = pd.unique(peaks["chrom"].astype(str))
    missing = [name for name in contigs if name not in lengths]
    if missing:
        n_peaks = int(peaks["chrom"].astype(str).isin(missing).sum())
        raise InputError(
            f"the genome must have every contig of the peaks, but lacks {len(missing)} of {len(contigs)} ({listed(missing)}), "
            f"on which {n_peaks:,} of {len(peaks):,} peaks lie; it has {listed(lengths)}. {_advice(missing, lengths)}"
        )
    end = peaks["chrom"].astype(str).map(lengths).to_numpy()
    beyond = (peaks["end"].to_numpy() > end) | (peaks["start"].to_numpy() < 0)
    if beyond.any():
        chrom, start, stop = peaks.iloc[int(beyond.argmax())][["chrom", "start", "end"]]
        raise InputError(
            f"every peak must lie within its contig, but {beyond.sum():,} of {len(peaks):,} do not, first {chrom}:{start}-{stop}, "
            f"where the genome's {chrom} has {lengths[str(chrom)]:,} bases. Are the peaks of another genome build?"
        )


def _advice(missing: Sequence[str], lengths: Mapping[str, int]) -> str:
    other = {name: name.removeprefix("chr") if name.startswith("chr") else f"chr{name}" for name in missing}
    same = [name for name in missing if other[name] in lengths]
    if same:
        return (
            f"The names differ by the prefix 'chr' ({same[0]!r} and {other[same[0]]!r}): UCSC writes it, Ensembl and NCBI do not. "
            "Rename the contigs of one of the two, or take the genome from the other source."
        )
    return "Use the genome that the peaks were called on, or drop peaks on contigs that it lacks."


def gc_content(sequences: Sequence[str]) -> np.ndarray:
    """Compute the share of G and C among the known bases of each sequence, 0 to 1; NaN without a known base."""
    known = np.array([[s.count(base) for base in "ACGT"] for s in sequences], float).reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        return (known[:, 1] + known[:, 2]) / known.sum(axis=1)
