"""Probabilities of labels that hold: votes of neighbours and Gaussians, mixed and calibrated on the labelled cells themselves.

The labelled cells are split into five parts, and each part is asked for its labels as if it had none, by what the other parts say.
How many neighbours vote, how much the Gaussians and the frequency of each label count beside them, and how sharp the result is,
is what predicts the labels of these cells best, by log loss. This is a proper score: a probability that is too high or too low
costs. So probabilities hold for new cells as far as these are like the labelled ones.

Source: stacking by cross-validation, Wolpert 1992, Neural Networks 5:241; the power of probabilities is the temperature of Guo et
al. 2017, arXiv:1706.04599.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from sailerx.joint.nearest import nearest_others
from sailerx.results.gaussians import Gaussians, typicality
from sailerx.results.votes import votes_of

#: numbers of neighbours, weights of the Gaussians (0 = votes alone), weights of label frequencies, and powers to choose from
_N_NEIGHBORS = (5, 15, 50)
_GAUSSIAN_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_FREQUENCY_WEIGHTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_POWERS = tuple(np.geomspace(0.4, 2.5, 15))
_FOLDS = 5
#: labelled cells that are asked, at most
_MAX_ASKED = 5_000


@dataclass(frozen=True)
class Mixing:
    """How votes and Gaussians become the probability of each label."""

    n_neighbors: int
    #: weight of the Gaussians, 0 to 1; the rest is that of the votes
    gaussian_weight: float
    #: weight of the labels' frequencies beside both, whose weight is 1
    frequency_weight: float
    #: power to which probabilities are raised; below 1, they were too sure
    power: float

    def probabilities(self, votes: np.ndarray, gaussian: np.ndarray, frequency: np.ndarray) -> np.ndarray:
        """Mix votes and probabilities by Gaussians (each cells × labels), and the share of each label among labelled cells."""
        # p ~ ((1 - w) v + w q + s f)^t: v votes, q Gaussians, f frequencies
        w = self.gaussian_weight
        p = ((1 - w) * votes + w * gaussian + self.frequency_weight * frequency) ** self.power
        scaled: np.ndarray = p / p.sum(axis=1, keepdims=True)
        return scaled


@dataclass(frozen=True)
class LabelCaller:
    """What labelled cells say about new cells in the same space."""

    known: np.ndarray
    codes: np.ndarray
    n_labels: int
    mixing: Mixing

    @classmethod
    def learn(cls, known: np.ndarray, codes: np.ndarray, seed: int) -> LabelCaller:
        """Calibrate on the labelled cells.

        Parameters
        ----------
        known
            Labelled cells × dimensions, at least 3.
        codes
            Label of each, 0 to number of labels - 1; each label occurs.
        seed
            Splits the cells, and draws those that are asked if there are many.
        """
        n, n_labels = len(known), int(codes.max()) + 1
        part = np.random.default_rng([seed, 5]).permutation(n) % min(_FOLDS, n)
        asked = np.flatnonzero(np.random.default_rng([seed, 6]).permutation(n) < _MAX_ASKED)
        numbers = [k for k in _N_NEIGHBORS if k <= n // 2] or [1]
        votes, gaussian = _asked(known, codes, n_labels, part, asked, numbers)
        frequency, truth = np.bincount(codes) / n, codes[asked]
        found = [
            Mixing(*choice) for choice in product(numbers, _GAUSSIAN_WEIGHTS, _FREQUENCY_WEIGHTS, _POWERS)
        ]
        losses = [_log_loss(m.probabilities(votes[m.n_neighbors], gaussian, frequency), truth) for m in found]
        return cls(known, codes, n_labels, found[int(np.argmin(losses))])

    def call(self, new: np.ndarray) -> Called:
        """Call the labels of new cells, cells × dimensions."""
        near = nearest_others(self.known, new, self.mixing.n_neighbors)
        votes = votes_of(near, self.codes, self.n_labels)
        gaussians = Gaussians.learn(self.known, self.codes, self.n_labels)
        p = self.mixing.probabilities(votes, gaussians.probabilities(new), gaussians.frequency)
        best = p.argmax(axis=1)
        distances = gaussians.distance(self.known, self.codes), gaussians.distance(new, best)
        return Called(best, p.max(axis=1), typicality(distances[0], self.codes, distances[1], best))


@dataclass(frozen=True)
class Called:
    """The most probable label of each cell (as a code), its probability, and how typical the cell is of it, 0 to 1."""

    best: np.ndarray
    confidence: np.ndarray
    typicality: np.ndarray


def _asked(
    known: np.ndarray,
    codes: np.ndarray,
    n_labels: int,
    part: np.ndarray,
    asked: np.ndarray,
    numbers: list[int],
) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Ask cells for their labels by the cells of other parts: votes by number of neighbours, and Gaussians, asked × labels."""
    votes = {k: np.empty((len(asked), n_labels)) for k in numbers}
    gaussian = np.empty((len(asked), n_labels))
    for i in np.unique(part):
        here, others = part[asked] == i, np.flatnonzero(part != i)
        rows, own = known[asked[here]], codes[others]
        near = nearest_others(known[others], rows, max(numbers))
        for k in numbers:
            votes[k][here] = votes_of(near[:, :k], own, n_labels)
        gaussian[here] = Gaussians.learn(known[others], own, n_labels).probabilities(rows)
    return votes, gaussian


def _log_loss(p: np.ndarray, truth: np.ndarray) -> float:
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())
