"""RNA of new cells: that of the known cells that are most like them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from mudata import MuData

from sailerx.data.counts import pick_counts, to_csr, why_not_counts
from sailerx.errors import InputError
from sailerx.joint.nearest import nearest_others
from sailerx.results.comparison import CellSet, compare
from sailerx.results.trained import TrainedModel, atac_of

#: predicted counts of a cell sum to this, as those of Seurat's NormalizeData
SCALE = 1e4
_CELLS_AT_ONCE = 1_000
#: largest result in memory, in bytes
_LARGEST = 4e9


def predict_rna(
    model: TrainedModel,
    data: MuData | AnnData,
    new: MuData | AnnData,
    *,
    genes: Sequence[str] | None = None,
    n_neighbors: int = 50,
    seed: int = 0,
) -> AnnData:
    """Predict the RNA of new cells: `sailerx.Model.predict_rna`, given the data in memory or opened."""
    rows, counts, names = _rna_counts(model, data)
    if not 0 < n_neighbors < len(rows):
        raise InputError(
            f"`n_neighbors` must be at least 1 and below the number of cells with RNA and ATAC, {len(rows)}, got {n_neighbors!r}."
        )
    chosen = _positions(names, genes)
    known = CellSet.of(model, data, "known").take(rows)
    cells = CellSet.of(model, new, "new")
    near = np.empty((len(cells.g), n_neighbors), int)
    for space in compare(model, known, cells, seed):
        near[space.new_cells] = space.known_cells[nearest_others(space.known, space.new, n_neighbors)]
    obs = pd.DataFrame(
        {"has_rna": cells.has_rna}, index=atac_of(new, model.record["atac"]).obs_names.astype(str)
    )
    predicted = sp.vstack(list(_means(near, counts, chosen)), format="csr")
    return AnnData(predicted, obs=obs, var=pd.DataFrame(index=names[chosen]))


def _rna_counts(model: TrainedModel, data: MuData | AnnData) -> tuple[np.ndarray, sp.csr_matrix, pd.Index]:
    """Find the ATAC cells that have RNA: their positions, RNA counts (cells × genes), and the genes."""
    name = model.record["rna"]
    r = data.mod.get(name) if isinstance(data, MuData) else None
    picked = None if r is None else pick_counts(r, name, model.record["rna_layer"])
    counts = None if picked is None else to_csr(picked[1])
    if r is None or counts is None or why_not_counts(counts):
        raise InputError(
            f"RNA is predicted from RNA counts of known cells, but there are none in a modality {name!r}. Give the data that the "
            "model was trained on, with RNA."
        )
    row_of = r.obs_names.get_indexer(atac_of(data, model.record["atac"]).obs_names)
    return np.flatnonzero(row_of >= 0), counts[row_of[row_of >= 0]], r.var_names.astype(str)


def _positions(names: pd.Index, genes: Sequence[str] | None) -> np.ndarray:
    if genes is None:
        return np.arange(len(names))
    asked = pd.Index([genes] if isinstance(genes, str) else list(genes)).unique()
    found = names.get_indexer_for(asked)
    missing = np.flatnonzero(found < 0)
    if len(missing) or not len(asked):
        first = f", first {asked[missing[0]]!r}" if len(missing) else ""
        raise InputError(
            f"`genes` must name genes of the known cells, such as {names[0]!r}: {len(missing)} of {len(asked)} are not there{first}."
        )
    return found


def _means(near: np.ndarray, counts: sp.csr_matrix, chosen: np.ndarray) -> Iterator[sp.csr_matrix]:
    """Yield log(1 + mean of the neighbours' counts, scaled to sum `SCALE`), some cells × chosen genes at a time."""
    total, some = np.asarray(counts.sum(axis=1)).ravel(), counts[:, chosen].astype(np.float32)
    size = 0
    for part in np.split(near, range(_CELLS_AT_ONCE, len(near), _CELLS_AT_ONCE)):
        rows = np.repeat(np.arange(len(part)), part.shape[1])
        member = sp.csr_matrix(
            (np.ones(part.size, np.float32), (rows, part.ravel())), (len(part), len(total))
        )
        scale = SCALE / np.maximum(member @ total, 1)
        mean = sp.csr_matrix(sp.diags(scale) @ (member @ some), dtype=np.float32)
        size += mean.data.nbytes + mean.indices.nbytes
        _refuse_large(size)
        yield mean.log1p()


def _refuse_large(size: int) -> None:
    if size > _LARGEST:
        raise InputError(
            f"the predicted RNA must take at most {_LARGEST / 1e9:g} GB of memory, but takes more. Choose `genes`, or predict for "
            "some of the cells at a time."
        )
