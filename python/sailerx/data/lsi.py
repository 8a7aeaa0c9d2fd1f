"""Latent semantic indexing (TF-IDF, then truncated SVD) of ATAC counts: a linear baseline, and a start for the encoder's weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from sailerx.data.accessibility import Accessibility
from sailerx.errors import InputError

N_COMPONENTS = 20
#: cells that `lsi_weights` uses at most; more hardly change the components
_MAX_CELLS = 20_000


def tfidf(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Weight counts by TF-IDF: log(1 + 10⁴ × count / total of the cell) × log(1 + n_cells / total of the peak).

    The variant for shallow data: Signac's ``method = 3`` and muon's ``tfidf``.

    Parameters
    ----------
    counts
        Cells × peaks, raw counts or 0/1.

    Returns
    -------
    Cells × peaks, float32, with the sparsity pattern of ``counts``.

    Source: Stuart et al. 2021, doi 10.1038/s41592-021-01282-5.
    """
    weighted = sp.csr_matrix(counts, dtype=np.float32, copy=True)
    total_of_cell = np.maximum(np.asarray(weighted.sum(axis=1)).ravel(), 1)
    idf = _idf(weighted)
    weighted.data = np.log1p(weighted.data * np.repeat(1e4 / total_of_cell, np.diff(weighted.indptr)))
    weighted.data = (weighted.data * idf[weighted.indices]).astype(np.float32)
    return weighted


def lsi_weights(x: Accessibility, n_components: int, seed: int = 0) -> np.ndarray:
    """Compute weights such that x @ weights is LSI (components 2, 3, …) up to a factor per cell.

    In 0/1 data the factor is log(1 + 10⁴ / depth), the same for all open peaks of a cell.

    Parameters
    ----------
    x
        Cells × peaks, 0/1. Of more than 20,000 cells, 20,000 are drawn at random.
    n_components
        Number of components; fewer, min(cells, peaks) - 2, for small data.
    seed
        Seed of the SVD solver and of the draw of cells.

    Returns
    -------
    Peaks × components, float32: right singular vectors of the TF-IDF matrix, each peak's row times its IDF.
    """
    if x.shape[0] > _MAX_CELLS:
        drawn = np.random.default_rng(seed).choice(x.shape[0], _MAX_CELLS, replace=False)
        counts = x[np.sort(drawn)]
    else:
        counts = x.read()
    n_components = min(n_components, min(counts.shape) - 2)
    if n_components < 1:
        return np.empty((counts.shape[1], 0), np.float32)
    loadings = _svd(n_components, seed).fit(tfidf(counts)).components_[1:]
    return (loadings.T * _idf(counts)[:, None]).astype(np.float32)


def _idf(counts: sp.csr_matrix) -> np.ndarray:
    total_of_peak = np.maximum(np.asarray(counts.sum(axis=0)).ravel(), 1)
    return np.log1p(counts.shape[0] / total_of_peak)


def lsi(counts: sp.csr_matrix, n_components: int = N_COMPONENTS, seed: int = 0) -> np.ndarray:
    """Embed cells by LSI: components 2, 3, … of the singular value decomposition of TF-IDF.

    Component 1 follows ATAC depth and is left out, as is usual with Signac.

    Parameters
    ----------
    counts
        Cells × peaks, raw counts or 0/1.
    n_components
        Number of components; fewer, min(cells, peaks) - 2, for small data.
    seed
        Seed of the SVD solver.

    Returns
    -------
    Cells × components, float32: left singular vectors times singular values.

    Raises
    ------
    InputError
        With fewer than 3 cells or 3 peaks.
    """
    n_components = min(n_components, min(counts.shape) - 2)
    if n_components < 1:
        raise InputError(
            f"LSI needs at least 3 cells and 3 peaks, found {counts.shape[0]} and {counts.shape[1]}."
        )
    z = _svd(n_components, seed).fit_transform(tfidf(counts))[:, 1:]
    return z.astype(np.float32)


def _svd(n_components: int, seed: int) -> Any:
    """Make a solver for one more component than asked, because component 1 (depth) is dropped.

    ARPACK iterates to machine precision. The randomised solver, with its five iterations, misses weak components, and with them
    what they tell apart.
    """
    from sklearn.decomposition import TruncatedSVD  # takes a second to import, and few runs need it

    return TruncatedSVD(n_components + 1, algorithm="arpack", random_state=seed)
