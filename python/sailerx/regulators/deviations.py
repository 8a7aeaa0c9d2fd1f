"""Deviations and z-scores of motifs in cells, as chromVAR defines them (Schep et al. 2017, doi:10.1038/nmeth.4401).

With X the accessibility (cells × peaks), M the motifs (peaks × motifs, 0/1) and B_b the b-th background (peaks × peaks; a single 1
per row, at the background peak):

    e_p    = sum_i X_ip / sum_ip X_ip              share of peak p in all counts
    s_i    = sum_p X_ip                            depth of cell i
    Y      = X M / (s e M) - 1                     raw deviation
    Y_b    = X B_b' M / (s e B_b' M) - 1           deviation of the background
    D      = Y - mean_b Y_b                        bias-corrected deviation
    Z      = D / std_b Y_b                         z-score

chromVAR gives no value where fewer than one count is expected; here every cell has one, which is noisy there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from sailerx.config import Style
from sailerx.errors import InputError
from sailerx.regulators.motif_loops import CELLS_AT_ONCE, PEAKS_PER_PIECE, add_motif_sums
from sailerx.regulators.progress import shown

#: consecutive cells × peaks, sparse or dense
CellsByPeaks: TypeAlias = Any
#: starts to read all cells from the first
Reader: TypeAlias = Callable[[], Iterator[CellsByPeaks]]


@dataclass(frozen=True)
class Totals:
    """Sums of the accessibility of each peak over cells, and of each cell over peaks, float64."""

    of_peak: np.ndarray
    of_cell: np.ndarray

    @classmethod
    def of(cls, reader: Reader) -> Totals:
        """Add up all cells.

        Raises
        ------
        InputError
            If a cell has no accessibility at all.
        """
        parts = [
            (np.asarray(x.sum(axis=0), float).ravel(), np.asarray(x.sum(axis=1), float).ravel())
            for x in reader()
        ]
        of_cell = np.concatenate([cells for _, cells in parts])
        empty = np.flatnonzero(of_cell <= 0)
        if len(empty):
            raise InputError(
                f"every cell needs at least one open peak, but {len(empty):,} of {len(of_cell):,} have none, the first is cell "
                f"{empty[0] + 1}. Drop them."
            )
        return cls(np.sum([peaks for peaks, _ in parts], axis=0), of_cell)


@dataclass(frozen=True)
class Pieces:
    """Motifs of peaks, cut into pieces of `PEAKS_PER_PIECE` consecutive peaks whose accessibility stays in the cache.

    Attributes
    ----------
    pointer
        Where the peaks of each motif begin in ``peak``, pieces × (motifs + 1).
    peak
        Peaks with the motif, counted from the start of their piece.
    """

    pointer: np.ndarray
    peak: np.ndarray

    @classmethod
    def of(cls, matches: sp.csr_matrix) -> Pieces:
        """Cut a matrix peaks × motifs, whose stored entries are the motifs."""
        pointers, peaks, done = [], [], 0
        for start in range(0, matches.shape[0], PEAKS_PER_PIECE):
            piece = matches[start : start + PEAKS_PER_PIECE].tocsc()
            pointers.append(piece.indptr.astype(np.int64) + done)
            peaks.append(piece.indices.astype(np.uint16))
            done += piece.nnz
        return cls(np.array(pointers), np.concatenate(peaks))


def deviations(
    reader: Reader,
    totals: Totals,
    matches: sp.csr_matrix,
    background: np.ndarray,
    *,
    n_threads: int = 1,
    progress: Style = "none",
) -> tuple[np.ndarray, np.ndarray]:
    """Compute bias-corrected deviations and z-scores.

    Parameters
    ----------
    reader
        Reads the accessibility, in blocks of cells.
    totals
        Its sums.
    matches
        Peaks × motifs, 0/1; every motif in at least one peak with counts.
    background
        Background peaks, n × peaks.
    n_threads
        CPU threads, which share out the backgrounds; their number does not change the result.
    progress
        As for `sailerx.fit`.

    Returns
    -------
    D and Z, each cells × motifs, float32; Z is 0 where the backgrounds do not differ.
    """
    own = np.arange(matches.shape[0], dtype=np.int32)
    peaks = np.concatenate(
        [own[None], background.astype(np.int32)]
    )  # the motif's own peaks, then the backgrounds
    share = totals.of_peak / totals.of_peak.sum()
    expected = np.array([matches.T @ share[row] for row in peaks])  # e B' M, backgrounds + 1 × motifs
    pieces, n_cells = Pieces.of(matches), len(totals.of_cell)
    found = np.empty((2, n_cells, matches.shape[1]), np.float32)
    blocks = shown(
        _blocks(reader), -(-n_cells // CELLS_AT_ONCE), f"blocks of {CELLS_AT_ONCE} cells", progress
    )
    with ThreadPoolExecutor(n_threads) as pool:
        start = 0
        for x in blocks:
            cells = slice(start, start + x.shape[1])
            sums = _motif_sums(x, peaks, pieces, pool, n_threads)[:, :, : x.shape[1]]
            found[:, cells] = _corrected(sums, expected, totals.of_cell[cells])
            start = cells.stop
    return found[0], found[1]


def _blocks(reader: Reader) -> Iterator[np.ndarray]:
    """Peaks × at most `CELLS_AT_ONCE` consecutive cells, dense, float32."""
    for x in reader():
        for start in range(0, x.shape[0], CELLS_AT_ONCE):
            part = x[start : start + CELLS_AT_ONCE]
            yield part.T.toarray(order="C").astype(np.float32, copy=False) if sp.issparse(part) else part.T


def _motif_sums(
    x: np.ndarray, peaks: np.ndarray, pieces: Pieces, pool: ThreadPoolExecutor, n_threads: int
) -> np.ndarray:
    """Sum the accessibility over the peaks of each motif, backgrounds + 1 × motifs × `CELLS_AT_ONCE`."""
    full = np.zeros((x.shape[0], CELLS_AT_ONCE), np.float32)
    full[:, : x.shape[1]] = x
    sums = np.zeros((len(peaks), pieces.pointer.shape[1] - 1, CELLS_AT_ONCE), np.float32)
    shares = zip(np.array_split(peaks, n_threads), np.array_split(sums, n_threads), strict=True)
    tasks = [
        pool.submit(add_motif_sums, full, own, pieces.pointer, pieces.peak, total) for own, total in shares
    ]
    for task in tasks:
        task.result()
    return sums


def _corrected(sums: np.ndarray, expected: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Compute D and Z of some cells, 2 × cells × motifs."""
    # Y_b = X B_b' M / (s e B_b' M) - 1; where nothing is expected, nothing is observed
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.nan_to_num(sums / (expected[:, :, None] * depth) - 1, nan=0.0, posinf=0.0)
        d = y[0] - y[1:].mean(axis=0)
        std = y[1:].std(axis=0, ddof=1)
        return np.stack([d.T, np.where(std > 1e-12, d / std, 0.0).T])
