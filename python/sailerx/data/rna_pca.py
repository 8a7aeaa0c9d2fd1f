"""Compute the default RNA reference: PCA of RNA counts, each component shrunk by its share of noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, svds

from sailerx.errors import InputError

N_COMPONENTS = 50
N_HIGHLY_VARIABLE = 2000
#: cells that are projected or scaled at once: what a step makes of them in between takes little memory
_CELLS_AT_ONCE = 20_000


@dataclass(frozen=True)
class RnaProjection:
    """What `rna_pca` has learned: projects RNA counts of other cells to the same components."""

    #: names of all genes, in the order of the counts' columns
    genes: np.ndarray
    #: positions of the genes that are used
    chosen: np.ndarray
    #: median RNA depth of the training cells
    depth: float
    #: standard deviation of log(1 + scaled count) of each chosen gene
    std: np.ndarray
    #: its mean after scaling and clipping
    mean: np.ndarray
    #: chosen genes × components, each column times its shrinkage
    loadings: np.ndarray

    @classmethod
    def learn(
        cls, counts: sp.csr_matrix, genes: Sequence[str] | None = None, seed: int = 0, *, denoise: bool = True
    ) -> RnaProjection:
        """Learn the components of RNA counts; arguments and errors as of `rna_pca`, and the names of the genes."""
        total = np.asarray(counts.sum(axis=1)).ravel()
        depth = float(np.median(total))
        logged = _log_scaled(counts, depth)
        chosen = highly_variable(logged, N_HIGHLY_VARIABLE)
        logged = logged[:, chosen]
        std = np.sqrt(_mean_var(logged)[1])
        if not std.all():
            logged, chosen, std = logged[:, std > 0], chosen[std > 0], std[std > 0]
        loadings, mean = _pca(_standardised(logged, std), seed, denoise)
        names = np.arange(counts.shape[1]).astype(str) if genes is None else np.asarray(genes, dtype=object)
        return cls(names, chosen, depth, std, mean, loadings)

    def of(self, counts: sp.csr_matrix) -> np.ndarray:
        """Project counts (cells × ``genes``, every cell with a count) to the components, cells × components, float32."""
        g = np.empty((counts.shape[0], self.loadings.shape[1]), np.float32)
        for rows in _some_rows(counts.shape[0]):
            expression = _standardised(_log_scaled(counts[rows], self.depth)[:, self.chosen], self.std)
            g[rows] = expression @ self.loadings - self.mean @ self.loadings
        return g


def rna_pca(counts: sp.csr_matrix, seed: int = 0, *, denoise: bool = True) -> np.ndarray:
    """Compute principal components of RNA counts, the default RNA reference.

    Counts are scaled to the median RNA depth and log(1 + count)-transformed; the 2,000 most variable genes (normalised
    dispersion within 20 bins of mean expression, Satija et al. 2015) are scaled to unit variance, clipped at 10 standard
    deviations and reduced to 50 components. The matrix stays sparse; centring is implicit. Each component is then multiplied
    by the square root of (shrunk singular value / singular value), see `shrunk`: 0 for a component that is all noise.

    Parameters
    ----------
    counts
        Cells × genes, raw counts; every cell has RNA depth of at least 1.
    seed
        Starting vector of the iterative SVD solver.
    denoise
        Whether components are shrunk; not in the paper.

    Returns
    -------
    Cells × components, float32; min(50, cells - 1, variable genes - 1) components.

    Raises
    ------
    InputError
        With fewer than two cells or two genes that vary.
    """
    return RnaProjection.learn(counts, seed=seed, denoise=denoise).of(counts)


def _pca(expression: sp.csr_matrix, seed: int, denoise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Compute loadings (genes × components, shrunk with ``denoise``) and the mean of each gene."""
    n_components = min(N_COMPONENTS, min(expression.shape) - 1)
    if n_components < 1:
        raise InputError(
            f"PCA of RNA needs at least two cells and two genes that vary; found {expression.shape[0]} cells and "
            f"{expression.shape[1]} such genes. Name an embedding with `rna_embedding`."
        )
    mean = np.asarray(expression.mean(axis=0), dtype=np.float64).ravel()
    singular, loadings = _principal(expression, mean, n_components, seed)
    if not denoise:
        return loadings, mean
    total = float(expression.shape[0] * _mean_var(expression)[1].sum())
    # square root of the shrinkage factor: the full factor would almost erase the small components, which hold rare types
    return loadings * np.sqrt(shrunk(singular, expression.shape, total) / singular), mean


def _principal(
    expression: sp.csr_matrix, mean: np.ndarray, n_components: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the leading singular values, descending, and right singular vectors (genes × components) of the centred matrix.

    As scikit-learn's ``PCA(svd_solver="arpack")`` does, whose import takes longer than this for a few thousand cells. The entry of
    each vector that is largest by absolute value is positive.
    """
    offset, transposed = mean.astype(np.float32)[None], expression.T
    centred = LinearOperator(
        expression.shape,
        dtype=np.float32,
        matvec=lambda x: expression @ x - offset @ x,
        rmatvec=lambda x: transposed @ x - offset[0] * x.sum(),
        matmat=lambda x: expression @ x - offset @ x,
        rmatmat=lambda x: transposed @ x - offset.T * x.sum(axis=0),
    )
    start = np.random.RandomState(seed).uniform(-1, 1, min(expression.shape))
    _, singular, vectors = svds(centred, k=n_components, v0=start)
    singular, vectors = singular[::-1], vectors[::-1].T.astype(np.float64)
    largest = np.abs(vectors).argmax(axis=0)
    return singular, vectors * np.sign(vectors[largest, np.arange(n_components)])


def _log_scaled(counts: sp.csr_matrix, to_depth: float) -> sp.csr_matrix:
    """Scale the counts of each cell to one depth, then log(1 + count); indices are those of ``counts``, not a copy."""
    # in float32 whatever the counts are stored as, else the sign of a component may hang on that
    scale = (to_depth / np.maximum(np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel(), 1)).astype(
        np.float32
    )
    logged = _with_values(counts, np.empty(counts.nnz, np.float32))
    for rows in _some_rows(counts.shape[0]):
        values = slice(counts.indptr[rows.start], counts.indptr[rows.stop])
        n_values = np.diff(counts.indptr[rows.start : rows.stop + 1])
        logged.data[values] = np.repeat(scale[rows], n_values) * counts.data[values].astype(
            np.float32, copy=False
        )
    np.log1p(logged.data, out=logged.data)
    return logged


def _standardised(logged: sp.csr_matrix, std: np.ndarray) -> sp.csr_matrix:
    """Scale genes to unit variance and clip at 10, in place."""
    for rows in _some_rows(logged.shape[0]):
        values = slice(logged.indptr[rows.start], logged.indptr[rows.stop])
        logged.data[values] = np.minimum(logged.data[values] * (1 / std)[logged.indices[values]], 10)
    return logged


def _some_rows(n: int) -> Iterator[slice]:
    """Yield the rows of n cells, `_CELLS_AT_ONCE` at a time."""
    return (slice(first, min(first + _CELLS_AT_ONCE, n)) for first in range(0, n, _CELLS_AT_ONCE))


def _with_values(x: sp.csr_matrix, values: np.ndarray) -> sp.csr_matrix:
    """Make a matrix of other values at the same places, which are not copied."""
    return sp.csr_matrix((values, x.indices, x.indptr), x.shape)


def shrunk(singular: np.ndarray, shape: tuple[int, int], total: float) -> np.ndarray:
    """Shrink the singular values of a noisy matrix to those of the signal behind it.

    Noise of equal variance in every entry inflates the singular values, the small ones most. This is the shrinkage with the
    least squared error for large matrices (Gavish & Donoho 2017, doi 10.1109/TIT.2017.2653801); values at or below the largest
    singular value of pure noise become 0. The noise variance is estimated from what the leading values leave of ``total``.

    Parameters
    ----------
    singular
        Leading singular values of the matrix, descending, with all of the signal among them.
    shape
        Rows and columns of the matrix.
    total
        Sum of its squared entries.

    Returns
    -------
    Shrunk singular values, each at most as large as given; unchanged if the leading values leave no noise to estimate, or if
    none exceeds the noise.
    """
    (n, p), k = shape, len(singular)
    n_free, residual = (n - k) * (p - k), total - float((singular**2).sum())
    if n_free <= 0 or residual <= 1e-9 * total:
        return singular
    scale, beta = math.sqrt(residual / n_free * max(shape)), min(shape) / max(shape)
    y = singular / scale
    above = y > 1 + math.sqrt(beta)  # the largest singular value of pure noise, over scale
    signal: np.ndarray = np.sqrt(np.where(above, (y**2 - beta - 1) ** 2 - 4 * beta, 0)) / y * scale
    return signal if above.any() else singular


def highly_variable(expression: sp.csr_matrix, n_top: int) -> np.ndarray:
    """Select the ``n_top`` genes with the highest dispersion for their mean; positions, ascending.

    Parameters
    ----------
    expression
        Cells × genes, log(1 + normalised count).
    n_top
        Number of genes; all if there are not more.
    """
    if expression.shape[1] <= n_top:
        return np.arange(expression.shape[1])
    mean, var = _mean_var(_with_values(expression, np.expm1(expression.data)))
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


def _mean_var(expression: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and variance of each gene over all cells."""
    mean = np.asarray(expression.mean(axis=0), dtype=np.float64).ravel()
    squared = _with_values(expression, expression.data**2)
    square = np.asarray(squared.mean(axis=0), dtype=np.float64).ravel()
    var = square - mean**2
    return mean, np.where(var > 1e-6 * square, var, 0)  # smaller values are float32 rounding errors
