"""The text of a level of a categorical column, one rule for both languages (bridge/FORMAT.md, "Levels")."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

#: a whole number with a decimal point, as versions before this rule wrote it
_WITH_POINT = re.compile(r"^(-?[0-9]+)\.0$")


def level_text(column: pd.Series) -> pd.Series:
    """Write the values of a column as text: 1 and 1.0 become ``1``, truth values ``True`` and ``False``, text stays.

    Returns
    -------
    Text (object), missing where the column has missing values.
    """
    if column.dtype == object:  # True and 1 are different here, which `factorize` takes for equal
        return column.map(value_text, na_action="ignore").astype(object).where(column.notna(), None)
    codes, values = pd.factorize(column)
    texts = np.array(
        [*(value_text(value) for value in np.asarray(values)), None], dtype=object
    )  # code -1: missing
    return pd.Series(texts[codes], index=column.index, name=column.name, dtype=object)


def value_text(value: Any) -> str:
    """Write one value as the text of its level."""
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < 1e15:
        return str(int(value))
    return str(value)


def level_of(text: str, levels: Sequence[str]) -> str | None:
    """Find the level that a text stands for: an equal one, else the same whole number (``1``, ``1.0``) or truth value (``TRUE``).

    Models of older versions have levels such as ``1.0``. None if there is no such level, or more than one.
    """
    if text in levels:
        return text
    same = [level for level in levels if _in_one_form(level) == _in_one_form(text)]
    return same[0] if len(same) == 1 else None


def _in_one_form(text: str) -> str:
    return text.capitalize() if text in ("TRUE", "FALSE") else _WITH_POINT.sub(r"\1", text)
