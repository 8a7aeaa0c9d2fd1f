"""Latent semantic indexing of ATAC counts: the linear baseline that an ATAC embedding should beat."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD

from sailerx.errors import InputError

N_COMPONENTS = 20


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
    per_peak = np.maximum(np.asarray(x.sum(axis=0)).ravel(), 1)
    x.data = np.log1p(x.data * np.repeat(1e4 / per_cell, np.diff(x.indptr)))
    x.data = (x.data * np.log1p(x.shape[0] / per_peak)[x.indices]).astype(np.float32)
    return x


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
    z = TruncatedSVD(n_components + 1, random_state=seed).fit_transform(tfidf(counts))[:, 1:]
    return z.astype(np.float32)
