"""Find technical columns of obs that ATAC tells apart among cells alike in RNA, though nobody has named them as batches."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sailerx.data.multiome import Multiome
from sailerx.joint.embedding import JointEmbedding
from sailerx.joint.groups import groups_of
from sailerx.joint.nearest import nearest_others

#: usual names, in small letters and without dots, hyphens and underscores, of columns that say how cells were processed
_USUAL = {
    *(
        "batch",
        "library",
        "librarybatch",
        "libraryid",
        "sample",
        "sampleid",
        "samplename",
        "lane",
        "plate",
        "run",
        "runid",
    ),
    *(
        "donor",
        "donorid",
        "patient",
        "patientid",
        "individual",
        "replicate",
        "origident",
        "dataset",
        "gem",
        "gemwell",
    ),
}
_MOST_LEVELS = 50
#: cells that are looked at, at most
_MAX_CELLS = 3_000
_NEIGHBORS = 15
#: cells of a level in a group, at least
_LEAST_CELLS = 20
#: leakage above which a column is told apart: 0 = by chance, 1 = fully
_CLEAR = 0.3


def undeclared_batches(
    data: Multiome, joint: JointEmbedding, obs: pd.DataFrame, batch_key: list[str], seed: int = 0
) -> dict[str, float]:
    """Measure how well ATAC coordinates predict the levels of columns that look technical, within groups of cells alike in RNA.

    Parameters
    ----------
    data, joint
        The training data, and what was learned from them.
    obs
        ATAC cells × columns.
    batch_key
        Columns that the coordinates are blind to already.
    seed
        Draws a sample of the cells.

    Returns
    -------
    Balanced accuracy of the vote of nearest neighbours, on a scale from 0 (by chance) to 1, of the columns where it exceeds 0.3;
    nothing where ATAC does not count, or no RNA says which cells are alike.
    """
    columns = [
        name for name in map(str, obs.columns) if _looks_technical(name, obs[name]) and name not in batch_key
    ]
    cells = np.flatnonzero(data.has_rna)
    if not columns or not joint.choice.alpha or not len(joint.anchors):
        return {}
    cells = np.sort(np.random.default_rng(seed).permutation(cells)[:_MAX_CELLS])
    g = data.g[cells]
    z = joint.coordinates.of(joint.coordinates.scores_of(data.x[cells]), g)
    group = groups_of(g, seed)
    levels = {name: pd.factorize(obs[name].iloc[cells].astype(str))[0] for name in columns}
    found = {name: _above_chance(z, group, level) for name, level in levels.items()}
    return {name: leakage for name, leakage in found.items() if leakage > _CLEAR}


def _above_chance(z: np.ndarray, group: np.ndarray, level: np.ndarray) -> float:
    """Balanced accuracy within groups, above chance: mean over groups weighted by cells; NaN if none has two levels."""
    found, weights = [], []
    for i in np.unique(group):
        cells = np.flatnonzero(group == i)
        common = np.flatnonzero(np.bincount(level[cells]) >= _LEAST_CELLS)
        cells = cells[np.isin(level[cells], common)]
        if len(common) > 1:
            votes = level[cells][nearest_others(z[cells], z[cells], _NEIGHBORS)]
            counts = (votes[:, :, None] == common).sum(axis=1)
            right = common[counts.argmax(axis=1)] == level[cells]
            balanced = np.mean([right[level[cells] == j].mean() for j in common])
            found.append((balanced - 1 / len(common)) / (1 - 1 / len(common)))
            weights.append(len(cells))
    return float(np.average(found, weights=weights)) if found else np.nan


def in_words(found: dict[str, float]) -> str:
    """Say which columns ATAC tells apart, and what to do."""
    shown = ", ".join(f"{name!r} ({leakage:.2f})" for name, leakage in found.items())
    return (
        f"ATAC tells apart the levels of obs column {shown} among cells alike in RNA (0 by chance, 1 fully). If they differ for "
        f"technical reasons, name them, and the embedding will be blind to them: batch_key={list(found)!r}."
    )


def _looks_technical(name: str, column: pd.Series) -> bool:
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    return plain in _USUAL and 2 <= column.nunique() <= _MOST_LEVELS
