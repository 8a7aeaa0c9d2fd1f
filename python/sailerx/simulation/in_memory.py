"""Simulate a MuData object in memory, and compute the expected counts of its cells."""

from __future__ import annotations

import os
from typing import Any, Literal

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from sailerx.simulation.draw import Profile, Truth, component_weights, draw_chunks, draw_truth, log_shares
from sailerx.simulation.presets import recipe_of
from sailerx.simulation.recipe import Recipe, gene_table, peak_table


def simulate(
    n_cells: int | None = None,
    n_genes: int | None = None,
    n_peaks: int | None = None,
    n_types: int | None = None,
    *,
    preset: Literal["snareseq", "10x"] | None = None,
    seed: int = Recipe.seed,
    genome: str | os.PathLike[str] | None = None,
    **options: Any,
) -> mudata.MuData:
    """Simulate paired RNA and ATAC counts with cell types, batches, and depth that depends on both.

    Parameters
    ----------
    n_cells, n_genes, n_peaks, n_types
        As in `Recipe`; by default the preset's, or 2,000 cells of 12 types, 3,000 genes and 20,000 peaks.
    preset
        Size, depth and overlap of cell types as in real data: ``"snareseq"``, mouse cortex (10,000 cells × 1,700 genes × 26,000
        peaks, 80 open peaks per cell), or ``"10x"``, blood by 10x Multiome (5,000 cells × 5,000 genes × 60,000 peaks, 3,700 open
        peaks per cell). With other numbers of genes or peaks, depth changes in proportion.
    seed
        Equal arguments and seed give equal data.
    genome
        Also write a genome to this FASTA file: GC content is higher in peaks that are more open or that the first batch opens, and
        a motif of JASPAR, of another factor for each cell type, is planted in peaks of that type. Needs
        ``pip install 'sailerx[motifs]'``. The counts are the same with and without it.
    **options
        Any other field of `Recipe`.

    Returns
    -------
    MuData with modalities ``rna`` (cells × genes) and ``atac`` (cells × peaks): raw counts (CSR, float32) of the same cells.
    The global obs and that of each modality hold ``cell_type``, ``lineage``, ``batch``, ``true_rna_depth`` and
    ``true_atac_depth`` (expected molecules), the weights of the components and, if types are split, ``subtype``; ``atac.var``
    holds ``chrom``, ``start``, ``end``; ``uns["truth"]`` of each modality holds the profiles, from which `expected_share` computes
    expected counts, and with ``genome`` the motif planted for each type (``motif``) and the peaks that got it
    (``motif_planted``, types × peaks).

    Raises
    ------
    InputError
        If there is no such preset, or a size cannot be simulated.

    Examples
    --------
    >>> import sailerx
    >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> mdata["rna"].shape, mdata["atac"].shape, mdata.obs["cell_type"].nunique()
    ((60, 100), (60, 90), 3)
    """
    recipe = recipe_of(
        preset, n_cells=n_cells, n_genes=n_genes, n_peaks=n_peaks, n_types=n_types, seed=seed, **options
    )
    truth = draw_truth(recipe)
    planted = {} if genome is None else _with_genome(genome, recipe, truth)
    chunks = list(draw_chunks(recipe, truth))
    obs = pd.concat([chunk.obs for chunk in chunks])
    rna, atac = (sp.vstack([getattr(c, name) for c in chunks], format="csr") for name in ("rna", "atac"))
    mods = {
        "rna": ad.AnnData(rna, obs.copy(), gene_table(recipe), {"truth": truth_tables(recipe, truth, "rna")}),
        "atac": ad.AnnData(
            atac, obs.copy(), peak_table(recipe), {"truth": truth_tables(recipe, truth, "atac") | planted}
        ),
    }
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData(mods)
        mdata.obs = obs
    return mdata


def _with_genome(path: str | os.PathLike[str], recipe: Recipe, truth: Truth) -> dict[str, np.ndarray]:
    """Write the genome; returns what is true of it."""
    from sailerx.simulation.genome import plan_genome, planting_tables, write_genome

    planting = plan_genome(recipe, truth)
    write_genome(path, peak_table(recipe), planting, recipe.seed)
    return dict(planting_tables(planting))


def expected_share(adata: ad.AnnData, batch: str | None = None) -> np.ndarray:
    """Compute the expected share of each feature among the molecules of each cell.

    Parameters
    ----------
    adata
        One modality of simulated data, or a subset of its cells.
    batch
        Name of the batch whose tilt is applied to all cells; ``None`` = no tilt.

    Returns
    -------
    Shares, cells × features, float32, dense; each row sums to 1. Subset large data first.
    """
    truth = adata.uns["truth"]
    components = list(truth["component"])
    n_types = components.index("ambient")
    n_programs = sum(str(name).startswith("program") for name in components)
    n_splits = len(components) - n_types - 1 - n_programs
    recipe = Recipe(n_types=n_types, n_programs=n_programs, n_atac_splits=n_splits)
    log_share = truth["log_share"]
    if batch is not None:
        log_share = log_shares(log_share + truth["batch_tilt"][list(truth["batch"]).index(batch)])
    return (component_weights(adata.obs, recipe, truth["sibling"]) @ np.exp(log_share)).astype(np.float32)


def truth_tables(recipe: Recipe, truth: Truth, modality: str) -> dict[str, np.ndarray]:
    """Collect the arrays that ``uns["truth"]`` of a modality holds."""
    profile: Profile = getattr(truth, modality)
    return {
        "component": np.array(recipe.components, dtype=object),
        "log_share": profile.log_share.astype(np.float32),
        "batch": np.array(recipe.batches, dtype=object),
        "batch_tilt": profile.tilt.astype(np.float32),
        "sibling": truth.sibling.astype(np.int64),
    }
