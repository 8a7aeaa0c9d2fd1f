"""Scores of motifs, and the score that a random sequence reaches with a given probability.

A motif's score of a word is the sum over positions of log2(p / q): p is the base's share among binding sites, q its share among all
bases of the peaks. Scores are rounded to 1/100 bit and counted in that unit, so that the p-value of each score is computed exactly,
by the recursion over positions of Staden 1989 (Comput Appl Biosci 5:89), rather than by sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sailerx.regulators.motif_sets import BASES, Motif

#: units per bit
_UNITS = 100
#: sites added to each position, in proportion to the bases' shares, so that a base never seen is not impossible
PSEUDOCOUNT = 0.8


def base_shares(sequences: Sequence[str]) -> np.ndarray:
    """Compute the share of A, C, G and T among the known bases of both strands: A and T are equal, and so are C and G."""
    n = np.array([sum(s.count(base) for s in sequences) for base in BASES], float)
    both = n + n[::-1]
    return both / both.sum() if both.sum() else np.full(4, 0.25)


def log_odds(motif: Motif, shares: np.ndarray) -> np.ndarray:
    """Score of each base at each position, in whole units of 1/100 bit; 4 (A, C, G, T) × length, int64."""
    counts = motif.counts
    p = (counts + PSEUDOCOUNT * shares[:, None]) / (counts.sum(axis=0) + PSEUDOCOUNT)
    return np.rint(_UNITS * np.log2(p / shares[:, None])).astype(np.int64)


def threshold(scores: np.ndarray, shares: np.ndarray, p_value: float) -> int:
    """Find the lowest score that a random word reaches with a probability of at most ``p_value``.

    Parameters
    ----------
    scores
        Score of each base at each position, 4 × length.
    shares
        Share of each base in random words.
    p_value
        Largest probability.

    Returns
    -------
    The score. If even the best word is more probable than ``p_value``, as of short motifs, the score of the best word.
    """
    tail = np.cumsum(_distribution(scores, shares)[::-1])[::-1]  # P(score >= lowest + i)
    reached = np.flatnonzero(tail <= p_value * (1 + 1e-9))
    lowest, highest = int(scores.min(axis=0).sum()), int(scores.max(axis=0).sum())
    return min(lowest + int(reached[0]), highest) if len(reached) else highest


def _distribution(scores: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Probability of each score of a random word, from the lowest to the highest in steps of 1."""
    steps = scores - scores.min(axis=0)
    probability = np.ones(1)
    for step in steps.T:
        longer = np.zeros(len(probability) + int(step.max()))
        for base, share in zip(step, shares, strict=True):
            longer[base : base + len(probability)] += share * probability
        probability = longer
    return probability
