"""Columns of metadata of the ATAC cells, wherever a MuData object keeps them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from anndata import AnnData
from mudata import MuData

from sailerx.errors import InputError


def obs_columns(mdata: MuData, atac: str, names: Sequence[str]) -> pd.DataFrame:
    """Columns for the ATAC cells: from the ATAC modality's obs, else the global obs, else any other modality's."""
    cells = mdata.mod[atac].obs_names
    sources = [mdata.mod[atac].obs, mdata.obs, *(m.obs for name, m in mdata.mod.items() if name != atac)]
    columns = {}
    for name in names:
        found = next((obs[name] for obs in sources if name in obs), None)
        if found is None:
            there = sorted({str(column) for obs in sources for column in obs})
            raise InputError(f"no obs column {name!r}. There are: {', '.join(there) or 'none'}.")
        columns[name] = found.reindex(cells)
    return pd.DataFrame(columns, index=cells)


def obs_column(mdata: MuData | AnnData, atac: str, name: str) -> pd.Series:
    """One column for the ATAC cells, given the MuData object or the ATAC modality alone."""
    if isinstance(mdata, MuData):
        return obs_columns(mdata, atac, [name])[name]
    if name not in mdata.obs:
        raise InputError(f"no obs column {name!r}. There are: {', '.join(map(str, mdata.obs)) or 'none'}.")
    return mdata.obs[name]
