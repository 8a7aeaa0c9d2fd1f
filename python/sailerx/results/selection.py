"""The peaks, cells, groups, depth and batch that a user asks a result for, as positions and confounders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sailerx.data.confounders import Confounders, Levels
from sailerx.data.levels import level_of, level_text, value_text
from sailerx.data.peaks import peak_table, same_names
from sailerx.errors import InputError

#: a level, levels by column, or all levels averaged
Batch = str | float | Mapping[str, str | float] | None


def choose_peaks(
    known: pd.DataFrame, peaks: str | Sequence[str] | None, regions: str | Sequence[str] | None
) -> np.ndarray:
    """Positions of the peaks asked for, each once.

    Parameters
    ----------
    known
        The model's peak table.
    peaks
        Names or coordinates in any of the known forms.
    regions
        ``chr1:1000-5000`` or ``chr1``; chosen are peaks that overlap, with ends taken as exclusive.

    Returns
    -------
    First ``peaks`` in the order given, then those of ``regions`` in the model's order; without either, all.

    Raises
    ------
    InputError
        For a peak the model does not have, a region without a peak, or an empty choice.
    """
    if peaks is None and regions is None:
        return np.arange(len(known))
    chosen = [_named_peaks(known, _as_list(peaks))] if peaks is not None else []
    chosen += [_overlapping(known, region) for region in _as_list(regions)]
    if not chosen or not sum(map(len, chosen)):
        raise InputError("`peaks` and `regions` name no peak. Give at least one, or neither for all peaks.")
    return pd.unique(np.concatenate(chosen))


def _as_list(names: str | Sequence[str] | None) -> list[str]:
    return [] if names is None else [names] if isinstance(names, str) else [str(name) for name in names]


def _named_peaks(known: pd.DataFrame, names: list[str]) -> np.ndarray:
    place = known.index.get_indexer(pd.Index(names))
    if (place < 0).any() and len(known.columns):
        for others in (same_names(known.index, pd.Index(names)), _by_coordinates(known, names)):
            place = np.where(place < 0, others, place)
    missing = np.flatnonzero(place < 0)
    if len(missing):
        raise InputError(
            f"the model does not know {len(missing)} of {len(names)} `peaks`, first {names[missing[0]]!r}. Its own are "
            f"named like {known.index[0]!r} (see `model.peaks`); `regions` takes what overlaps."
        )
    return place


def _by_coordinates(known: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Positions of peaks written in another form, -1 where there is none."""
    readable = [peak_table(pd.DataFrame(index=[name])) for name in names]
    keys = [None if table is None else tuple(table.iloc[0]) for table in readable]
    place_of = {key: i for i, key in enumerate(known.itertuples(index=False, name=None))}
    return np.array([place_of.get(key, -1) if key else -1 for key in keys])


def _overlapping(known: pd.DataFrame, region: str) -> np.ndarray:
    if not len(known.columns):
        raise InputError(
            "`regions` needs peaks with coordinates, which this model was trained without. Use `peaks`."
        )
    chrom, start, end = _interval(known, region)
    on_chrom = (known["chrom"] == chrom).to_numpy()
    hit = on_chrom & (known["start"] < end).to_numpy() & (known["end"] > start).to_numpy()
    if not hit.any():
        there = known[on_chrom]
        what = (
            f"{chrom} has {len(there):,} peaks from {there['start'].min():,} to {there['end'].max():,}"
            if len(there)
            else f"chromosomes are {', '.join(pd.unique(known['chrom'])[:5])} …"
        )
        raise InputError(f"no peak of the model lies in region {region!r}: {what}. Choose another region.")
    return np.flatnonzero(hit)


def _interval(known: pd.DataFrame, region: str) -> tuple[str, float, float]:
    if (known["chrom"] == region).any():
        return region, -math.inf, math.inf
    table = peak_table(pd.DataFrame(index=[region.replace(",", "")]))
    if table is None or table["start"].iloc[0] >= table["end"].iloc[0]:
        raise InputError(
            f"a region must be like 'chr1:1000-5000' (start below end) or a chromosome of the model, got {region!r}; "
            f"chromosomes are {', '.join(pd.unique(known['chrom'])[:5])} …"
        )
    return str(table["chrom"].iloc[0]), int(table["start"].iloc[0]), int(table["end"].iloc[0])


def choose_cells(names: pd.Index, cells: Sequence[str] | np.ndarray | None) -> np.ndarray:
    """Positions of the cells asked for: barcodes in the order given, or one truth value per cell.

    Raises
    ------
    InputError
        For unknown or repeated barcodes, a mask of another length, or no cell at all.
    """
    if cells is None:
        return np.arange(len(names))
    asked = np.asarray([cells] if isinstance(cells, str) else cells)
    if asked.dtype == bool:
        if asked.shape != (len(names),):
            raise InputError(
                f"`cells` as truth values must have one per ATAC cell: expected {len(names)}, got {asked.size}."
            )
        rows = np.flatnonzero(asked)
    else:
        rows = names.astype(str).get_indexer(pd.Index(asked.astype(str)))
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise InputError(
            f"{len(missing)} of {len(asked)} `cells` are not in the data, first {str(asked[missing[0]])!r}; the data's are "
            f"like {names[0]!r}. Check for suffixes such as '-1'."
        )
    if len(np.unique(rows)) < len(rows) or not len(rows):
        what = "is empty" if not len(rows) else "names a cell twice"
        raise InputError(f"`cells` must name at least one cell and each once, but {what}.")
    return rows


def labels_of(groups: pd.Series) -> pd.Categorical:
    """Group of each cell; the levels that have cells, in their order.

    Raises
    ------
    InputError
        If a cell has none.
    """
    missing = groups.isna()
    if missing.any():
        raise InputError(
            f"column {groups.name!r} must have a value for every cell: {missing.sum()} of {len(groups)} are missing, first "
            f"{groups.index[missing.to_numpy()][0]!r}. Fill them, or choose cells that have one with `cells`."
        )
    if not isinstance(groups.dtype, pd.CategoricalDtype):
        return pd.Categorical(level_text(groups))
    kept = groups.cat.remove_unused_categories()
    return pd.Categorical(kept.cat.rename_categories(level_text(kept.cat.categories.to_series()).tolist()))


def neutral_confounders(confounders: Confounders, depth: float | None, batch: Batch) -> np.ndarray:
    """C that all cells share.

    Parameters
    ----------
    confounders
        The model's recipe of c.
    depth
        Open peaks of every cell; by default the geometric mean over the training cells (0 in standardised log depth).
    batch
        A level, or ``{column: level}``. A column without a chosen level is at the mean of its one-hot columns, every
        level with equal weight.

    Returns
    -------
    One value per confounder, float32. Continuous confounders are at their training mean. The mean of the one-hot columns
    takes one pass of the decoder however many batches there are; on simulated batches the mean of the probabilities of
    all batches, a pass for each, is no closer to the truth (squared errors within 1 % of each other).

    Raises
    ------
    InputError
        For a depth that is not positive, or a column or level the model does not know.
    """
    if depth is not None and not (math.isfinite(depth) and depth > 0):
        raise InputError(f"`depth` must be a positive number of open peaks, got {depth!r}.")
    standard = np.zeros(1) if depth is None else confounders.depth.apply(np.log([depth]))[0]
    chosen = _chosen_levels(confounders, batch)
    one_hot = [
        part.apply(np.array(chosen.get(part.name, part.levels), dtype=object)).mean(axis=0)
        for part in confounders.categorical
    ]
    return np.concatenate([standard, *one_hot, np.zeros(len(confounders.continuous))]).astype(np.float32)


def _chosen_levels(confounders: Confounders, batch: Batch) -> dict[str, list[str]]:
    known = {part.name: part for part in confounders.categorical}
    if batch is None:
        return {}
    if not isinstance(batch, Mapping):
        batch = {_column_with(known, value_text(batch)): batch}
    chosen = {}
    for name, level in batch.items():
        found = level_of(value_text(level), known[name].levels) if name in known else None
        if found is None:
            raise InputError(f"the model knows no batch {name!r} = {level!r}. {_described(known)}")
        chosen[name] = [found]
    return chosen


def _column_with(known: Mapping[str, Levels], level: str) -> str:
    """The one batch column that has this level."""
    names = [name for name, part in known.items() if level_of(level, part.levels) is not None]
    if len(names) != 1:
        found = f"is a level of {', '.join(names)}" if names else "is none of them"
        raise InputError(
            f"`batch` must be a level of one confounder, but {level!r} {found}. {_described(known)}"
        )
    return names[0]


def batch_of_words(confounders: Confounders, words: Sequence[str]) -> Batch:
    """Read a batch as it is typed on the command line: a level, or COLUMN=LEVEL for each of several columns.

    Levels and names of columns may hold ``=`` themselves: what the model knows decides. One word that is a level of a column is
    that level, whatever signs it has.

    Raises
    ------
    InputError
        If a word is neither.
    """
    known = {part.name: part for part in confounders.categorical}
    if len(words) == 1 and any(level_of(words[0], part.levels) is not None for part in known.values()):
        return words[0]
    chosen: dict[str, str | float] = {}
    for word in words:
        parts = [(word[:i], word[i + 1 :]) for i, sign in enumerate(word) if sign == "="]
        column, level = next((part for part in parts if part[0] in known), (None, None))
        if column is None or level is None:
            if len(words) == 1:
                return word
            raise InputError(
                f"`batch` must be one level, or COLUMN=LEVEL for each column, got {word!r}. {_described(known)}"
            )
        chosen[column] = level
    return chosen or None


def _described(known: Mapping[str, Levels]) -> str:
    if not known:
        return "It was trained without batches: leave `batch` out."
    return (
        "There are: " + "; ".join(f"{name}: {', '.join(part.levels)}" for name, part in known.items()) + "."
    )
