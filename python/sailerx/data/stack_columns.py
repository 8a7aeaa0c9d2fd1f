"""Stack an obs column of several data sets, of which each may hold it in a type of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api import types

from sailerx.data.levels import level_text

Kind = Literal["logical", "number", "text", "other"]


def stack_obs(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Stack the cells of several data sets with all of their columns; a set without a column has missing values there.

    A column keeps its type if it is of one kind in all sets that have it: numbers, truth values, or text and categories. A column
    of several kinds becomes categories of text, by the rule of `level_text`; so do dates and other values that no HDF5 file
    holds, a date as ``2024-01-31``.

    Parameters
    ----------
    tables
        Name of the set → obs, one row per cell.
    """
    names = [str(name) for name in dict.fromkeys(name for table in tables.values() for name in table)]
    stacked = {name: _stacked(name, list(tables.values())) for name in names}
    index = pd.concat([table.index.to_series() for table in tables.values()])
    return pd.DataFrame({name: column.array for name, column in stacked.items()}, index=index)


def kind_of(column: pd.Series) -> Kind:
    """Kind of a column: truth values, numbers, text (and categories), or something else, such as dates."""
    values = column.cat.categories.to_series() if isinstance(column.dtype, pd.CategoricalDtype) else column
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "text"
    if types.is_bool_dtype(values.dtype):
        return "logical"
    if types.is_numeric_dtype(values.dtype):
        return "number"
    if values.dtype != object:
        return "text" if types.is_string_dtype(values.dtype) else "other"
    present = {type(value) for value in values.dropna()}
    if present == {bool}:
        return "logical"
    return "text" if present <= {str, bool, int, float} else "other"


def _stacked(name: str, tables: Sequence[pd.DataFrame]) -> pd.Series:
    """Stack one column."""
    parts = [
        table[name] if name in table else pd.Series(np.nan, table.index, dtype=object) for table in tables
    ]
    kinds = {kind_of(table[name]) for table in tables if name in table}
    if kinds == {"logical"}:
        whole = pd.concat([part.astype("boolean") for part in parts])
        return whole if whole.isna().any() else whole.astype(bool)
    if kinds == {"number"}:
        return _numbers([table.get(name) for table in tables], parts)
    known = [table[name].dtype for table in tables if name in table]
    if kinds == {"text"} and len(set(known)) == 1 and isinstance(known[0], pd.CategoricalDtype):
        return pd.concat([part.astype(known[0]) for part in parts])
    return pd.concat([_text(part) for part in parts]).astype("category")


def _text(column: pd.Series) -> pd.Series:
    """Write a column as text, missing where it is; dates without a time of day as days."""
    if kind_of(column) != "other":
        return level_text(column)
    text = np.full(len(column), None, dtype=object)
    text[column.notna()] = column.dropna().infer_objects().astype(str)
    return pd.Series(text, column.index)


def _numbers(columns: Sequence[pd.Series | None], parts: Sequence[pd.Series]) -> pd.Series:
    """Stack numbers; whole numbers with a mask (``Int64``) keep it, other types have NaN where a set lacks the column."""
    masked = all(column is None or types.is_extension_array_dtype(column.dtype) for column in columns)
    dtype = next(column.dtype for column in columns if column is not None) if masked else np.dtype(float)
    whole = pd.concat(
        [
            part.astype(dtype) if column is None else column
            for column, part in zip(columns, parts, strict=True)
        ]
    )
    masked_float = types.is_extension_array_dtype(whole.dtype) and types.is_float_dtype(whole.dtype)
    return whole.astype(float) if masked_float else whole
