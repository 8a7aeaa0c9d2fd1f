"""Peaks in pieces that the processor's cache holds, none across two chromosomes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Int

from sailerx.compiled import first_open
from sailerx.minibatch import OpenPeaks


@dataclass(frozen=True)
class Piece:
    """Neighbouring peaks of one chromosome, from start to end (exclusive)."""

    chrom: int
    start: int
    end: int

    @property
    def width(self) -> int:
        """Number of peaks."""
        return self.end - self.start


def pieces(sizes: Sequence[int], largest: int) -> Iterator[Piece]:
    """Chromosomes of these sizes, cut where they have more than so many peaks."""
    first = 0
    for k, size in enumerate(sizes):
        n_pieces = max(1, math.ceil(size / max(1, largest)))
        width = max(1, math.ceil(size / n_pieces))
        for start in range(first, first + size, width):
            yield Piece(k, start, min(start + width, first + size))
        first += size


def open_by_piece(x: OpenPeaks, cut: Sequence[Piece]) -> Int[np.ndarray, "pieces_plus_1 cells"]:
    """Where the open peaks of each cell in each piece begin; in the next row, where they end."""
    firsts = np.array([*(piece.start for piece in cut), x.n_peaks])
    found: np.ndarray = first_open(x.peak.numpy(), x.begin.numpy(), firsts)
    return found


def by_chromosome(cut: Sequence[Piece]) -> list[list[int]]:
    """Numbers of the pieces of each chromosome that has any, the largest first."""
    groups = [list(numbers) for _, numbers in groupby(range(len(cut)), lambda i: cut[i].chrom)]
    return sorted(groups, key=lambda numbers: -sum(cut[i].width for i in numbers))
