"""The Numba loop of motif activity: sums of accessibility over the peaks of motifs, for all backgrounds."""

from __future__ import annotations

import numpy as np

from sailerx.compiled import compiled

#: cells whose sums are computed side by side, as SIMD lanes
CELLS_AT_ONCE = 64
#: peaks whose accessibility in these cells, 256 kB of float32, stays in a core's cache while all motifs are summed
PEAKS_PER_PIECE = 1024


@compiled
def add_motif_sums(x, peaks, pointer, peak, sums):
    """Add the accessibility of the peaks of each motif to its sum, each peak replaced by its background peak.

    Parameters
    ----------
    x
        Accessibility, peaks × `CELLS_AT_ONCE`, float32.
    peaks
        The peak that stands for each peak, backgrounds × peaks.
    pointer, peak
        The motifs' peaks, as of `sailerx.regulators.deviations.Pieces`.
    sums
        Backgrounds × motifs × `CELLS_AT_ONCE`, float32; added to in place.
    """
    here = np.empty((PEAKS_PER_PIECE, CELLS_AT_ONCE), np.float32)
    for b in range(len(peaks)):
        for piece in range(len(pointer)):
            first = piece * PEAKS_PER_PIECE
            for p in range(first, min(first + PEAKS_PER_PIECE, len(x))):
                here[p - first] = x[peaks[b, p]]
            for m in range(pointer.shape[1] - 1):
                total, i, end = sums[b, m], pointer[piece, m], pointer[piece, m + 1]
                while i + 4 <= end:  # four peaks at a time, so that the sum is read and written once for them
                    p, q, r, s = here[peak[i]], here[peak[i + 1]], here[peak[i + 2]], here[peak[i + 3]]
                    for cell in range(CELLS_AT_ONCE):
                        total[cell] += (p[cell] + q[cell]) + (r[cell] + s[cell])
                    i += 4
                while i < end:
                    p = here[peak[i]]
                    for cell in range(CELLS_AT_ONCE):
                        total[cell] += p[cell]
                    i += 1
