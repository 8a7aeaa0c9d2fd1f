"""Choose how much the ATAC counts beside the RNA reference: by molecules held out of both, without labels.

A tenth of the molecules of each modality is held out; reference and scores are computed anew from the rest. The candidate whose
nearest neighbours predict the held-out molecules best, both modalities together, is chosen. Where ATAC has nothing to add, that is
a weight of zero.

Source: the split by molecules follows Batson et al. 2019, doi 10.1101/786269.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.atac_scores import AtacScores
from sailerx.data.rna_pca import rna_pca
from sailerx.joint.prediction import nats_of_neighbors
from sailerx.joint.rows import Weighting, joined, unit_rows

#: molecules that are gathered from neighbours for one candidate, at most: it bounds the number of cells that are predicted
_MAX_GATHERED = 400_000_000
_HELD_OUT = 0.1
_NEIGHBORS = 50
#: (number of scores, whether they are weighted by their signal alone, else by signal and noise; see `Weighting`), and candidates
#: of α, about the length of the ATAC part beside an RNA part of length 1. In this order
_CANDIDATES = (((8, True), (0.3, 0.8)), ((20, False), (0.5, 1.0)))
#: if no score is stronger, ATAC is noise
_LEAST_STRENGTH = 1.1
RNA_ALONE, ATAC_ALONE = "RNA alone", "ATAC alone"
#: a candidate must not predict either modality worse than RNA alone does, by more than this many standard errors
_WORST = 1.0
#: and it must predict both together better than RNA alone, and than each candidate before it that did, by this many
_SURE = 0.5
#: cells that are predicted, at least: of fewer, several tenths are held out, independently
_FEWEST, _MOST_TRIALS = 20_000, 5


@dataclass(frozen=True)
class Cells:
    """The cells that a choice is made from, one row each."""

    #: ATAC, 0/1, cells × peaks
    x: sp.csr_matrix
    #: RNA counts, cells × genes; None = not at hand: RNA is then not held out, and only ATAC is predicted
    rna: sp.csr_matrix | None
    #: RNA reference, cells × dimensions; None = no RNA teaches
    g: np.ndarray | None
    #: confounders
    c: np.ndarray


@dataclass(frozen=True)
class Gain:
    """Nats by which neighbours predict a held-out molecule better than the overall shares, of one candidate."""

    name: str
    #: None = ATAC alone
    alpha: float | None
    #: None = RNA counts were not at hand
    rna: float | None
    atac: float


@dataclass(frozen=True)
class Choice:
    """What was chosen, and the gains of all candidates."""

    weighting: Weighting
    alpha: float
    gains: tuple[Gain, ...] = ()

    def in_words(self) -> str:
        """Say in one line how much ATAC counts, and what that is worth in held-out molecules."""
        found = {(gain.name, gain.alpha): gain for gain in self.gains}
        verdict = f"weight {self.alpha:g} ({self.weighting.name})" if self.alpha else "nothing (weight 0)"
        if (RNA_ALONE, 0.0) not in found:
            return f"{verdict}; too few cells to measure it, or no RNA to compare with"
        kinds = [(RNA_ALONE, 0.0, "RNA alone"), (ATAC_ALONE, None, "ATAC alone")]
        kinds += [(self.weighting.name, self.alpha, "both")] if self.alpha else []
        gains = ", ".join(
            f"{gain.atac:.4f}{'' if gain.rna is None else f' and {gain.rna:.4f}'} by {what}"
            for name, alpha, what in kinds
            if (gain := found.get((name, alpha))) is not None  # a weight set by hand is not measured
        )
        return (
            f"{verdict}; neighbours predict held-out molecules of ATAC and RNA by {gains} (nats per molecule)"
        )


def choose(cells: Cells, scores: AtacScores, seed: int, denoise: bool = True) -> Choice:
    """Choose the weighting of the scores and α.

    Parameters
    ----------
    cells
        A random sample of the cells.
    scores
        The scores of the whole run: their number and regularisation are used.
    seed
        Draws the held-out molecules.
    denoise
        Of `rna_pca`.
    """
    n_scores = len(scores.strength)
    candidates = [(Weighting(min(n, n_scores), by_signal), alphas) for (n, by_signal), alphas in _CANDIDATES]
    gathered = _NEIGHBORS * (cells.x.nnz + (0 if cells.rna is None else cells.rna.nnz))
    n_trials = max(1, min(_MOST_TRIALS, -(-_FEWEST // cells.x.shape[0]), _MAX_GATHERED // max(gathered, 1)))
    made = (_Trial.of(cells, n_scores, scores.prior, [seed, i], denoise, n_trials) for i in range(n_trials))
    trials = [trial for trial in made if trial is not None]
    if not trials:
        return Choice(candidates[0][0], 0.0 if cells.g is not None else 1.0)
    if cells.g is None:
        alone = [(weighting, _nats(trials, weighting)) for weighting, _ in candidates]
        best = max(alone, key=lambda of: np.nansum(of[1].atac))[0]
        return Choice(best, 1.0, tuple(of.gain(w.name, 1.0) for w, of in alone))
    teacher = _nats(trials, None)
    if scores.strength[0] < _LEAST_STRENGTH:
        return Choice(
            candidates[0][0],
            0.0,
            (teacher.gain(RNA_ALONE, 0.0), _nats(trials, candidates[0][0]).gain(ATAC_ALONE, None)),
        )
    found = [
        (Choice(weighting, alpha), _nats(trials, weighting, alpha))
        for weighting, alphas in candidates
        for alpha in alphas
    ]
    chosen = _best(found, teacher)
    gains = [teacher.gain(RNA_ALONE, 0.0), _nats(trials, chosen.weighting).gain(ATAC_ALONE, None)]
    gains += [of.gain(choice.weighting.name, choice.alpha) for choice, of in found]
    return Choice(chosen.weighting, chosen.alpha, tuple(gains))


@dataclass(frozen=True)
class _Nats:
    """Nats per cell by which its neighbours predict its held-out molecules, NaN if not predicted; number of these molecules."""

    rna: np.ndarray
    atac: np.ndarray
    n_rna: float
    n_atac: float

    def gain(self, name: str, alpha: float | None) -> Gain:
        """Convert to nats per molecule."""
        rna = float(np.nansum(self.rna) / self.n_rna) if self.n_rna else None
        return Gain(name, alpha, rna, float(np.nansum(self.atac) / max(self.n_atac, 1)))


def _nats(trials: list[_Trial], weighting: Weighting | None, alpha: float | None = None) -> _Nats:
    """Predict by RNA alone (no weighting), by ATAC alone (no α), or by both; the mean over trials of each cell."""
    found = [trial.nats(trial.rows(weighting, alpha)) for trial in trials]
    n_rna, n_atac = (sum(trial.n_held(i) for trial in trials) / len(trials) for i in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cells that no trial predicts stay NaN
        rna, atac = (np.nanmean([of[i] for of in found], axis=0) for i in (0, 1))
    return _Nats(rna, atac, n_rna, n_atac)


def _best(found: list[tuple[Choice, _Nats]], teacher: _Nats) -> Choice:
    """Take the candidate with most nats of both modalities; each brings more noise than those before, and must be clearly better."""
    best, best_nats = Choice(found[0][0].weighting, 0.0), teacher.rna + teacher.atac
    for choice, of in found:
        difference = of.rna + of.atac - best_nats
        harm = min(_z(of.rna - teacher.rna), _z(of.atac - teacher.atac))
        if harm >= -_WORST and _z(difference) > _SURE:
            best, best_nats = choice, of.rna + of.atac
    return best


def _z(difference: np.ndarray) -> float:
    difference = difference[np.isfinite(difference)]
    error = difference.std() / np.sqrt(len(difference))
    return float(difference.mean() / error) if error > 0 else 0.0


@dataclass(frozen=True)
class _Trial:
    """Reference and scores without the held-out molecules, and these."""

    g: np.ndarray | None
    scores: AtacScores
    z: np.ndarray
    seen: tuple[sp.csr_matrix | None, sp.csr_matrix]
    held: tuple[sp.csr_matrix | None, sp.csr_matrix]
    #: cells that are predicted, rows of z
    queries: np.ndarray
    #: for each of all cells, its row of z; -1 = nothing of it was left
    row_of: np.ndarray

    @classmethod
    def of(
        cls, cells: Cells, n_scores: int, prior: float, seed: list[int], denoise: bool, n_trials: int
    ) -> _Trial | None:
        """Hold out a tenth of the molecules; None if there are too few cells."""
        rng = np.random.default_rng([*seed, 3])
        x, x_held = _split(cells.x, rng)
        rna, rna_held = (None, None) if cells.rna is None else _split(cells.rna, rng)
        whole = np.asarray(x.sum(axis=1)).ravel() > 0
        if rna is not None:
            whole &= np.asarray(rna.sum(axis=1)).ravel() > 0
        if whole.sum() < 3 * n_scores or n_scores < 1:
            return None
        x, x_held = x[whole], x_held[whole]
        g = None if cells.g is None else unit_rows(cells.g[whole])
        if rna is not None and rna_held is not None:
            rna, rna_held = rna[whole], rna_held[whole]
            g = unit_rows(rna_pca(rna, seed[0], denoise=denoise))
        scores = AtacScores.learn(PeaksInMemory.of(x), n_scores, seed[0], prior)
        given = np.empty((int(whole.sum()), 0)) if g is None else g
        scores = scores.blind_to(scores.of(x), cells.c[whole], given)
        n = x.shape[0]
        molecules = sum(part.nnz for part in (x, rna) if part is not None) / n
        queries = np.sort(rng.permutation(n)[: int(_MAX_GATHERED / (_NEIGHBORS * molecules * n_trials))])
        row_of = np.where(whole, whole.cumsum() - 1, -1)
        return cls(g, scores, scores.of(x), (rna, x), (rna_held, x_held), queries, row_of)

    def rows(self, weighting: Weighting | None, alpha: float | None) -> np.ndarray:
        """Make rows of RNA alone (no weighting), of ATAC alone (no α), or of both."""
        if weighting is None:
            assert self.g is not None
            return self.g
        private = weighting.apply(self.scores, self.z)
        return private if alpha is None or self.g is None else joined(self.g, alpha * private)

    def n_held(self, i: int) -> float:
        """Count the held-out molecules of the queries: RNA (0) or ATAC (1)."""
        held = self.held[i]
        return 0.0 if held is None else float(held[self.queries].sum())

    def nats(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the nats, (RNA, ATAC), that each cell's neighbours predict: 0 for RNA not at hand, NaN for cells not predicted."""
        from sklearn.neighbors import NearestNeighbors  # takes a second to import

        k = min(_NEIGHBORS, max(5, len(rows) // 20), len(rows) - 1)
        finder = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(rows)
        near = finder.kneighbors(rows[self.queries], return_distance=False)
        near = _without(near, self.queries)
        rna, atac = (self._of(near, seen, held) for seen, held in zip(self.seen, self.held, strict=True))
        return rna, atac

    def _of(self, near: np.ndarray, seen: sp.csr_matrix | None, held: sp.csr_matrix | None) -> np.ndarray:
        nats = np.full(len(self.z) + 1, np.nan)  # the last entry is of cells without a row
        nats[self.queries] = (
            0 if seen is None or held is None else nats_of_neighbors(near, seen, held[self.queries])[0]
        )
        return nats[self.row_of]


def _without(near: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Drop each cell from its own neighbours; where it is not among them, the last one."""
    is_own = near == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return near[~is_own].reshape(len(near), -1)


def _split(counts: sp.csr_matrix, rng: np.random.Generator) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Hold out each molecule with probability `_HELD_OUT`: (the rest, the held-out)."""
    whole = sp.csr_matrix(counts, dtype=np.float32)
    held = whole.copy()
    held.data = rng.binomial(whole.data.astype(np.int64), _HELD_OUT).astype(np.float32)
    rest = sp.csr_matrix(whole - held)
    for part in (rest, held):
        part.eliminate_zeros()
        part.sort_indices()
    return rest, held
