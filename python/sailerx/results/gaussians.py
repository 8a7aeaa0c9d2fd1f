"""Labels by a Gaussian around the mean of each label, all with one covariance: linear discriminant analysis.

Votes of neighbours take every dimension as it comes; the common covariance within labels says which dimensions tell labels apart.

Source: Fisher 1936; the covariance is shrunk by Ledoit & Wolf 2004, J. Multivar. Anal. 88:365, so that few cells are enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: added to the variances, which are about 1, where there are too few cells for any
_RIDGE = 1e-6


@dataclass(frozen=True)
class Gaussians:
    """Mean and frequency of each label, and the covariance within labels."""

    #: labels × dimensions
    mean: np.ndarray
    #: share of each label among the labelled cells; 0 for a label without cells
    frequency: np.ndarray
    #: W, dimensions × dimensions, with W W' the inverse of the covariance: rows @ W have covariance 1 within labels
    whitening: np.ndarray

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
        correlation = ledoit_wolf(residual / std, assume_centered=True)[0] + _RIDGE * np.eye(rows.shape[1])
        whitening = np.linalg.inv(np.linalg.cholesky(correlation)).T / std[:, None]
        return cls(mean, n_cells / len(codes), whitening)

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Compute the probability of each label, cells × labels."""
        white, centre = rows @ self.whitening, self.mean @ self.whitening
        with np.errstate(divide="ignore"):
            log_frequency = np.log(self.frequency)
        # log p_c = log f_c - |white - centre_c|^2 / 2, up to a constant
        log_p = log_frequency + white @ centre.T - 0.5 * (centre**2).sum(axis=1)
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        scaled: np.ndarray = p / p.sum(axis=1, keepdims=True)
        return scaled

    def distance(self, rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Compute the distance (Mahalanobis) of each cell to the mean of the label that is given for it."""
        return np.linalg.norm((rows - self.mean[codes]) @ self.whitening, axis=1)


def typicality(known: np.ndarray, codes: np.ndarray, new: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Compute how typical new cells are of their labels: the share of the label's own cells that lie as far from its mean, or farther.

    It counts the new cell among them, so that cells like the labelled ones are below p with probability p (conformal p-value; Vovk et
    al. 2005, "Algorithmic Learning in a Random World").

    Parameters
    ----------
    known, codes
        Distance of labelled cells to the mean of their label, and the label of each.
    new, called
        The same of new cells.
    """
    found = np.empty(len(new))
    for code in np.unique(called):
        own, here = np.sort(known[codes == code]), called == code
        n_farther = len(own) - np.searchsorted(own, new[here])
        found[here] = (n_farther + 1) / (len(own) + 1)
    return found
