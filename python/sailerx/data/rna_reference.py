"""Make g, the RNA reference of the alignment term: PCA of RNA counts, or the leading dimensions of a named embedding."""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from sailerx.config import Settings
from sailerx.data.counts import pick_counts, refuse_without_counts, to_csr, why_not_counts
from sailerx.data.rna_pca import rna_pca
from sailerx.errors import InputError


def reference_of(
    r: AnnData, rna: str, key: str | None, layer: str | None, rows: np.ndarray, seed: int, settings: Settings
) -> tuple[np.ndarray, str]:
    """Make the RNA reference of the cells with both modalities.

    Parameters
    ----------
    r
        The RNA modality.
    rna
        Its name, for messages.
    key
        obsm key of an embedding; ``None`` = PCA of RNA counts (`rna_pca`).
    layer
        Layer of RNA counts; by default ``counts`` if there is one, else X.
    rows
        Positions of the cells in ``r``.
    seed
        Seed of the PCA solver.
    settings
        ``denoise_reference`` and ``reference_rank`` are used.

    Returns
    -------
    Cells × dimensions, not normalised, and the source in words ("PCA of X", "obsm 'X_pca'").

    Raises
    ------
    InputError
        If there are no RNA counts for PCA, a cell has RNA depth 0, or the embedding is missing, not a finite matrix, equal in
        all cells or zero in a cell.
    """
    if key is None:
        picked = pick_counts(r, rna, layer)
        wrong = "no matrix" if picked is None else why_not_counts(to_csr(picked[1]))
        if picked is None or wrong:
            raise InputError(
                f"without `rna_embedding`, PCA is computed from RNA counts, but modality {rna!r} holds {wrong}. Name an "
                f"embedding with `rna_embedding` (there are: {', '.join(r.obsm) or 'none'}) or a layer of counts with `rna_layer`."
            )
        counts = to_csr(picked[1])[rows]
        refuse_without_counts(np.asarray(counts.sum(axis=1)).ravel(), r.obs_names[rows])
        return rna_pca(counts, seed, denoise=settings.denoise_reference), f"PCA of {picked[0]}"
    if key not in r.obsm:
        raise InputError(f"modality {rna!r} has no obsm {key!r}. It has: {', '.join(r.obsm) or 'none'}.")
    g = np.asarray(r.obsm[key], dtype=np.float64)[rows]
    if g.ndim != 2 or not np.isfinite(g).all():
        raise InputError(
            f"obsm {key!r} must be a finite matrix of cells × dimensions; found missing or infinite values."
        )
    if np.allclose(g, g[0]):
        raise InputError(
            f"obsm {key!r} must tell cells apart, but all its rows are the same. Name another embedding."
        )
    if not g.any(axis=1).all():
        raise InputError(
            f"obsm {key!r} has rows of zeros, for which cosine similarity is undefined. Name another embedding."
        )
    return leading(g, settings.reference_rank), f"obsm {key!r}"


def leading(g: np.ndarray, rank: int) -> np.ndarray:
    """Reduce g to its leading ``rank`` dimensions by truncated singular value decomposition (without centring).

    Not in the paper. The last dimensions of a reference add mostly noise to its cosine similarities, and a model that fits
    this noise learns less from ATAC. For PCA coordinates these are the leading components.

    Parameters
    ----------
    g
        Cells × dimensions.
    rank
        Number of dimensions to keep; 0, or at least the columns of g, keeps g as it is.

    Returns
    -------
    Cells × min(rank, dimensions): g projected onto its leading right singular vectors, ascending singular values.
    """
    if not 0 < rank < g.shape[1]:
        return g
    direction = np.linalg.eigh(g.T.astype(np.float64) @ g)[1]  # ascending eigenvalues
    return g @ direction[:, -rank:]
