"""Which peaks hold which motifs, by scanning both strands of their sequences with lightmotif."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from sailerx.config import Style
from sailerx.data.peaks import FORMS, peak_table
from sailerx.data.reading import Cells, peaks_of
from sailerx.errors import InputError
from sailerx.files.atomic import new_file
from sailerx.regulators.genome import GenomeLike, gc_content, peak_sequences
from sailerx.regulators.motif_sets import BASES, Motif, refuse_motifs
from sailerx.regulators.optional import required
from sailerx.regulators.progress import shown
from sailerx.regulators.scores import base_shares, log_odds, threshold
from sailerx.regulators.threads import number_of_threads

#: ending of the folder beside the genome that holds the results of scans
CACHE = ".sailerx"
#: part of the names of cached results: changes when the same input would give another result
_VERSION = "1"


def scan(
    peaks: Cells | pd.DataFrame,
    genome: GenomeLike,
    motifs: Sequence[Motif],
    *,
    p_value: float = 5e-5,
    atac: str = "atac",
    threads: int | None = None,
    cache: bool = True,
    progress: Style = "auto",
) -> AnnData:
    """Find the motifs in peaks: words of either strand whose score a random word reaches with probability ``p_value`` at most.

    Random words have the bases of the peaks, in equal shares on both strands; thresholds are exact (`sailerx.regulators.scores`).
    A motif too short for a word that improbable counts where its best word stands. Words with an unknown base (N) count nowhere.

    Parameters
    ----------
    peaks
        Data with peaks, the path of their file, or their table with columns ``chrom``, ``start``, ``end`` (0-based, half-open).
    genome
        Path of a FASTA (plain, or bgzipped with its index) or 2bit file, or sequences by contig.
    motifs
        From `sailerx.motifs.jaspar` or `sailerx.motifs.read`.
    p_value
        Probability that a random word is a hit.
    atac
        Name of the ATAC modality of MuData.
    threads
        CPU threads; by default all.
    cache
        Whether to keep the result in a folder beside the genome's file, and to take it from there the next time.
    progress
        As for `sailerx.fit`.

    Returns
    -------
    Peaks × motifs: X is 1 where a peak holds a motif (CSR, uint8); obs has chrom, start, end and ``gc``, the share of G and C
    among the known bases (NaN without any); var has the ``name`` of each motif. Motifs that no peak holds are left out, with a
    warning.

    Raises
    ------
    InputError
        If the peaks lack coordinates or do not fit the genome, a file or package cannot be used, or no motif has a hit.

    Examples
    --------
    >>> import sailerx, tempfile
    >>> motifs = sailerx.motifs.jaspar()[:3]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     genome = f"{folder}/genome.fa"
    ...     mdata = sailerx.simulate(60, 100, 90, 3, genome=genome)
    ...     hits = sailerx.motifs.scan(mdata, genome, motifs, p_value=1e-3, progress="none")
    >>> hits.shape
    (90, 3)
    """
    table, motifs = _table_of(peaks, atac), list(motifs)
    if not 0 < p_value < 1:
        raise InputError(f"`p_value` must be a probability between 0 and 1, got {p_value!r}.")
    refuse_motifs(motifs, "`motifs`")
    file = _cache_file(genome, table, motifs, p_value) if cache else None
    if file is not None and file.is_file():
        return anndata.read_h5ad(file)
    sequences = peak_sequences(table, genome)
    hits = _hits(sequences, motifs, p_value, number_of_threads(threads), progress)
    matches = _as_anndata(hits, table.assign(gc=gc_content(sequences)), motifs)
    if file is not None:
        _keep(matches, file)
    return matches


def _table_of(peaks: Cells | pd.DataFrame, atac: str) -> pd.DataFrame:
    table = peak_table(peaks if isinstance(peaks, pd.DataFrame) else peaks_of(peaks, atac))
    if table is None or not len(table):
        raise InputError(f"motifs are looked for in peaks with coordinates, but these have none. {FORMS}")
    return table


def _hits(
    sequences: Sequence[str], motifs: Sequence[Motif], p_value: float, n_threads: int, progress: Style
) -> sp.csr_matrix:
    """Scan all peaks for all motifs; peaks × motifs, 0/1."""
    lightmotif = required("lightmotif", "a scan for motifs")
    shares, ends = base_shares(sequences), np.cumsum([len(s) for s in sequences])
    joined = "".join(sequences)
    unknown = np.flatnonzero(
        ~np.isin(np.frombuffer(joined.encode("ascii", "replace"), np.uint8), list(b"ACGT"))
    )
    striped = lightmotif.stripe(joined.translate(_TO_N))

    def peaks_with(motif: Motif) -> np.ndarray:
        if len(motif) > len(joined):
            return np.empty(0, np.int64)
        start = _starts(lightmotif, striped, log_odds(motif, shares), shares, p_value)
        peak = np.searchsorted(ends, start, side="right")
        inside = start + len(motif) <= ends[np.minimum(peak, len(ends) - 1)]
        known = np.searchsorted(unknown, start) == np.searchsorted(unknown, start + len(motif))
        return np.unique(peak[inside & known])

    with ThreadPoolExecutor(n_threads) as pool:
        found = list(shown(pool.map(peaks_with, motifs), len(motifs), "motifs", progress))
    indptr = np.concatenate([[0], np.cumsum([len(peaks) for peaks in found])])
    ones = np.ones(indptr[-1], np.uint8)
    by_motif = sp.csc_matrix((ones, np.concatenate(found), indptr), shape=(len(sequences), len(motifs)))
    return sp.csr_matrix(by_motif)


#: every letter but the four bases becomes N
_TO_N = {code: "N" for code in range(128) if chr(code) not in BASES}


def _starts(
    lightmotif: Any, striped: Any, scores: np.ndarray, shares: np.ndarray, p_value: float
) -> np.ndarray:
    """Where words begin that are hits on either strand, in the joined sequences."""
    lowest, found = threshold(scores, shares, p_value), []
    for strand in (scores, scores[::-1, ::-1]):  # the reverse complement
        matrix = lightmotif.ScoringMatrix({b: row.tolist() for b, row in zip(BASES, strand, strict=True)})
        found.append([hit.position for hit in lightmotif.scan(matrix, striped, threshold=lowest)])
    return np.array([*found[0], *found[1]], np.int64)


def _as_anndata(hits: sp.csr_matrix, peaks: pd.DataFrame, motifs: Sequence[Motif]) -> AnnData:
    """Peaks × motifs, without the motifs that no peak holds."""
    ids = pd.Index([motif.id for motif in motifs], dtype=object)
    var = pd.DataFrame({"name": np.array([motif.name for motif in motifs], dtype=object)}, index=ids)
    there = np.diff(hits.tocsc().indptr) > 0
    if not there.any():
        raise InputError(
            f"at least one peak must hold a motif, but none of {len(motifs):,} motifs has a hit in {len(peaks):,} peaks. Check that "
            "the genome has bases where the peaks are (not N), or raise `p_value`."
        )
    if not there.all():
        warnings.warn(
            f"{(~there).sum()} of {len(motifs)} motifs have no hit in any peak and are left out.",
            stacklevel=3,
        )
    peaks = peaks.assign(chrom=pd.Categorical(peaks["chrom"]))
    return AnnData(sp.csr_matrix(hits[:, there]), obs=peaks, var=var[there])


def _cache_file(
    genome: GenomeLike, peaks: pd.DataFrame, motifs: Iterable[Motif], p_value: float
) -> Path | None:
    """Where the result for this input is kept; None if the genome is no file, or nothing can be written beside it."""
    if not isinstance(genome, str | os.PathLike) or not Path(genome).is_file():
        return None
    path = Path(genome).absolute()
    if not os.access(path.parent, os.W_OK):
        return None
    digest = hashlib.sha256(
        f"{_VERSION} {path.stat().st_size} {path.stat().st_mtime_ns} {p_value!r}".encode()
    )
    digest.update(peaks.to_csv().encode("utf-8"))
    for motif in motifs:
        digest.update(f"{motif.id} {motif.name} {motif.counts.shape}".encode())
        digest.update(np.ascontiguousarray(motif.counts).tobytes())
    return path.with_name(path.name + CACHE) / f"{digest.hexdigest()[:32]}.h5ad"


def _keep(matches: AnnData, file: Path) -> None:
    """Write the result to the cache; a full disk is no reason to fail."""
    try:
        file.parent.mkdir(exist_ok=True)
        with new_file(file) as part:
            matches.write_h5ad(part)
    except OSError as error:
        warnings.warn(f"the motifs found could not be kept in {file.parent}: {error}.", stacklevel=3)
