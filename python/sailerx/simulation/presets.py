"""Simulations of the size, depth and difficulty of real data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sailerx.errors import InputError
from sailerx.simulation.recipe import Recipe

#: Sizes, median molecules per cell, and standard deviations of log fold changes between types, all fields of `Recipe`. Sizes and
#: depths are those of the data; with these fold changes, nearest neighbours in RNA PCA and in ATAC LSI name the cell type about as
#: often as they do there. benchmarks/realism.py compares them.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # adult mouse cortex by SNARE-seq, GEO GSE126074
        "snareseq": {
            **{"n_cells": 10_000, "n_genes": 1_700, "n_peaks": 26_000, "n_types": 14},
            **{"rna_depth": 300.0, "atac_depth": 98.0, "rna_signal": 0.77, "atac_signal": 0.84},
        },
        # human blood by 10x Multiome: 6 % of the peaks are open in a cell, molecules are a seventh to a quarter of the features
        "10x": {
            **{"n_cells": 5_000, "n_genes": 5_000, "n_peaks": 60_000, "n_types": 12},
            **{"rna_depth": 2_000.0, "atac_depth": 5_200.0, "rna_signal": 0.7, "atac_signal": 0.83},
        },
    }
)


def recipe_of(preset: str | None = None, **given: Any) -> Recipe:
    """Make the recipe of a preset.

    Parameters
    ----------
    preset
        A name in `PRESETS`; None = the defaults of `Recipe`.
    **given
        Fields of `Recipe` that take the place of the preset's; None = the preset's. With other numbers of genes or peaks, the
        preset's depths change in proportion, so that as large a share of the peaks is open in a cell.

    Raises
    ------
    InputError
        If there is no such preset, or a size cannot be simulated.
    """
    if preset is not None and preset not in PRESETS:
        raise InputError(f"`preset` must be one of {sorted(PRESETS)}, got {preset!r}.")
    usual = dict(PRESETS[preset]) if preset is not None else {}
    given = {name: value for name, value in given.items() if value is not None}
    for size, depth in (("n_genes", "rna_depth"), ("n_peaks", "atac_depth")):
        if size in usual and size in given:
            usual[depth] *= given[size] / usual[size]
    return Recipe(**(usual | given))
