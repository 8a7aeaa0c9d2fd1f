"""The RNA reference g: PCA of counts, or the leading dimensions of an embedding that the user names."""

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
    """Embedding of the shared cells and a line that says where it came from."""
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
    """The matrix of this rank that is closest to g, in as many columns (truncated singular value decomposition).

    Not in the paper. Cosine similarities over the last dimensions of a reference are mostly noise, and a student that
    fits them learns less from its own data. Of PCA these are the leading components themselves.

    Parameters
    ----------
    g
        Cells × dimensions.
    rank
        Dimensions to keep; 0 or more than there are = all.

    Returns
    -------
    Cells × min(rank, dimensions); lengths and angles as those of the closest matrix.
    """
    if not 0 < rank < g.shape[1]:
        return g
    direction = np.linalg.eigh(g.T.astype(np.float64) @ g)[1]  # ascending eigenvalues
    return g @ direction[:, -rank:]
