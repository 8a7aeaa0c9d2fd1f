"""`JointEmbedding`: what embeds cells, with RNA and ATAC or with ATAC alone, after training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sailerx.config import Settings, known
from sailerx.data.accessibility import Accessibility
from sailerx.data.atac_scores import AtacScores, sample_of
from sailerx.data.multiome import MAX_SAMPLED, Multiome
from sailerx.joint.choice import Cells, Choice, Gain, choose
from sailerx.joint.rows import Weighting, joined, unit_rows

#: number of ATAC scores
N_SCORES = 20
#: a cell without RNA gets the mean RNA reference of so many cells with RNA that are nearest by ATAC. More would predict types no
#: better, and pull cells without RNA together where no cell with RNA is
_ANCHORS = 5
#: cells with RNA that are kept as anchors, at most
_MAX_ANCHORS = 20_000
#: distance below which a cell and an anchor are one
_SAME = 1e-4
#: rounds of predicting g of cells without RNA and removing what follows confounders, given g
_ROUNDS = 2
#: open peaks of the cells that the choice is made from, at most
_MAX_ONES = 8_000_000
#: leading directions of g that confounders are adjusted for
_MAX_ADJUSTED = 20


@dataclass(frozen=True)
class JointEmbedding:
    """Embeds cells: the RNA reference of a cell, its own or that of its nearest cells by ATAC, beside its weighted ATAC scores."""

    scores: AtacScores
    choice: Choice
    #: ATAC scores of cells with RNA, weighted by reliability, anchors × scores; no rows if no RNA teaches
    anchors: np.ndarray
    #: their RNA reference, anchors × dimensions, rows of unit length
    anchor_g: np.ndarray

    @classmethod
    def learn(cls, data: Multiome, settings: Settings, seed: int) -> JointEmbedding:
        """Learn the scores of ATAC, make them blind to confounders, and choose their weight beside RNA.

        Parameters
        ----------
        data
            The training data.
        settings
            ``gamma``, ``atac_weight`` and ``denoise_reference`` are used.
        seed
            Draws samples of cells and held-out molecules.
        """
        teaches = data.has_rna if known(settings.gamma) > 0 else np.zeros_like(data.has_rna)
        scores = AtacScores.learn(data.x, N_SCORES, seed)
        z = scores.of(data.x)
        for _ in range(_ROUNDS if teaches.any() and not teaches.all() else 1):
            g = _g_of_all(data.g, teaches, reliable(scores, z))
            scores = scores.blind_to(z, data.c, _leading(g))
            z = scores.of(data.x)
        chosen = _choice(data, teaches, settings, seed, scores)
        if settings.atac_weight is not None and teaches.any():
            chosen = Choice(chosen.weighting, settings.atac_weight, chosen.gains)
        kept = np.flatnonzero(teaches)
        if len(kept) > _MAX_ANCHORS:
            kept = np.sort(np.random.default_rng([seed, 4]).choice(kept, _MAX_ANCHORS, replace=False))
        anchors = reliable(scores, z[kept])
        return cls(scores, chosen, anchors, data.g[kept] if len(kept) else np.empty((0, 0), np.float32))

    def rows(
        self, x: Accessibility, g: np.ndarray | None = None, has_rna: np.ndarray | None = None
    ) -> np.ndarray:
        """Embed cells.

        Parameters
        ----------
        x
            Their open peaks, cells × peaks of the model.
        g
            RNA reference of those with RNA, in their order.
        has_rna
            Whether each cell has RNA; default none.

        Returns
        -------
        Cells × (dimensions of g + scores, if ATAC counts), float32. The RNA part of a row has unit length.
        """
        z = self.scores.of(x)
        private = self.choice.weighting.apply(self.scores, z)
        if not len(self.anchors):
            return private.astype(np.float32)
        has_rna = np.zeros(x.shape[0], bool) if has_rna is None else has_rna
        own = np.zeros((x.shape[0], self.anchor_g.shape[1]))
        own[has_rna] = 0 if g is None else unit_rows(g)
        own[~has_rna] = predicted(reliable(self.scores, z[~has_rna]), self.anchors, self.anchor_g)
        alpha = self.choice.alpha
        return joined(own, alpha * private) if alpha > 0 else own.astype(np.float32)

    def atac_weight(self, rows: np.ndarray) -> np.ndarray:
        """Compute the share of a row's squared length that is ATAC: 0 (RNA alone) to 1 (ATAC alone)."""
        n_rna = self.anchor_g.shape[1]
        total = np.maximum((rows**2).sum(axis=1), 1e-12)
        share: np.ndarray = (rows[:, n_rna:] ** 2).sum(axis=1) / total
        return share

    def arrays(self) -> dict[str, np.ndarray]:
        """Collect the arrays, to store them."""
        parts = {
            "loadings": self.scores.loadings,
            "centre": self.scores.centre,
            "strength": self.scores.strength,
        }
        return parts | {"anchors": self.anchors, "anchor_g": self.anchor_g}

    def described(self) -> dict[str, Any]:
        """Describe the choice by plain values, to store it."""
        return asdict(self.choice) | {"prior": self.scores.prior}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], described: dict[str, Any]) -> JointEmbedding:
        """Restore from `arrays` and `described`."""
        scores = AtacScores(arrays["loadings"], arrays["centre"], arrays["strength"], described["prior"])
        gains = tuple(Gain(**gain) for gain in described["gains"])
        choice = Choice(Weighting(**described["weighting"]), described["alpha"], gains)
        return cls(scores, choice, arrays["anchors"], arrays["anchor_g"])


def reliable(scores: AtacScores, z: np.ndarray) -> np.ndarray:
    """Weigh scores by the square root of their reliability, so that distances are those of their signal; float32."""
    weights = np.sqrt(scores.reliability)
    weighted: np.ndarray = z * (weights if weights.any() else 1)
    return weighted.astype(np.float32)


def predicted(private: np.ndarray, anchors: np.ndarray, anchor_g: np.ndarray) -> np.ndarray:
    """Predict the RNA reference of cells from their weighted ATAC scores: the mean over the nearest anchors, unit rows."""
    if not len(private):
        return np.empty((0, anchor_g.shape[1]))
    from sklearn.neighbors import NearestNeighbors  # takes a second to import

    finder = NearestNeighbors(n_neighbors=min(_ANCHORS + 1, len(anchors)), algorithm="brute").fit(anchors)
    distance, near = finder.kneighbors(private.astype(np.float32))
    counts = distance > _SAME  # a cell that is an anchor itself does not see its own RNA
    counts[:, _ANCHORS:] &= ~counts[:, :_ANCHORS].all(axis=1, keepdims=True)
    counts[~counts.any(axis=1)] = True
    return unit_rows(np.einsum("nk,nkd->nd", counts.astype(float), anchor_g[near]))


def _g_of_all(g: np.ndarray, teaches: np.ndarray, private: np.ndarray) -> np.ndarray:
    """Complete g by predictions for cells without RNA; no columns if none has RNA."""
    if not teaches.any():
        return np.empty((len(g), 0))
    whole = g.astype(np.float64)
    whole[~teaches] = predicted(private[~teaches], private[teaches], g[teaches])
    return whole


def _leading(g: np.ndarray) -> np.ndarray:
    """Reduce g to its leading principal components, at most one per five cells."""
    n = min(_MAX_ADJUSTED, g.shape[1], len(g) // 5)
    if not 0 < n < g.shape[1]:
        return g[:, :n]
    centred = g - g.mean(axis=0)
    return centred @ np.linalg.eigh(centred.T @ centred)[1][:, -n:]


def _choice(data: Multiome, teaches: np.ndarray, settings: Settings, seed: int, scores: AtacScores) -> Choice:
    """Make the choice from a sample of the cells with RNA, or of all cells if no RNA teaches."""
    if not teaches.any():
        rows, x = sample_of(data.x, MAX_SAMPLED, seed, _MAX_ONES)
        return choose(Cells(x, None, None, data.c[rows]), scores, seed)
    drawn, x = sample_of(data.x[data.rna_sample.cells], MAX_SAMPLED, seed, _MAX_ONES)
    rows, counts = data.rna_sample.cells[drawn], data.rna_sample.counts
    rna = None if counts is None else counts[drawn]
    return choose(Cells(x, rna, data.g[rows], data.c[rows]), scores, seed, settings.denoise_reference)
