"""Encode confounders c (depth, batch, covariates), which z is to be independent of: learn on training cells, apply to any."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from sailerx.data.levels import level_of, level_text
from sailerx.errors import InputError

#: so many levels are a batch in however few cells
_FEW_LEVELS = 10


@dataclass(frozen=True)
class ZScore:
    """Standardisation of a continuous confounder by its mean and standard deviation over the training cells."""

    name: str
    mean: float
    std: float

    @classmethod
    def learn(cls, name: str, values: np.ndarray) -> ZScore:
        """Compute mean and standard deviation; the standard deviation of a constant is set to 1, so it becomes all zeros."""
        return cls(name, float(values.mean()), float(values.std()) or 1.0)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Compute (value - mean) / std: cells × 1."""
        return ((values - self.mean) / self.std)[:, None]


@dataclass(frozen=True)
class Levels:
    """One-hot encoding of a categorical confounder, one column per level."""

    name: str
    levels: tuple[str, ...]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Encode values (text) as 0/1: cells × levels; a value that is no level becomes a row of zeros."""
        level = {text: level_of(text, self.levels) for text in pd.unique(values) if text is not None}
        known = np.array([level.get(text) for text in values], dtype=object)
        return (known[:, None] == np.array(self.levels, dtype=object)[None, :]).astype(float)


@dataclass(frozen=True)
class Confounders:
    """Encoding of c: standardised log ATAC depth, one-hot categorical columns, standardised continuous columns."""

    depth: ZScore
    categorical: tuple[Levels, ...]
    continuous: tuple[ZScore, ...]

    @classmethod
    def learn(
        cls, depth: np.ndarray, obs: pd.DataFrame, batch_key: Sequence[str], continuous_key: Sequence[str]
    ) -> Confounders:
        """Learn the encoding from the training cells.

        Parameters
        ----------
        depth
            ATAC depth: open peaks per cell, at least 1.
        obs
            One row per cell, with the columns that the keys name.
        batch_key, continuous_key
            Names of the categorical and of the continuous columns. A categorical column with one level is ignored.

        Raises
        ------
        InputError
            For missing values, or a continuous column that is not numeric or not finite.
        """
        levels = [_levels(name, obs[name]) for name in batch_key]
        continuous = [ZScore.learn(name, _numeric_values(name, obs[name])) for name in continuous_key]
        kept = tuple(level for level in levels if len(level.levels) > 1)
        return cls(ZScore.learn("log_atac_depth", np.log(depth)), kept, tuple(continuous))

    def apply(self, depth: np.ndarray, obs: pd.DataFrame) -> np.ndarray:
        """Encode cells by the levels and scales learned: cells × confounders, float32.

        Parameters
        ----------
        depth
            ATAC depth: open peaks per cell, at least 1.
        obs
            One row per cell, with the columns that the encoding was learned from.

        Raises
        ------
        InputError
            If a continuous column holds missing or infinite values.
        """
        columns = [self.depth.apply(np.log(depth))]
        columns += [
            part.apply(level_text(obs[part.name]).to_numpy(dtype=object)) for part in self.categorical
        ]
        columns += [part.apply(_numeric_values(part.name, obs[part.name])) for part in self.continuous]
        return np.concatenate(columns, axis=1).astype(np.float32)

    @property
    def names(self) -> list[str]:
        """Names of the columns of c; ``column=level`` for one-hot columns."""
        one_hot = [f"{part.name}={level}" for part in self.categorical for level in part.levels]
        return [self.depth.name, *one_hot, *(part.name for part in self.continuous)]

    def to_dict(self) -> dict[str, Any]:
        """Convert to nested dictionaries for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Confounders:
        """Rebuild from the dictionaries of `to_dict`."""
        return cls(
            ZScore(**d["depth"]),
            tuple(Levels(part["name"], tuple(part["levels"])) for part in d["categorical"]),
            tuple(ZScore(**part) for part in d["continuous"]),
        )


def _levels(name: str, column: pd.Series) -> Levels:
    _refuse_missing(name, column)
    levels = Levels(name, tuple(sorted(level_text(column).unique())))
    if len(levels.levels) > max(len(column) / 2, _FEW_LEVELS):
        raise InputError(
            f"a batch must have several cells, but batch column {name!r} has {len(levels.levels):,} levels for {len(column):,} cells. "
            "Numbers are covariates (`continuous_key`; in R `covariates`); else name a column with fewer levels."
        )
    if len(levels.levels) == 1:
        warnings.warn(
            f"batch column {name!r} has one level ({levels.levels[0]!r}) and is ignored.", stacklevel=2
        )
    return levels


def _numeric_values(name: str, column: pd.Series) -> np.ndarray:
    _refuse_missing(name, column)
    if not pd.api.types.is_numeric_dtype(column):
        raise InputError(
            f"continuous confounder {name!r} must be numeric, found {column.dtype}. "
            f"{_numeric_hint(name, column)}"
        )
    values = column.to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise InputError(
            f"continuous confounder {name!r} must be finite, found infinite values. Replace or drop them."
        )
    return values


def _numeric_hint(name: str, column: pd.Series) -> str:
    """Say how the column could be used: as numbers if it holds them as text, else as a category."""
    if pd.to_numeric(level_text(column), errors="coerce").notna().all():
        return f"Its values are numbers stored as text or categories: make them numbers, `obs[{name!r}].astype(str).astype(float)`."
    return "Name it among the batches (`batch_key`; in R `batch`) if it is a category."


def _refuse_missing(name: str, column: pd.Series) -> None:
    missing = column.isna()
    if missing.any():
        raise InputError(
            f"confounder column {name!r} must have a value for every cell: {missing.sum()} of {len(column)} are "
            f"missing, first {column.index[missing.to_numpy()][0]!r}. Fill them (for example with their own level) or "
            "drop those cells."
        )
