"""Labels by the votes of nearest neighbours."""

from __future__ import annotations

import numpy as np


def votes_of(near: np.ndarray, codes: np.ndarray, n_labels: int) -> np.ndarray:
    """Compute the share of each label among neighbours, cells × labels.

    Parameters
    ----------
    near
        Positions of labelled cells, cells × neighbours.
    codes
        Label of each labelled cell, 0 to ``n_labels`` - 1.
    n_labels
        Number of labels.
    """
    flat = np.arange(len(near))[:, None] * n_labels + codes[near]
    counts = np.bincount(flat.ravel(), minlength=len(near) * n_labels)
    return counts.reshape(len(near), n_labels) / near.shape[1]
