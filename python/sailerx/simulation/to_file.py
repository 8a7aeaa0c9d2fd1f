"""Simulate data straight into a file, in memory that does not grow with the number of cells."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

from sailerx.files.h5mu_writer import CsrWriter, FrameWriter, atomic_h5mu, finish_h5mu, write_anndata
from sailerx.simulation.draw import draw_chunks, draw_truth
from sailerx.simulation.in_memory import truth_tables
from sailerx.simulation.presets import recipe_of
from sailerx.simulation.recipe import Recipe, gene_table, peak_table


def simulate_to_file(
    path: str | os.PathLike[str],
    n_cells: int | None = None,
    n_genes: int | None = None,
    n_peaks: int | None = None,
    n_types: int | None = None,
    *,
    preset: Literal["snareseq", "10x"] | None = None,
    seed: int = Recipe.seed,
    compression: str | None = "gzip",
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> None:
    """Simulate data as `simulate` does, but straight into an .h5mu file, 1,000 cells at a time.

    Memory grows with the number of peaks, not of cells; row pointers are int64, so 10⁶ cells × 3·10⁵ peaks can be written.
    The file appears under its name once it is complete.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    n_cells, n_genes, n_peaks, n_types, preset, seed, **options
        As in `simulate`.
    compression
        HDF5 filter of the counts: `"gzip"` (level 1), `"lzf"` or None.
    progress
        Called after each 1,000 cells as ``progress(n_written, n_cells)``.

    Raises
    ------
    InputError
        If a size cannot be simulated, the folder of ``path`` does not exist, or ``path`` is a folder.

    Examples
    --------
    >>> import sailerx, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sailerx.simulate_to_file(f"{folder}/cells.h5mu", 60, 100, 90, 3)
    ...     sailerx.read(f"{folder}/cells.h5mu")["atac"].shape
    (60, 90)
    """
    recipe = recipe_of(
        preset, n_cells=n_cells, n_genes=n_genes, n_peaks=n_peaks, n_types=n_types, seed=seed, **options
    )
    n, truth = recipe.n_cells, draw_truth(recipe)
    tables = {"rna": gene_table(recipe), "atac": peak_table(recipe)}
    with atomic_h5mu(path) as file:
        groups = {
            name: write_anndata(
                file.require_group("mod"), name, table, {"truth": truth_tables(recipe, truth, name)}
            )
            for name, table in tables.items()
        }
        matrices = {
            name: CsrWriter(group, "X", (n, len(tables[name])), compression) for name, group in groups.items()
        }
        frames: list[FrameWriter] = []
        for chunk in draw_chunks(recipe, truth):
            frames = frames or [FrameWriter(g, "obs", chunk.obs, n) for g in (file, *groups.values())]
            for frame in frames:
                frame.append(chunk.obs)
            for name, matrix in matrices.items():
                matrix.append(getattr(chunk, name))
            if progress is not None:
                progress(frames[0].rows, n)
        finish_h5mu(file, n, {name: table.index for name, table in tables.items()})
