"""Latent semantic indexing of ATAC counts: the linear baseline that an ATAC embedding should beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sailerx.data.accessibility import Accessibility
from sailerx.errors import InputError

N_COMPONENTS = 20
#: more cells hardly change the components that `lsi_weights` needs
_ENOUGH_CELLS = 20_000


def tfidf(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Weigh counts by log(1 + 10⁴ × share in the cell) × log(1 + cells / total of the peak).

    Of the usual weights those that serve shallow data best; Signac's ``method = 3`` and muon's ``tfidf``.

    Parameters
    ----------
    counts
        Cells × peaks, raw counts or 0/1.

    Returns
    -------
    Cells × peaks, float32, with the zeros of `counts`.

    Source: Stuart et al. 2021, doi 10.1038/s41592-021-01282-5.
    """
    x = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    per_cell = np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1)
    idf = _idf(x)
    x.data = np.log1p(x.data * np.repeat(1e4 / per_cell, np.diff(x.indptr)))
    x.data = (x.data * idf[x.indices]).astype(np.float32)
    return x


def lsi_weights(x: Accessibility, n_components: int, seed: int = 0) -> np.ndarray:
    """What each peak adds to a cell's LSI components 2 and on, per open peak and up to the cell's depth.

    Parameters
    ----------
    x
        Cells × peaks, 0/1. Of more than 20,000 cells a random part is looked at.
    n_components
        Components wanted; fewer are returned where there are not as many cells or peaks.
    seed
        Starting vectors of the solver, and which cells.

    Returns
    -------
    Peaks × components, float32: the right singular vectors of TF-IDF times each peak's IDF.
    """
    if x.shape[0] > _ENOUGH_CELLS:
        some = np.random.default_rng(seed).choice(x.shape[0], _ENOUGH_CELLS, replace=False)
        rows = x[np.sort(some)]
    else:
        rows = x.read()
    n_components = min(n_components, min(rows.shape) - 2)
    if n_components < 1:
        return np.empty((rows.shape[1], 0), np.float32)
    found = _svd(n_components, seed).fit(tfidf(rows)).components_[1:]
    return (found.T * _idf(rows)[:, None]).astype(np.float32)


def _idf(x: sp.csr_matrix) -> np.ndarray:
    per_peak = np.maximum(np.asarray(x.sum(axis=0)).ravel(), 1)
    return np.log1p(x.shape[0] / per_peak)


def lsi(counts: sp.csr_matrix, n_components: int = N_COMPONENTS, seed: int = 0) -> np.ndarray:
    """Components 2 and on of the singular value decomposition of TF-IDF.

    The first follows depth and is left out, as users of Signac do.

    Parameters
    ----------
    counts
        Cells × peaks, raw counts or 0/1.
    n_components
        Components returned; fewer where there are not as many cells or peaks.
    seed
        Starting vectors of the solver.

    Returns
    -------
    Cells × components, float32; components differ in spread as their singular values do.
    """
    n_components = min(n_components, min(counts.shape) - 2)
    if n_components < 1:
        raise InputError(
            f"LSI needs at least 3 cells and 3 peaks, found {counts.shape[0]} and {counts.shape[1]}."
        )
    z = _svd(n_components, seed).fit_transform(tfidf(counts))[:, 1:]
    return z.astype(np.float32)


def _svd(n_components: int, seed: int) -> Any:
    """For one component more: the first one is depth."""
    from sklearn.decomposition import TruncatedSVD  # takes a second, and few runs need it

    return TruncatedSVD(n_components + 1, random_state=seed)
