"""Confounders c: what z must not know. Learned from the training cells, applied to any cells."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from sailerx.errors import InputError


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation that a continuous confounder is standardised by."""

    name: str
    mean: float
    std: float

    @classmethod
    def learn(cls, name: str, values: np.ndarray) -> Standard:
        """Mean and standard deviation of these values; a constant becomes all zeros."""
        return cls(name, float(values.mean()), float(values.std()) or 1.0)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(value - mean) / std."""
        return ((values - self.mean) / self.std)[:, None]


@dataclass(frozen=True)
class Levels:
    """Levels of a categorical confounder, one column each."""

    name: str
    levels: tuple[str, ...]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """One-hot columns."""
        return (values[:, None] == np.array(self.levels, dtype=object)[None, :]).astype(float)


@dataclass(frozen=True)
class Confounders:
    """The recipe of c: standardised log ATAC depth, one-hot categorical, standardised continuous columns."""

    depth: Standard
    categorical: tuple[Levels, ...]
    continuous: tuple[Standard, ...]

    @classmethod
    def learn(
        cls, depth: np.ndarray, obs: pd.DataFrame, batch_key: Sequence[str], continuous_key: Sequence[str]
    ) -> Confounders:
        """Recipe from the training cells.

        Parameters
        ----------
        depth
            Open peaks of each cell, at least 1.
        obs
            Columns named by the keys, one row per cell.
        batch_key, continuous_key
            Names of the categorical and of the continuous columns.

        Raises
        ------
        InputError
            For missing values, or a continuous column that is not numeric.
        """
        levels = [_levels(name, obs[name]) for name in batch_key]
        continuous = [Standard.learn(name, _numbers(name, obs[name])) for name in continuous_key]
        kept = tuple(level for level in levels if len(level.levels) > 1)
        return cls(Standard.learn("log_atac_depth", np.log(depth)), kept, tuple(continuous))

    def apply(self, depth: np.ndarray, obs: pd.DataFrame) -> np.ndarray:
        """C of these cells: cells × confounders, float32."""
        columns = [self.depth.apply(np.log(depth))]
        columns += [
            part.apply(obs[part.name].astype(str).to_numpy(dtype=object)) for part in self.categorical
        ]
        columns += [part.apply(_numbers(part.name, obs[part.name])) for part in self.continuous]
        return np.concatenate(columns, axis=1).astype(np.float32)

    @property
    def names(self) -> list[str]:
        """Name of each column of c."""
        one_hot = [f"{part.name}={level}" for part in self.categorical for level in part.levels]
        return [self.depth.name, *one_hot, *(part.name for part in self.continuous)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Confounders:
        """The inverse of `to_dict`."""
        return cls(
            Standard(**d["depth"]),
            tuple(Levels(part["name"], tuple(part["levels"])) for part in d["categorical"]),
            tuple(Standard(**part) for part in d["continuous"]),
        )


def _levels(name: str, column: pd.Series) -> Levels:
    _refuse_missing(name, column)
    levels = Levels(name, tuple(sorted(column.astype(str).unique())))
    if len(levels.levels) == 1:
        warnings.warn(
            f"batch column {name!r} has one level ({levels.levels[0]!r}) and is ignored.", stacklevel=2
        )
    return levels


def _numbers(name: str, column: pd.Series) -> np.ndarray:
    _refuse_missing(name, column)
    if not pd.api.types.is_numeric_dtype(column):
        raise InputError(
            f"continuous confounder {name!r} must be numeric, found {column.dtype}. "
            "Give it as `batch_key` if it is a category."
        )
    values = column.to_numpy(dtype=float)
    if not np.isfinite(values).all():
        raise InputError(
            f"continuous confounder {name!r} must be finite, found infinite values. Replace or drop them."
        )
    return values


def _refuse_missing(name: str, column: pd.Series) -> None:
    missing = column.isna()
    if missing.any():
        raise InputError(
            f"confounder column {name!r} must have a value for every cell: {missing.sum()} of {len(column)} are "
            f"missing, first {column.index[missing.to_numpy()][0]!r}. Fill them (for example with their own level) or "
            "drop those cells."
        )
