"""Make g, the RNA reference of the alignment term: PCA of RNA counts, or the leading dimensions of a named embedding."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from sailerx.config import Settings
from sailerx.data.counts import pick_counts, refuse_without_counts, to_csr, why_not_counts
from sailerx.data.names import positions_by_name
from sailerx.data.rna_pca import RnaProjection
from sailerx.errors import InputError


@dataclass(frozen=True)
class RnaReference:
    """What makes g of cells from their RNA modality, the training cells' or others'."""

    #: source in words ("PCA of X", "obsm 'X_pca'")
    source: str
    #: obsm key of a named embedding; None = PCA of counts
    key: str | None
    #: layer of RNA counts, as the user named it
    layer: str | None
    #: what PCA has learned; None with a named embedding
    projection: RnaProjection | None
    #: directions onto which a named embedding is projected, dimensions × rank; None = all of it is used
    directions: np.ndarray | None = None

    @classmethod
    def learn(
        cls,
        r: AnnData,
        rna: str,
        key: str | None,
        layer: str | None,
        rows: np.ndarray,
        seed: int,
        settings: Settings,
    ) -> RnaReference:
        """Learn the reference from the training cells.

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
            Positions of the training cells in ``r``.
        seed
            Seed of the PCA solver.
        settings
            ``denoise_reference`` and ``reference_rank`` are used.

        Raises
        ------
        InputError
            If there are no RNA counts for PCA, a cell has RNA depth 0, or the embedding is missing, not a finite matrix, equal in
            all cells or zero in a cell.
        """
        if key is None:
            counts, where = _counts(r, rna, layer, rows)
            projection = RnaProjection.learn(
                counts, list(r.var_names.astype(str)), seed, denoise=settings.denoise_reference
            )
            return cls(f"PCA of {where}", None, layer, projection)
        g = _named(r, rna, key, rows)
        if np.allclose(g, g[0]):
            raise InputError(
                f"obsm {key!r} must tell cells apart, but all its rows are the same. Name another embedding."
            )
        return cls(f"obsm {key!r}", key, layer, None, leading_directions(g, settings.reference_rank))

    def arrays(self) -> dict[str, np.ndarray]:
        """Collect the arrays, to store them."""
        if self.projection is None:
            return {} if self.directions is None else {"directions": self.directions}
        return {name: getattr(self.projection, name) for name in ("chosen", "std", "mean", "loadings")}

    def described(self) -> dict[str, Any]:
        """Describe the rest by plain values, to store it."""
        found: dict[str, Any] = {"source": self.source, "key": self.key, "layer": self.layer}
        if self.projection is None:
            return found
        return found | {"depth": self.projection.depth, "genes": list(self.projection.genes)}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], described: dict[str, Any]) -> RnaReference:
        """Restore from `arrays` and `described`."""
        found = {name: described[name] for name in ("source", "key", "layer")}
        if found["key"] is not None:
            return cls(**found, projection=None, directions=arrays.get("directions"))
        genes = np.array(described["genes"], dtype=object)
        return cls(**found, projection=RnaProjection(genes=genes, depth=described["depth"], **arrays))

    def of(self, r: AnnData, rna: str, rows: np.ndarray, width: int = 0) -> np.ndarray:
        """Make g, cells × dimensions, not normalised, of the cells at positions ``rows`` of an RNA modality.

        ``width`` is the number of dimensions that g must have; 0 if it is not known.

        Raises
        ------
        InputError
            As `learn`; or if no gene is one of the training data's.
        """
        if self.key is not None:
            g = _named(r, rna, self.key, rows)
            known = width if self.directions is None else len(self.directions)
            if known and g.shape[1] != known:
                raise InputError(
                    f"obsm {self.key!r} must have the {known} dimensions that the model learned from, but has {g.shape[1]}. Compute "
                    "it as for the training data, or embed the ATAC alone."
                )
            return g if self.directions is None else g @ self.directions
        assert self.projection is not None
        counts = _counts(r, rna, self.layer, rows)[0]
        return self.projection.of(_in_order(counts, r.var_names.astype(str), self.projection.genes))


def _counts(r: AnnData, rna: str, layer: str | None, rows: np.ndarray) -> tuple[sp.csr_matrix, str]:
    """Pick the RNA counts of cells, and say where they are."""
    picked = pick_counts(r, rna, layer)
    counts = None if picked is None else to_csr(picked[1])
    wrong = "no matrix" if counts is None else why_not_counts(counts)
    if picked is None or counts is None or wrong:
        raise InputError(
            f"without `rna_embedding`, PCA is computed from RNA counts, but modality {rna!r} holds {wrong}. Name an "
            f"embedding with `rna_embedding` (there are: {', '.join(r.obsm) or 'none'}) or a layer of counts with `rna_layer`."
        )
    if not np.array_equal(rows, np.arange(counts.shape[0])):
        counts = counts[rows]
    refuse_without_counts(np.asarray(counts.sum(axis=1)).ravel(), r.obs_names[rows])
    return counts, picked[0]


def _named(r: AnnData, rna: str, key: str, rows: np.ndarray) -> np.ndarray:
    """Get a named embedding of cells."""
    if key not in r.obsm:
        raise InputError(f"modality {rna!r} has no obsm {key!r}. It has: {', '.join(r.obsm) or 'none'}.")
    stored = r.obsm[key]
    try:
        g = np.asarray(stored.toarray() if sp.issparse(stored) else stored, dtype=np.float64)[rows]
    except (TypeError, ValueError) as error:
        raise InputError(f"obsm {key!r} must hold numbers alone: {error}. Name another embedding.") from error
    if g.ndim != 2 or not g.shape[1] or not np.isfinite(g).all():
        raise InputError(
            f"obsm {key!r} must be a finite matrix of cells × dimensions; found {_what_is_wrong(g)}."
        )
    if not g.any(axis=1).all():
        raise InputError(
            f"obsm {key!r} has rows of zeros, for which cosine similarity is undefined. Name another embedding."
        )
    return g


def _what_is_wrong(g: np.ndarray) -> str:
    return "missing or infinite values" if g.ndim == 2 and g.shape[1] else f"an array of shape {g.shape}"


def _in_order(counts: sp.csr_matrix, here: pd.Index, genes: np.ndarray) -> sp.csr_matrix:
    """Arrange counts in the order of the model's genes; a gene that is not here counts 0, with a warning."""
    if list(here) == list(genes):
        return counts
    place = positions_by_name(here, pd.Index(genes))
    found = place >= 0
    if not found.any():
        raise InputError(
            f"the data share no gene with the model (its first: {genes[0]!r}; theirs: {here[0]!r}). Name genes as in the training "
            "data, or embed the ATAC alone."
        )
    if not found.all():
        warnings.warn(
            f"{int((~found).sum())} of the model's {len(genes)} genes are not in the data and are taken as 0.",
            stacklevel=4,
        )
    chosen = counts[:, place[found]]
    to = sp.csr_matrix(
        (np.ones(found.sum()), (np.arange(found.sum()), np.flatnonzero(found))), (found.sum(), len(genes))
    )
    return sp.csr_matrix(chosen @ to)


def leading_directions(g: np.ndarray, rank: int) -> np.ndarray | None:
    """Find the ``rank`` leading right singular vectors of g; None if g has no more dimensions, or with rank 0.

    Not in the paper. The last dimensions of a reference add mostly noise to its cosine similarities, and a model that fits
    this noise learns less from ATAC. For PCA coordinates these are the leading components.

    Parameters
    ----------
    g
        Cells × dimensions, not centred.
    rank
        Number of dimensions to keep.

    Returns
    -------
    Dimensions × rank, in ascending order of singular values.
    """
    if not 0 < rank < g.shape[1]:
        return None
    direction: np.ndarray = np.linalg.eigh(g.T.astype(np.float64) @ g)[1]  # ascending eigenvalues
    return direction[:, -rank:]
