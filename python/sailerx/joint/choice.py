"""Choose how much the ATAC counts beside the RNA reference: by molecules held out of both, without labels.

A tenth of the molecules of each modality is held out; reference and coordinates are computed anew from the rest. Coordinates of
ATAC are only those that rise above noise, so that little is asked of them: nearest neighbours must predict the held-out molecules of
both modalities together better than by RNA alone. Of the values of α that do, the best is taken, or the largest that is
as good within half a standard error. Where nothing rises above noise, or none does, α is 0.

Source: the split by molecules follows Batson et al. 2019, doi 10.1101/786269.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from sailerx.data.accessibility import PeaksInMemory
from sailerx.data.atac_scores import AtacScores
from sailerx.data.rna_pca import rna_pca
from sailerx.data.rows import joined, unit_rows
from sailerx.joint.coordinates import Coordinates, Sample, leading
from sailerx.joint.nearest import nearest, without_own
from sailerx.joint.prediction import nats_of_neighbors

#: molecules that are gathered from neighbours for one candidate, at most: it bounds the number of cells that are predicted
_MAX_GATHERED = 400_000_000
_HELD_OUT = 0.1
_NEIGHBORS = 50
#: candidates of α, the length of one unit of noise of ATAC beside an RNA part of length 1; by the first, groups are judged
_ALPHAS = (0.09, 0.18, 0.045)
RNA_ALONE, ATAC_ALONE = "RNA alone", "ATAC alone"
#: coordinates of groups are kept unless neighbours predict worse with them, by so many standard errors
_WORSE_LOCAL = 1.0
#: an α must predict both modalities together better than RNA alone does, by so many
_BETTER = 0.5
#: an α must not lose more than this share of what RNA alone predicts of RNA, by more than one standard error: ATAC whose structure has
#: nothing to do with the cells' RNA (another order of cells, say) predicts itself well
_MOST_LOST, _LOST = 0.02, 1.0
#: values of α are even if their predictions differ by fewer; the largest of them is taken, as ATAC that is heard costs nothing then
_TIE = 0.5
#: cells that are predicted, at least: of fewer, several tenths are held out, independently
_FEWEST, _MOST_TRIALS = 20_000, 5


@dataclass(frozen=True)
class Cells:
    """The cells that a choice is made from, one row each."""

    #: ATAC, 0/1, cells × peaks
    x: sp.csr_matrix
    #: RNA counts, cells × genes; None = not at hand: RNA is then not held out, and only ATAC is predicted
    rna: sp.csr_matrix | None
    #: RNA reference, cells × dimensions
    g: np.ndarray
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

    alpha: float
    #: whether scores learned within groups of cells alike in RNA are used
    local: bool = True
    gains: tuple[Gain, ...] = ()

    def in_words(self, coordinates: str) -> str:
        """Say in one line how much ATAC counts, which coordinates it has, and what that is worth in held-out molecules."""
        found = {(gain.name, gain.alpha): gain for gain in self.gains}
        verdict = f"weight {self.alpha:g} ({coordinates})" if self.alpha else "nothing (weight 0)"
        if (RNA_ALONE, 0.0) not in found:
            return f"{verdict}; not measured: no coordinate of ATAC rises above noise, too few cells, or no RNA to compare with"
        kinds = [(RNA_ALONE, 0.0, "RNA alone"), (ATAC_ALONE, None, "ATAC alone")]
        kinds += [(_name(self.local), self.alpha, "both")] if self.alpha else []
        gains = ", ".join(
            f"{gain.atac:.4f}{'' if gain.rna is None else f' and {gain.rna:.4f}'} by {what}"
            for name, alpha, what in kinds
            if (gain := found.get((name, alpha))) is not None  # a weight set by hand is not measured
        )
        return (
            f"{verdict}; neighbours predict held-out molecules of ATAC and RNA by {gains} (nats per molecule)"
        )


def _name(local: bool) -> str:
    return "scores of all cells and of groups" if local else "scores of all cells"


def choose(cells: Cells, coordinates: Coordinates, seed: int, denoise: bool = True) -> Choice:
    """Choose α, and whether coordinates of groups are used.

    Parameters
    ----------
    cells
        A random sample of the cells with RNA.
    coordinates
        Those of the whole run.
    seed
        Draws the held-out molecules.
    denoise
        Of `rna_pca`.
    """
    if not coordinates.n_signal:
        return Choice(0.0)
    gathered = _NEIGHBORS * (cells.x.nnz + (0 if cells.rna is None else cells.rna.nnz))
    n_trials = max(1, min(_MOST_TRIALS, -(-_FEWEST // cells.x.shape[0]), _MAX_GATHERED // max(gathered, 1)))
    made = (_Trial.of(cells, coordinates.whole, [seed, i], denoise, n_trials) for i in range(n_trials))
    trials = [trial for trial in made if trial is not None]
    if not trials:
        return Choice(0.0)
    return _best({key: _nats(trials, *key) for key in _candidates(bool(coordinates.local))})


#: whether ATAC coordinates of groups are used, and α; None = RNA alone or ATAC alone
Candidate: TypeAlias = tuple[bool | None, float | None]


def _candidates(local: bool) -> list[Candidate]:
    kinds = (False, True) if local else (False,)
    return [(None, 0.0), (kinds[-1], None), *((kind, alpha) for kind in kinds for alpha in _ALPHAS)]


def _best(nats: dict[Candidate, _Nats]) -> Choice:
    """Use groups unless the held-out molecules speak against them, and the α that predicts these best."""
    both = {key: of.rna + of.atac for key, of in nats.items()}
    first = _ALPHAS[0]
    local = (True, first) in both and _z(both[True, first] - both[False, first]) > -_WORSE_LOCAL
    good = [a for a in _ALPHAS if _is_good(nats, both, local, a)]
    best = max(good, key=lambda a: float(np.nansum(both[local, a])), default=0.0)
    alpha = max((a for a in good if _z(both[local, best] - both[local, a]) < _TIE), default=0.0)
    names = {key: _name(bool(key[0])) for key in nats} | {(None, 0.0): RNA_ALONE}
    names |= {key: ATAC_ALONE for key in nats if key[1] is None}
    return Choice(alpha, local, tuple(of.gain(names[key], key[1]) for key, of in nats.items()))


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


def _nats(trials: list[_Trial], local: bool | None, alpha: float | None) -> _Nats:
    """Predict by a candidate; the mean over trials of each cell."""
    found = [trial.nats(trial.rows(local, alpha)) for trial in trials]
    n_rna, n_atac = (sum(trial.n_held(i) for trial in trials) / len(trials) for i in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cells that no trial predicts stay NaN
        rna, atac = (np.nanmean([of[i] for of in found], axis=0) for i in (0, 1))
    return _Nats(rna, atac, n_rna, n_atac)


def _is_good(
    nats: dict[Candidate, _Nats], both: dict[Candidate, np.ndarray], local: bool, alpha: float
) -> bool:
    """Say whether both modalities are predicted better than by RNA alone, and RNA hardly worse."""
    harms = _harms_rna(nats[local, alpha].rna, nats[None, 0.0].rna)
    return not harms and _z(both[local, alpha] - both[None, 0.0]) > _BETTER


def _harms_rna(rna: np.ndarray, alone: np.ndarray) -> bool:
    """Say whether neighbours predict RNA clearly worse, and by a share that counts, than those by RNA alone do."""
    lost = alone - rna
    return bool(np.nansum(lost) > _MOST_LOST * abs(np.nansum(alone)) and _z(lost) > _LOST)


def _z(difference: np.ndarray) -> float:
    difference = difference[np.isfinite(difference)]
    error = difference.std() / np.sqrt(len(difference))
    return float(difference.mean() / error) if error > 0 else 0.0


@dataclass(frozen=True)
class _Trial:
    """Reference and coordinates without the held-out molecules, and these."""

    g: np.ndarray
    #: coordinates of ATAC, with and without those of groups
    atac: dict[bool, np.ndarray]
    seen: tuple[sp.csr_matrix | None, sp.csr_matrix]
    held: tuple[sp.csr_matrix | None, sp.csr_matrix]
    #: cells that are predicted, rows of g
    queries: np.ndarray
    #: for each of all cells, its row of g; -1 = nothing of it was left
    row_of: np.ndarray

    @classmethod
    def of(
        cls, cells: Cells, whole: AtacScores, seed: list[int], denoise: bool, n_trials: int
    ) -> _Trial | None:
        """Hold out a tenth of the molecules; None if there are too few cells."""
        rng = np.random.default_rng([*seed, 3])
        x, x_held = _split(cells.x, rng)
        rna, rna_held = (None, None) if cells.rna is None else _split(cells.rna, rng)
        left = np.asarray(x.sum(axis=1)).ravel() > 0
        if rna is not None:
            left &= np.asarray(rna.sum(axis=1)).ravel() > 0
        if left.sum() < 3 * len(whole.strength):
            return None
        x, x_held, g = x[left], x_held[left], unit_rows(cells.g[left])
        if rna is not None and rna_held is not None:
            rna, rna_held = rna[left], rna_held[left]
            g = unit_rows(rna_pca(rna, seed[0], denoise=denoise))
        scores = AtacScores.learn(PeaksInMemory.of(x), len(whole.strength), seed[0], whole.prior)
        sample = Sample(x, g, cells.c[left])
        scores = scores.blind_to(scores.of(x), sample.c, leading(g))
        both = Coordinates.learn(sample, scores, seed[0])
        z = both.scores_of(x)
        atac = {True: both.of(z, g), False: both.without_local(sample).of(z, g)}
        atac = {local: rows if rows.shape[1] else np.zeros((len(rows), 1)) for local, rows in atac.items()}
        n = x.shape[0]
        molecules = sum(part.nnz for part in (x, rna) if part is not None) / n
        queries = np.sort(rng.permutation(n)[: int(_MAX_GATHERED / (_NEIGHBORS * molecules * n_trials))])
        return cls(g, atac, (rna, x), (rna_held, x_held), queries, np.where(left, left.cumsum() - 1, -1))

    def rows(self, local: bool | None, alpha: float | None) -> np.ndarray:
        """Make rows of RNA alone (``local`` None), of ATAC alone (``alpha`` None), or of both."""
        if local is None:
            return self.g
        return self.atac[local] if alpha is None else joined(self.g, alpha * self.atac[local])

    def n_held(self, i: int) -> float:
        """Count the held-out molecules of the queries: RNA (0) or ATAC (1)."""
        held = self.held[i]
        return 0.0 if held is None else float(held[self.queries].sum())

    def nats(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the nats, (RNA, ATAC), that each cell's neighbours predict: 0 for RNA not at hand, NaN for cells not predicted."""
        k = min(_NEIGHBORS, max(5, len(rows) // 20), len(rows) - 1)
        near = without_own(nearest(rows, rows[self.queries], k + 1)[1], self.queries)
        rna, atac = (self._of(near, seen, held) for seen, held in zip(self.seen, self.held, strict=True))
        return rna, atac

    def _of(self, near: np.ndarray, seen: sp.csr_matrix | None, held: sp.csr_matrix | None) -> np.ndarray:
        nats = np.full(len(self.g) + 1, np.nan)  # the last entry is of cells without a row
        nats[self.queries] = (
            0 if seen is None or held is None else nats_of_neighbors(near, seen, held[self.queries])[0]
        )
        return nats[self.row_of]


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
