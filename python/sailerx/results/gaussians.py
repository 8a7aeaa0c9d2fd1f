"""Labels by a Gaussian around the mean of each label, all with one covariance: linear discriminant analysis.

Votes of neighbours take every dimension as it comes; the common covariance within labels says which dimensions tell labels apart.

Source: Fisher 1936; the covariance is shrunk by Ledoit & Wolf 2004, J. Multivar. Anal. 88:365, so that few cells are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Gaussians:
    """Labels' Gaussians as linear functions of a row."""

    #: dimensions × labels
    slope: np.ndarray
    #: one per label; -inf for a label without cells
    intercept: np.ndarray

    @classmethod
    def learn(cls, rows: np.ndarray, codes: np.ndarray, n_labels: int) -> Gaussians:
        """Learn from labelled cells.

        Parameters
        ----------
        rows
            Labelled cells × dimensions.
        codes
            Label of each, 0 to ``n_labels`` - 1.
        n_labels
            Number of labels.
        """
        from sklearn.covariance import ledoit_wolf  # takes a second to import

        n_cells = np.bincount(codes, minlength=n_labels)
        mean = np.zeros((n_labels, rows.shape[1]))
        np.add.at(mean, codes, rows)
        mean /= np.maximum(n_cells, 1)[:, None]
        residual = rows - mean[codes]
        std = np.maximum(residual.std(axis=0), 1e-6)
        covariance = ledoit_wolf(residual / std, assume_centered=True)[0] * np.outer(std, std)
        slope = np.linalg.solve(covariance, mean.T)
        # log f_c - mean_c' C^-1 mean_c / 2: f_c is the label's share of the cells, C the covariance
        with np.errstate(divide="ignore"):
            frequency = np.log(n_cells / len(codes))
        return cls(slope, frequency - 0.5 * (mean.T * slope).sum(axis=0))

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Compute the probability of each label, cells × labels."""
        # log p_c = row' C^-1 mean_c + intercept_c, up to a constant
        log_p = rows @ self.slope + self.intercept
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        scaled: np.ndarray = p / p.sum(axis=1, keepdims=True)
        return scaled
