"""Transferred labels for the report: of new cells, or of a hybrid run's cells without RNA, beside the cells' own labels."""

from __future__ import annotations

import mudata
import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData

from sailerx.data.obs_columns import obs_column
from sailerx.errors import InputError
from sailerx.evaluate.cell_sets import own_labels
from sailerx.results.embed import rna_of
from sailerx.results.trained import TrainedModel, atac_of
from sailerx.results.transfer_labels import transfer_labels

#: ends of the ranges of confidence in which calls are compared with own labels
_ENDS = (0.0, 0.5, 0.8, 0.95, 1.0)


def label_calls(
    model: TrainedModel, data: MuData | AnnData, new: MuData | AnnData | None, labels: str, seed: int = 0
) -> pd.DataFrame:
    """Transfer labels to new cells or, without any, from the cells with RNA to those without.

    Parameters
    ----------
    model
        The trained model.
    data
        Cells with labels.
    new
        New cells.
    labels
        obs column of the labels.
    seed
        Of `sailerx.Model.transfer_labels`.

    Returns
    -------
    The table of `sailerx.Model.transfer_labels`, with two more columns: ``position`` of the cell in its file, and ``own``, its own
    label if the file has one, else None.

    Raises
    ------
    InputError
        If there are neither new cells nor, beside others, cells without RNA.
    """
    atac = model.record["atac"]
    if new is not None:
        table = transfer_labels(model, data, new, labels, seed=seed)
        return table.assign(position=np.arange(len(table)), own=own_labels(new, atac, labels))
    known, others, has_rna = _by_rna(model, data, labels)
    table = transfer_labels(model, known, others, labels, seed=seed)
    own = own_labels(data, atac, labels)[~has_rna]
    return table.assign(position=np.flatnonzero(~has_rna), own=own)


def _by_rna(model: TrainedModel, data: MuData | AnnData, labels: str) -> tuple[MuData, AnnData, np.ndarray]:
    """Part the cells with RNA from those without."""
    has_rna = rna_of(model, data)[1]
    if has_rna.all() or not has_rna.any() or isinstance(data, AnnData):
        what = "all" if has_rna.any() else "none"
        raise InputError(
            f"labels are transferred to new cells, or from cells with RNA to cells without; {what} of these cells have RNA. Name "
            "new cells by `new`."
        )
    rna, name = model.record["rna"], model.record["atac"]
    atac = atac_of(data, name)
    known = atac[has_rna].copy()
    known.obs[labels] = obs_column(data, name, labels)[has_rna]
    with mudata.set_options(pull_on_update=False):
        paired = MuData({rna: data.mod[rna], name: known})
    return paired, atac[~has_rna].copy(), has_rna


def calibration(calls: pd.DataFrame) -> pd.DataFrame:
    """Compare the most probable labels with the cells' own, by confidence.

    Parameters
    ----------
    calls
        From `label_calls`.

    Returns
    -------
    One row per range of confidence: number of cells, their mean confidence, and the share of them that is right. Cells without an
    own label are left out.
    """
    known = calls[calls["own"].notna()]
    right = known["best_label"].astype(str) == known["own"].astype(str)
    ranges = pd.cut(known["confidence"].clip(0, 1), list(_ENDS), include_lowest=True, labels=_range_names())
    table = pd.DataFrame({"range": ranges, "confidence": known["confidence"], "right": right})
    by_range = table.groupby("range", observed=True)
    return by_range.agg(
        cells=("right", "size"), confidence=("confidence", "mean"), right=("right", "mean")
    ).rename(columns={"confidence": "mean confidence", "right": "right labels"})


def _range_names() -> list[str]:
    return [f"{low:g} to {high:g}" for low, high in zip(_ENDS[:-1], _ENDS[1:], strict=True)]
