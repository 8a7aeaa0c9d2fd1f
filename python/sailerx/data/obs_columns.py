"""Look up obs columns of the ATAC cells in a modality's obs or the global obs of a MuData object."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from anndata import AnnData
from mudata import MuData

from sailerx.errors import InputError


def obs_columns(mdata: MuData | AnnData, atac: str, names: Sequence[str]) -> pd.DataFrame:
    """Look up obs columns for the ATAC cells: in the ATAC modality's obs, else the global obs, else another modality's.

    Of the ATAC modality alone, given as AnnData, in its obs.

    Returns
    -------
    ATAC cells × ``names``; cells that the source of a column lacks have missing values.

    Raises
    ------
    InputError
        If a column is in no obs.
    """
    if isinstance(mdata, MuData):
        cells, others = mdata.mod[atac].obs_names, [m.obs for name, m in mdata.mod.items() if name != atac]
        sources = [mdata.mod[atac].obs, mdata.obs, *others]
    else:
        cells, sources = mdata.obs_names, [mdata.obs]
    columns = {}
    for name in names:
        found = next((obs[name] for obs in sources if name in obs), None)
        if found is None:
            known = sorted({str(column) for obs in sources for column in obs})
            raise InputError(f"no obs column {name!r}. There are: {', '.join(known) or 'none'}.")
        columns[name] = found.reindex(cells)
    return pd.DataFrame(columns, index=cells)


def joined_obs(mdata: MuData | AnnData, atac: str) -> pd.DataFrame:
    """Join obs of the ATAC modality and the columns that only the global obs has; ATAC cells × columns."""
    if not isinstance(mdata, MuData):
        return mdata.obs.copy()
    own = mdata.mod[atac].obs
    return own.join(mdata.obs[[name for name in mdata.obs if name not in own]])


def obs_column(mdata: MuData | AnnData, atac: str, name: str) -> pd.Series:
    """Look up one obs column for the ATAC cells, in a MuData object (as `obs_columns`) or the ATAC modality alone.

    Raises
    ------
    InputError
        If there is no such column.
    """
    if isinstance(mdata, MuData):
        return obs_columns(mdata, atac, [name])[name]
    if name not in mdata.obs:
        raise InputError(f"no obs column {name!r}. There are: {', '.join(map(str, mdata.obs)) or 'none'}.")
    return mdata.obs[name]
