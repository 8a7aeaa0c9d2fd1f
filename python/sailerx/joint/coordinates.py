"""ATAC coordinates of cells: scores of the whole data, and scores learned within groups of cells alike in RNA, in units of noise.

What splits one type is buried in the data as a whole: a component must rise above the noise of all cells, though only those of the
type carry it. Within the type, noise is that of its own cells alone. So RNA tells where to look: components are learned within each
group of cells alike in RNA as well, and those that rise above noise there, and say what the scores of the whole data do not, become
further coordinates. Each counts as far as a cell belongs to the group: by the share of its nearest cells in RNA that do.

Scores are measured in units of noise, the standard deviation by which they vary because a cell's open peaks are a sample: noise is
then equal in all, and long distances are signal. Times the share of their variance that is signal, they are the expected signal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from sailerx.data.accessibility import Accessibility, StackedCells
from sailerx.data.atac_scores import AtacScores, sampling_noise
from sailerx.data.rows import damped
from sailerx.joint.groups import groups_of
from sailerx.joint.nearest import nearest

#: cells of a group in which components are looked for, at least
_LEAST_CELLS = 100
#: components kept in one group, at most
_MOST_LOCAL = 5
#: share of a local score's noise that must not be noise of the scores of the whole data
_LEAST_NEW = 0.1
#: nearest anchors by RNA whose groups say how far a cell belongs to each
_GATE_NEIGHBORS = 30
#: leading directions of g that confounders are adjusted for
_MAX_ADJUSTED = 20


@dataclass(frozen=True)
class Sample:
    """The cells that coordinates are learned from, one row each."""

    #: ATAC, 0/1, cells × peaks
    x: sp.csr_matrix
    #: RNA reference, cells × dimensions, rows of unit length; no columns if no RNA teaches
    g: np.ndarray
    #: confounders, cells × confounders
    c: np.ndarray


@dataclass(frozen=True)
class Coordinates:
    """How open peaks and the RNA reference of a cell become its ATAC coordinates."""

    #: scores of the whole data, all that were computed
    whole: AtacScores
    #: scores of groups
    local: tuple[AtacScores, ...] = ()
    #: the group of each of `local`
    group_of: tuple[int, ...] = ()
    #: RNA reference of the cells that say how far others belong to the groups, and their groups
    anchor_g: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    anchor_group: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    #: usual length of a row, the median over the training cells
    length: float = 1.0

    @classmethod
    def learn(cls, cells: Sample, whole: AtacScores, seed: int) -> Coordinates:
        """Look for components within the groups of cells alike in RNA.

        Parameters
        ----------
        cells
            Cells that have RNA, or all if none has.
        whole
            Scores of the whole data.
        seed
            Of the groups, and of the solver.
        """
        if not cells.g.shape[1] or len(cells.g) < _LEAST_CELLS:
            return cls(whole).scaled(cells)
        group = groups_of(cells.g, seed)
        sizes = np.bincount(group)
        found = {i: _within(cells, group == i, whole, seed) for i in np.flatnonzero(sizes >= _LEAST_CELLS)}
        kept = {i: scores for i, scores in found.items() if len(scores.strength)}
        parts = tuple(kept.values()), tuple(int(i) for i in kept), cells.g.astype(np.float32), group
        return cls(whole, *parts).scaled(cells)

    def scaled(self, cells: Sample) -> Coordinates:
        """Take the usual length from the cells."""
        if not cells.x.shape[0]:
            return self
        rows = self._undamped(self.scores_of(cells.x), cells.g)
        return replace(self, length=float(np.median(np.linalg.norm(rows, axis=1))))

    def without_local(self, cells: Sample) -> Coordinates:
        """Leave out the scores of groups."""
        return Coordinates(self.whole).scaled(cells)

    @property
    def n_signal(self) -> int:
        """Number of coordinates; 0 if nothing in ATAC rises above noise."""
        return self.whole.n_reliable + sum(len(of.strength) for of in self.local)

    def in_words(self) -> str:
        """Say how many coordinates there are: "9 scores of all cells and 12 of groups"."""
        n_of_groups = sum(len(of.strength) for of in self.local)
        n_of_all = self.n_signal - n_of_groups
        of_all = f"{n_of_all} score{'' if n_of_all == 1 else 's'} of all cells"
        return f"{of_all} and {n_of_groups} of groups" if n_of_groups else of_all

    def scores_of(self, x: Accessibility | StackedCells | sp.csr_matrix) -> np.ndarray:
        """Compute all scores of cells, of the whole data and of groups, in one pass: cells × scores, float32."""
        parts = self.whole, *self.local
        loadings = np.concatenate([of.loadings for of in parts], axis=1)
        return replace(self.whole, loadings=loadings, centre=np.concatenate([of.centre for of in parts])).of(
            x
        )

    def of(self, z: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Compute coordinates, cells × `n_signal`.

        Parameters
        ----------
        z
            Scores of cells, from `scores_of`.
        g
            RNA reference of each cell, its own or predicted, rows of unit length; no columns if no RNA teaches.
        """
        return damped(self._undamped(z, g), self.length)

    def of_whole(self, z: np.ndarray) -> np.ndarray:
        """Convert scores of the whole data, cells × scores, to coordinates: those above noise, or all if none is; float32."""
        n = self.whole.n_reliable
        if not n:
            return z[:, : len(self.whole.strength)].astype(np.float32)
        coordinates: np.ndarray = z[:, :n] * _units(self.whole)[:n]
        return coordinates.astype(np.float32)

    def _undamped(self, z: np.ndarray, g: np.ndarray) -> np.ndarray:
        parts = [self.of_whole(z)] if self.whole.n_reliable or not g.shape[1] else []
        if self.local:
            belongs, start = self._belongs(g), len(self.whole.strength)
            for group, scores in zip(self.group_of, self.local, strict=True):
                own = z[:, start : start + len(scores.strength)]
                start += own.shape[1]
                parts.append(belongs[:, [group]] * own * _units(scores))
        return np.concatenate(parts, axis=1) if parts else np.empty((len(z), 0))

    def _belongs(self, g: np.ndarray) -> np.ndarray:
        """Compute the share of each cell's nearest anchors in RNA that are of each group, cells × groups."""
        k = min(_GATE_NEIGHBORS, len(self.anchor_g))
        groups = self.anchor_group[nearest(self.anchor_g, g.astype(np.float32), k)[1]]
        return np.stack([(groups == i).mean(axis=1) for i in range(int(self.anchor_group.max()) + 1)], axis=1)


def _units(scores: AtacScores) -> np.ndarray:
    factor: np.ndarray = scores.reliability / np.maximum(scores.noise, 1e-12)
    return factor


def _within(cells: Sample, member: np.ndarray, whole: AtacScores, seed: int) -> AtacScores:
    """Learn the scores that rise above noise in one group, blind to confounders, less what shares its noise with known scores."""
    x, g = cells.x[member], leading(cells.g[member])
    scores = AtacScores.learn(x, _MOST_LOCAL, seed, whole.prior)
    scores = scores.first(scores.n_reliable)
    if not len(scores.strength):
        return scores
    scores = scores.blind_to(scores.of(x), cells.c[member], g)
    return _beyond(scores, whole.first(whole.n_reliable), x)


def _beyond(scores: AtacScores, known: AtacScores, x: sp.csr_matrix) -> AtacScores:
    """Subtract from scores what shares its noise with known scores, in the cells x; drop those of which little is left.

    Noise of what is left is independent of the noise of the known scores, so that their squared distances add up, and no signal is
    counted twice. Signal over noise falls by the share of the noise that is left.
    """
    share = np.asarray(x.mean(axis=0), np.float64).ravel()
    share /= share.sum()

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product: np.ndarray = (a * share[:, None]).T @ b - np.outer(share @ a, share @ b)
        return product

    own, of_known = scores.loadings.astype(np.float64), known.loadings.astype(np.float64)
    shared = covariance(of_known, own)
    slope = np.linalg.lstsq(covariance(of_known, of_known), shared, rcond=1e-6)[0]
    left = 1 - (slope * shared).sum(axis=0) / np.maximum(np.diag(covariance(own, own)), 1e-300)
    odds = left * scores.reliability / np.maximum(1 - scores.reliability, 1e-12)
    loadings = (own - of_known @ slope).astype(np.float32)
    centre = (scores.of(x) - known.of(x) @ slope).mean(axis=0) + scores.centre - known.centre @ slope
    kept = left > _LEAST_NEW
    return AtacScores(
        loadings[:, kept],
        centre[kept].astype(np.float32),
        scores.strength[kept],
        (odds / (1 + odds))[kept],
        sampling_noise(loadings[:, kept], x),
        scores.prior,
    )


def leading(g: np.ndarray) -> np.ndarray:
    """Reduce g to its leading principal components, at most 20 and one per five cells."""
    n = min(_MAX_ADJUSTED, g.shape[1], len(g) // 5)
    if not 0 < n < g.shape[1]:
        return g[:, :n]
    centred = g - g.mean(axis=0)
    directions: np.ndarray = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -n:]
    return directions
