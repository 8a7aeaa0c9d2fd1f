"""Peaks like a given peak in GC content and accessibility, the background of motif activity and of peak-to-gene links.

As in chromVAR (Schep et al. 2017, doi:10.1038/nmeth.4401): log10 total counts and GC content are made uncorrelated and of unit
variance, and the plane of the two is cut into bins. A background peak is drawn from a bin with a probability that falls with its
distance as a normal density does, and then from the peaks of that bin with equal probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import solve_triangular

from sailerx.errors import InputError

#: bins along each axis, and the standard deviation of the distance of a background peak's bin (chromVAR's `bs` and `w`)
_BINS, _WIDTH = 50, 0.1


@dataclass(frozen=True)
class MatchedPeaks:
    """Bins of similar peaks, from which background peaks are drawn.

    Attributes
    ----------
    bin_of
        Bin of each peak; -1 for peaks without counts, which are background of none.
    peaks
        Peaks that have counts, sorted by bin.
    first
        Where each bin begins in ``peaks``, with one more entry for the end.
    near
        Probability that the background of a peak of one bin (row) is drawn from another (column); rows sum to 1.
    """

    bin_of: np.ndarray
    peaks: np.ndarray
    first: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, total: np.ndarray, gc: np.ndarray | None) -> Self:
        """Bin the peaks.

        Parameters
        ----------
        total
            Total accessibility of each peak over all cells.
        gc
            GC content of each peak, 0 to 1 (NaN counts as the mean); None = match on accessibility alone.

        Raises
        ------
        InputError
            If fewer than two peaks have counts.
        """
        there = np.flatnonzero(total > 0)
        if len(there) < 2:
            raise InputError(
                f"background peaks need at least 2 peaks with counts, but {len(there)} have any."
            )
        traits = [np.log10(total[there])]
        if gc is not None:
            traits.append(
                np.where(np.isnan(gc), np.nanmean(gc) if not np.isnan(gc).all() else 0.5, gc)[there]
            )
        position = _uncorrelated(np.array(traits))
        lowest, step = position.min(axis=1, keepdims=True), _bin_width(position)
        cell = np.rint((position - lowest) / step).astype(int)
        occupied, own = np.unique(cell, axis=1, return_inverse=True)
        own = own.ravel()
        centre = lowest + occupied * step
        distance = np.sqrt(((centre[:, :, None] - centre[:, None]) ** 2).sum(axis=0))
        weight = np.exp(-0.5 * (distance / _WIDTH) ** 2)
        bin_of = np.full(len(total), -1)
        bin_of[there] = own
        order = np.argsort(own, kind="stable")
        first = np.concatenate([[0], np.bincount(own).cumsum()])
        return cls(bin_of, there[order], first, weight / weight.sum(axis=1, keepdims=True))

    def draw(self, n: int, seed: int) -> np.ndarray:
        """Draw ``n`` background peaks for every peak, with replacement; n × peaks, int32. A peak without counts has itself."""
        rng = np.random.default_rng(seed)
        drawn = np.tile(np.arange(len(self.bin_of), dtype=np.int32), (n, 1))
        size, cumulative = np.diff(self.first), self.near.cumsum(axis=1)
        for own in range(len(size)):
            members = self.peaks[self.first[own] : self.first[own + 1]]
            other = np.searchsorted(
                cumulative[own], rng.random((n, len(members))) * cumulative[own, -1], "right"
            )
            other = np.minimum(other, len(size) - 1)
            within = (rng.random(other.shape) * size[other]).astype(int)
            drawn[:, members] = self.peaks[self.first[other] + within]
        return drawn


def _uncorrelated(traits: np.ndarray) -> np.ndarray:
    """Make traits (traits × peaks) uncorrelated and of unit variance, by the Cholesky factor of their covariance."""
    varying = traits[traits.std(axis=1) > 1e-12]
    if not len(varying):
        return np.zeros((1, traits.shape[1]))
    covariance = np.atleast_2d(np.cov(varying))
    if len(varying) == 2 and abs(np.corrcoef(varying)[0, 1]) > 1 - 1e-9:
        varying, covariance = varying[:1], covariance[:1, :1]
    return np.asarray(solve_triangular(np.linalg.cholesky(covariance), varying, lower=True))


def _bin_width(position: np.ndarray) -> np.ndarray:
    """Distance between the centres of neighbouring bins on each axis, traits × 1."""
    extent = np.ptp(position, axis=1, keepdims=True)
    return np.where(extent > 0, extent, 1.0) / (_BINS - 1)
