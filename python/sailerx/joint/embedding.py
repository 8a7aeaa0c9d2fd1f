"""`JointEmbedding`: what embeds cells, with RNA and ATAC or with ATAC alone, after training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sailerx.config import Settings, known
from sailerx.data.accessibility import Accessibility, StackedCells
from sailerx.data.atac_scores import AtacScores, sample_of
from sailerx.data.multiome import MAX_SAMPLED, Multiome
from sailerx.data.rows import joined, unit_rows
from sailerx.joint.choice import Cells, Choice, Gain, choose
from sailerx.joint.coordinates import Coordinates, Sample, leading
from sailerx.joint.nearest import nearest_others

#: number of ATAC scores
N_SCORES = 20
#: a cell without RNA gets the mean RNA reference of so many cells with RNA that are nearest by ATAC. More would predict types no
#: better, and pull cells without RNA together where no cell with RNA is; fewer would blur their clusters
_ANCHORS = 3
#: cells with RNA that are kept as anchors, at most
_MAX_ANCHORS = 20_000
#: rounds of predicting g of cells without RNA and removing what follows confounders, given g
_ROUNDS = 2
#: open peaks of the cells that the choice is made from, at most
_MAX_ONES = 8_000_000
#: open peaks of the cells that coordinates are learned from, at most
_MAX_ONES_LEARNED = 30_000_000


@dataclass(frozen=True)
class JointEmbedding:
    """Embeds cells: the RNA reference of a cell, its own or that of its nearest cells by ATAC, beside its ATAC coordinates."""

    coordinates: Coordinates
    choice: Choice
    #: scores of the whole data of cells with RNA, weighted by reliability, anchors × scores; no rows if no RNA teaches
    anchors: np.ndarray
    #: their RNA reference, anchors × dimensions, rows of unit length
    anchor_g: np.ndarray

    @classmethod
    def learn(cls, data: Multiome, settings: Settings, seed: int) -> JointEmbedding:
        """Learn the coordinates of ATAC, blind to confounders, and choose their weight beside RNA.

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
        scores, z = blind_scores(data.x, data.c, data.g, teaches, seed)
        kept = np.flatnonzero(teaches)
        if len(kept) > _MAX_ANCHORS:
            kept = np.sort(np.random.default_rng([seed, 4]).choice(kept, _MAX_ANCHORS, replace=False))
        coordinates, sample = _coordinates(data, kept, scores, seed)
        chosen = _choice(data, settings, seed, coordinates) if len(kept) else Choice(1.0, local=False)
        if settings.atac_weight is not None and len(kept):
            chosen = replace(chosen, alpha=settings.atac_weight)
        if not chosen.local:
            coordinates = coordinates.without_local(sample)
        anchor_g = data.g[kept] if len(kept) else np.empty((0, 0), np.float32)
        return cls(coordinates, chosen, scores.for_neighbors(z[kept]), anchor_g)

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
        Cells × (dimensions of g + coordinates of ATAC, if it counts), float32. The RNA part of a row has unit length.
        """
        z = self.coordinates.scores_of(x)
        if not len(self.anchors):
            return self.coordinates.of(z, np.empty((len(z), 0))).astype(np.float32)
        g = self._g_of(z, g, np.zeros(len(z), bool) if has_rna is None else has_rna)
        alpha = self.choice.alpha
        return joined(g, alpha * self.coordinates.of(z, g)) if alpha > 0 else g.astype(np.float32)

    def _g_of(self, z: np.ndarray, g: np.ndarray | None, has_rna: np.ndarray) -> np.ndarray:
        """Complete the RNA reference by predictions for cells without RNA."""
        whole = np.zeros((len(z), self.anchor_g.shape[1]))
        whole[has_rna] = 0 if g is None else unit_rows(g)
        scores = self.coordinates.whole
        own = scores.for_neighbors(z[~has_rna, : len(scores.strength)])
        whole[~has_rna] = predicted(own, self.anchors, self.anchor_g)
        return whole

    def in_words(self) -> str:
        """Say in one line how much ATAC counts, and how many coordinates it has."""
        all_count = (
            not len(self.anchors) and not self.coordinates.n_signal
        )  # without RNA, what is not above noise counts too
        return self.choice.in_words("scores of all cells" if all_count else self.coordinates.in_words())

    def atac_weight(self, rows: np.ndarray) -> np.ndarray:
        """Compute the share of a row's squared length that is ATAC: 0 (RNA alone) to 1 (ATAC alone)."""
        n_rna = self.anchor_g.shape[1]
        total = np.maximum((rows**2).sum(axis=1), 1e-12)
        share: np.ndarray = (rows[:, n_rna:] ** 2).sum(axis=1) / total
        return share

    def arrays(self) -> dict[str, np.ndarray]:
        """Collect the arrays, to store them."""
        of = self.coordinates
        parts = {
            "anchors": self.anchors,
            "anchor_g": self.anchor_g,
            "group_g": of.anchor_g,
            "group": of.anchor_group,
        }
        for prefix, scores in zip(_prefixes(len(of.local)), (of.whole, *of.local), strict=True):
            parts |= {prefix + name: getattr(scores, name) for name in _OF_SCORES}
        return parts

    def described(self) -> dict[str, Any]:
        """Describe the choice by plain values, to store it."""
        of = self.coordinates
        return asdict(self.choice) | {"prior": of.whole.prior, "group_of": of.group_of, "length": of.length}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], described: dict[str, Any]) -> JointEmbedding:
        """Restore from `arrays` and `described`."""
        group_of = tuple(described["group_of"])
        whole, *local = (
            _scores_of(arrays, prefix, described["prior"]) for prefix in _prefixes(len(group_of))
        )
        of_groups = tuple(local), group_of, arrays["group_g"], arrays["group"]
        gains = tuple(Gain(**gain) for gain in described["gains"])
        return cls(
            Coordinates(whole, *of_groups, described["length"]),
            Choice(described["alpha"], described["local"], gains),
            arrays["anchors"],
            arrays["anchor_g"],
        )


#: arrays of `AtacScores`
_OF_SCORES = ("loadings", "centre", "strength", "reliability", "noise")


def _scores_of(arrays: dict[str, np.ndarray], prefix: str, prior: float) -> AtacScores:
    given: dict[str, Any] = {name: arrays[prefix + name] for name in _OF_SCORES}
    return AtacScores(**given, prior=prior)


def _prefixes(n_local: int) -> list[str]:
    return ["", *(f"local{i}." for i in range(n_local))]


def blind_scores(
    x: Accessibility | StackedCells, c: np.ndarray, g: np.ndarray, has_rna: np.ndarray, seed: int
) -> tuple[AtacScores, np.ndarray]:
    """Learn the scores of ATAC of cells and make them blind to confounders, given g, its own or predicted.

    Parameters
    ----------
    x
        Open peaks, cells × peaks.
    c
        Confounders, cells × confounders.
    g
        RNA reference, cells × dimensions, rows of unit length; only those of cells with RNA are read.
    has_rna
        Whether the RNA of each cell is used.
    seed
        Draws a sample of the cells if there are many.

    Returns
    -------
    The scores, and their values, cells × scores, float32.
    """
    scores = AtacScores.learn(x, N_SCORES, seed)
    z = scores.of(x)
    for _ in range(_ROUNDS if has_rna.any() and not has_rna.all() else 1):
        whole = _g_of_all(g, has_rna, scores.for_neighbors(z))
        scores = scores.blind_to(z, c, leading(whole))
        z = scores.of(x)
    return scores, z


def _coordinates(
    data: Multiome, kept: np.ndarray, scores: AtacScores, seed: int
) -> tuple[Coordinates, Sample]:
    """Learn the coordinates from the anchors, or from all cells if there is none; also return the cells they were learned from."""
    cells = kept if len(kept) else np.arange(data.x.shape[0])
    n = int(min(_MAX_ANCHORS, max(_MAX_ONES_LEARNED / max(data.depth[cells].mean(), 1), 100)))
    if len(cells) > n:
        cells = np.sort(np.random.default_rng([seed, 5]).choice(cells, n, replace=False))
    g = data.g[cells] if len(kept) else np.empty((len(cells), 0))
    sample = Sample(data.x[cells], g, data.c[cells])
    return Coordinates.learn(sample, scores, seed), sample


def predicted(private: np.ndarray, anchors: np.ndarray, anchor_g: np.ndarray) -> np.ndarray:
    """Predict the RNA reference of cells by their weighted ATAC scores: the mean over the nearest anchors, unit rows."""
    if not len(private):
        return np.empty((0, anchor_g.shape[1]))
    near = nearest_others(anchors, private.astype(np.float32), max(min(_ANCHORS, len(anchors) - 1), 1))
    return unit_rows(anchor_g[near].astype(float).mean(axis=1))


def _g_of_all(g: np.ndarray, teaches: np.ndarray, private: np.ndarray) -> np.ndarray:
    """Complete g by predictions for cells without RNA; no columns if none has RNA."""
    if not teaches.any():
        return np.empty((len(g), 0))
    whole = g.astype(np.float64)
    whole[~teaches] = predicted(private[~teaches], private[teaches], g[teaches])
    return whole


def _choice(data: Multiome, settings: Settings, seed: int, coordinates: Coordinates) -> Choice:
    """Make the choice from a sample of the cells with RNA."""
    drawn, x = sample_of(data.x[data.rna_sample.cells], MAX_SAMPLED, seed, _MAX_ONES)
    rows, counts = data.rna_sample.cells[drawn], data.rna_sample.counts
    rna = None if counts is None else counts[drawn]
    return choose(Cells(x, rna, data.g[rows], data.c[rows]), coordinates, seed, settings.denoise_reference)
