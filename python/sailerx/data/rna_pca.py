"""PCA of RNA counts, its components scaled down by their noise: the RNA reference where the user names none."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from sailerx.errors import InputError

N_COMPONENTS = 50
N_HIGHLY_VARIABLE = 2000


def rna_pca(counts: sp.csr_matrix, seed: int = 0, *, denoise: bool = True) -> np.ndarray:
    """Principal components of RNA counts: the reference where the user names none.

    Counts are scaled to the median depth, log(1 + x), restricted to the 2,000 most variable genes (normalised
    dispersion within 20 bins of mean expression, Satija et al. 2015), scaled to unit variance with values above 10
    standard deviations clipped, and reduced to 50 components. The matrix stays sparse; centring is implicit. Each
    component is then scaled down the more of it is noise (`shrunk`), and to nothing where all is.

    Parameters
    ----------
    counts
        Cells × genes, raw counts; every cell has at least one.
    seed
        Starting vector of the iterative solver.
    denoise
        Whether components are scaled down by their noise; not in the paper.

    Returns
    -------
    Cells × components, float32. Fewer than 50 components for fewer cells or genes.
    """
    depth = np.asarray(counts.sum(axis=1)).ravel()
    x = sp.csr_matrix(sp.diags(np.median(depth) / depth) @ counts, dtype=np.float32)
    x.data = np.log1p(x.data)
    x = x[:, highly_variable(x, N_HIGHLY_VARIABLE)]
    std = np.sqrt(_mean_var(x)[1])
    x = x[:, std > 0] @ sp.diags(1 / std[std > 0])
    x = sp.csr_matrix(x, dtype=np.float32)
    x.data = np.minimum(x.data, 10)
    n_components = min(N_COMPONENTS, min(x.shape) - 1)
    if n_components < 1:
        raise InputError(
            f"PCA of RNA needs at least two cells and two genes that vary; found {x.shape[0]} cells and {x.shape[1]} such "
            "genes. Name an embedding with `rna_embedding`."
        )
    from sklearn.decomposition import PCA  # takes a second, and many runs name a reference

    pca = PCA(n_components, svd_solver="arpack", random_state=seed)
    g: np.ndarray = pca.fit_transform(x)
    if not denoise:
        return g.astype(np.float32)
    found = pca.singular_values_
    total = float(x.shape[0] * _mean_var(x)[1].sum())
    # the square root of the shrinkage: all of it would leave next to nothing of the small components, where rare types are
    return (g * np.sqrt(shrunk(found, x.shape, total) / found)).astype(np.float32)


def shrunk(found: np.ndarray, shape: tuple[int, int], total: float) -> np.ndarray:
    """Singular values of the signal behind a noisy matrix, from those of the matrix itself.

    Noise of equal variance in every entry adds to each singular value, and most to the small ones. This is the
    shrinkage with the least squared error for large matrices (Gavish & Donoho 2017, doi 10.1109/TIT.2017.2653801); what
    noise alone would bring becomes 0.

    Parameters
    ----------
    found
        Leading singular values, descending; the signal is within them, and what is left is noise.
    shape
        Rows and columns of the matrix.
    total
        Sum of its squared entries.

    Returns
    -------
    As many values, each at most as large. All are kept as they were where they leave nothing to tell noise from.
    """
    (n, p), k = shape, len(found)
    free, left = (n - k) * (p - k), total - float((found**2).sum())
    if free <= 0 or left <= 1e-9 * total:
        return found
    scale, beta = math.sqrt(left / free * max(shape)), min(shape) / max(shape)
    y = found / scale
    above = y > 1 + math.sqrt(beta)  # below is what noise alone brings
    signal: np.ndarray = np.sqrt(np.where(above, (y**2 - beta - 1) ** 2 - 4 * beta, 0)) / y * scale
    return signal if above.any() else found


def highly_variable(x: sp.csr_matrix, n_top: int) -> np.ndarray:
    """Positions of the genes with the highest dispersion of log-normalised expression for their mean, ascending."""
    if x.shape[1] <= n_top:
        return np.arange(x.shape[1])
    linear = x.copy()
    linear.data = np.expm1(linear.data)
    mean, var = _mean_var(linear)
    log_mean = np.log1p(mean)
    dispersion = np.log(np.maximum(var, 1e-12) / np.maximum(mean, 1e-12))
    edges = np.quantile(log_mean, np.linspace(0, 1, 21)[1:-1])
    bin_of = np.searchsorted(edges, log_mean)
    score = np.empty_like(dispersion)
    for b in np.unique(bin_of):
        inside = dispersion[bin_of == b]
        score[bin_of == b] = (inside - inside.mean()) / max(inside.std(), 1e-12)
    score[mean == 0] = -np.inf
    return np.sort(np.argsort(-score, kind="stable")[:n_top])


def _mean_var(x: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    mean = np.asarray(x.mean(axis=0), dtype=np.float64).ravel()
    square = np.asarray(x.multiply(x).mean(axis=0), dtype=np.float64).ravel()
    var = square - mean**2
    return mean, np.where(
        var > 1e-6 * square, var, 0
    )  # below, the difference is rounding of single precision
