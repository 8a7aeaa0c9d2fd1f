"""Rows of the joint embedding: [ g / |g| , α · weighted ATAC scores ]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sailerx.data.atac_scores import AtacScores


@dataclass(frozen=True)
class Weighting:
    """How the scores of ATAC become coordinates: how many are used, and how much each counts."""

    n_scores: int
    #: weigh each score by the size of its signal, sqrt(strength² - 1); else by its strength, signal and noise alike, which keeps what
    #: is spread over many scores, none of which rises above the noise
    by_signal: bool

    @property
    def name(self) -> str:
        """Name for tables."""
        return f"{self.n_scores} scores by {'signal' if self.by_signal else 'strength'}"

    def weights(self, scores: AtacScores) -> np.ndarray:
        """Compute the factor of each used score; rows of scores of variance 1 get a mean square length of 1."""
        strength = scores.strength[: self.n_scores]
        weights = np.sqrt(np.maximum(strength**2 - 1, 0)) if self.by_signal else strength
        length = np.sqrt((weights**2).sum())
        return weights / length if length > 0 else weights

    def apply(self, scores: AtacScores, z: np.ndarray) -> np.ndarray:
        """Weigh scores z (cells × scores): cells × `n_scores`.

        A row is then divided by the square root of its length: the scores of shallow cells are long because they are noisy.
        """
        weighted = z[:, : self.n_scores] * self.weights(scores)
        damped: np.ndarray = weighted / np.sqrt(
            np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)
        )
        return damped


def unit_rows(g: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; rows of zeros stay."""
    length = np.linalg.norm(g, axis=1, keepdims=True)
    return g / np.where(length > 0, length, 1)


def joined(rna: np.ndarray, atac: np.ndarray) -> np.ndarray:
    """Put the RNA part and the weighted ATAC part of the rows side by side, float32."""
    return np.concatenate([rna, atac], axis=1).astype(np.float32)
