"""Paired RNA + ATAC counts with known truth: in memory, or streamed to a file of any number of cells.

Every molecule of a cell comes from one *component*: the profile of its cell type, of a sibling type (cells
in transition), of the ambient mixture, or of an activity program that any type can run. A component is a
share per feature; a batch tilts all shares. So the expected counts of every cell are known exactly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from sailerx.errors import InputError
from sailerx.stream import CsrWriter, FrameWriter, atomic_h5mu, finish_h5mu, write_anndata

CELLS_PER_CHUNK = 1000  # part of the recipe: each chunk has its own seed, in memory and on disk alike
SMALL_CONTIGS = ("chr1_KI270706v1_random", "HLA-A*01:01", "GL000205.2", "chrUn-JTFH01")
CODES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Recipe:
    """What to simulate.

    Attributes
    ----------
    n_cells, n_genes, n_peaks
        Sizes. Each cell has both modalities.
    n_types
        Cell types, in lineages of about three: `A1`, `A2`, `A3`, `B1` and so on, from frequent to rare: of
        the default 12 types the first has about 30 times as many cells as the last.
    seed
        The same seed and sizes give the same data, in memory or on disk.
    n_batches
        Experimental batches, of unequal size and slightly different composition.
    n_programs
        Activity programs that cells of any type run to some degree, in both modalities.
    n_chroms, n_contigs
        Chromosomes, and small contigs with awkward names (at most 4) that hold a few peaks each.
    rna_depth, atac_depth
        Median molecules per cell. By default 0.2 per gene and 0.012 per peak, but at least 40.
    rna_signal, atac_signal
        Standard deviation, in log units, of the differences between cell types over the features that differ.
        By default 0.7 and 0.83 at the default depth, more for shallower cells (at most 2) and less for deeper
        ones, so that data of any size are about as hard to cluster.
    rna_batch, atac_batch
        Standard deviation of a batch's tilt of the log shares.
    """

    n_cells: int = 2000
    n_genes: int = 3000
    n_peaks: int = 20_000
    n_types: int = 12
    seed: int = 0
    n_batches: int = 3
    n_programs: int = 3
    n_chroms: int = 10
    n_contigs: int = 2
    rna_depth: float | None = None
    atac_depth: float | None = None
    rna_signal: float | None = None
    atac_signal: float | None = None
    rna_batch: float = 0.1
    atac_batch: float = 0.25

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be simulated."""
        for name in ("n_cells", "n_genes", "n_peaks", "n_types", "n_batches", "n_chroms"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.n_types > 3 * len(CODES):
            raise InputError(f"`n_types` must be at most {3 * len(CODES)}, got {self.n_types}.")
        if not 0 <= self.n_contigs <= len(SMALL_CONTIGS):
            raise InputError(f"`n_contigs` must be 0 to {len(SMALL_CONTIGS)}, got {self.n_contigs}.")
        if self.n_peaks < self.n_chroms + self.n_contigs:
            raise InputError(
                f"Each chromosome and contig needs a peak: `n_peaks` must be at least "
                f"{self.n_chroms + self.n_contigs}, got {self.n_peaks}."
            )

    def depth(self, modality: str) -> float:
        """Median molecules per cell of one modality."""
        given = {"rna": self.rna_depth, "atac": self.atac_depth}[modality]
        usual = {"rna": 0.2 * self.n_genes, "atac": 0.012 * self.n_peaks}[modality]
        return max(usual, 40.0) if given is None else given

    def signal(self, modality: str) -> float:
        """Standard deviation of the differences between cell types of one modality."""
        given = {"rna": self.rna_signal, "atac": self.atac_signal}[modality]
        usual, at_depth = {"rna": (0.7, 600.0), "atac": (0.83, 240.0)}[modality]
        return min(usual * (at_depth / self.depth(modality)) ** 0.5, 2.0) if given is None else given

    @property
    def lineages(self) -> list[np.ndarray]:
        """Numbers of the cell types of each lineage."""
        return np.array_split(np.arange(self.n_types), min(max(-(-self.n_types // 3), 2), self.n_types))

    @property
    def lineage(self) -> np.ndarray:
        """Number of the lineage of each cell type."""
        return np.repeat(np.arange(len(self.lineages)), [len(types) for types in self.lineages])

    @property
    def types(self) -> list[str]:
        """Names of the cell types."""
        return [f"{CODES[i]}{j + 1}" for i, types in enumerate(self.lineages) for j in range(len(types))]

    @property
    def batches(self) -> list[str]:
        """Names of the batches."""
        return [f"batch{i + 1}" for i in range(self.n_batches)]

    @property
    def components(self) -> list[str]:
        """Names of the components: the cell types, the ambient mixture, the programs."""
        return [*self.types, "ambient", *(f"program{i + 1}" for i in range(self.n_programs))]


@dataclass(frozen=True)
class Profile:
    """Shares of the features of one modality.

    Attributes
    ----------
    log_share
        Log share of each feature in each component, components × features; each row's shares sum to 1.
    tilt
        What a batch adds to the log shares before they are scaled to sum to 1 again, batches × features.
    """

    log_share: np.ndarray
    tilt: np.ndarray

    @cached_property
    def cumulative(self) -> np.ndarray:
        """Cumulative share, batches × components × features."""
        tilted = self.log_share[None] + self.tilt[:, None]
        return np.cumsum(np.exp(_log_shares(tilted), out=tilted), axis=-1, out=tilted)


@dataclass(frozen=True)
class Truth:
    """All that is drawn once, before any cell.

    Attributes
    ----------
    rna, atac
        The profiles of the two modalities.
    type_share
        Frequency of each cell type in each batch, batches × types.
    batch_share
        Frequency of each batch.
    sibling
        For each type the type of its lineage that its cells drift towards.
    type_depth
        What a type adds to the log depth, types × (RNA, ATAC).
    batch_depth
        What a batch adds to the log depth, batches × (RNA, ATAC).
    """

    rna: Profile
    atac: Profile
    type_share: np.ndarray
    batch_share: np.ndarray
    sibling: np.ndarray
    type_depth: np.ndarray
    batch_depth: np.ndarray


def _log_shares(log_weight: np.ndarray) -> np.ndarray:
    """Scale in place so that the shares along the last axis sum to 1."""
    log_weight -= np.log(np.exp(log_weight).sum(axis=-1, keepdims=True))
    return log_weight


def _sparse_normal(
    rng: np.random.Generator, shape: tuple[int, int], fraction: float, std: float
) -> np.ndarray:
    """Normal numbers in a random fraction of the places, zero elsewhere."""
    return rng.normal(0.0, std, shape) * (rng.random(shape) < fraction)


def _profile(rng: np.random.Generator, recipe: Recipe, n: int, signal: float, batch: float) -> Profile:
    """Draw the shares of `n` features: a common level, then lineage, type and program effects."""
    level = rng.normal(0.0, 1.4, n).clip(-4.0, 3.2)
    effect = _sparse_normal(rng, (len(recipe.lineages), n), 0.15, signal)[recipe.lineage]
    effect += _sparse_normal(rng, (recipe.n_types, n), 0.3, signal)
    types = _log_shares(level + effect)
    ambient = np.log(np.exp(types).mean(axis=0, keepdims=True))
    programs = _log_shares(level + _sparse_normal(rng, (recipe.n_programs, n), 0.2, 1.0))
    tilt = rng.normal(0.0, batch, (recipe.n_batches, n))
    return Profile(np.concatenate([types, ambient, programs]), tilt)


def draw_truth(recipe: Recipe) -> Truth:
    """Draw everything that the cells share.

    Parameters
    ----------
    recipe
        What to simulate.

    Returns
    -------
    The profiles and frequencies; they depend on the seed and the sizes, not on the number of cells.
    """
    rng = np.random.default_rng([recipe.seed, 0])
    n_types, n_batches = recipe.n_types, recipe.n_batches
    share = np.geomspace(1.0, 0.4 / n_types, n_types)
    type_share = share * np.exp(rng.normal(0.0, 0.3, (n_batches, n_types)))
    batch_share = np.geomspace(1.0, 0.4, n_batches)
    return Truth(
        rna=_profile(rng, recipe, recipe.n_genes, recipe.signal("rna"), recipe.rna_batch),
        atac=_profile(rng, recipe, recipe.n_peaks, recipe.signal("atac"), recipe.atac_batch),
        type_share=type_share / type_share.sum(axis=1, keepdims=True),
        batch_share=batch_share / batch_share.sum(),
        sibling=np.concatenate([np.roll(types, -1) for types in recipe.lineages]),
        type_depth=_draw_depths(rng, 0.25, n_types),
        batch_depth=_draw_depths(rng, 0.15, n_batches),
    )


def _draw_cells(rng: np.random.Generator, recipe: Recipe, truth: Truth, first: int, n: int) -> pd.DataFrame:
    """Draw the metadata of `n` cells: type, batch, depths and the weights of the components."""
    batch = rng.choice(recipe.n_batches, n, p=truth.batch_share)
    cumulative = truth.type_share.cumsum(axis=1)[batch]
    kind = (rng.random((n, 1)) > cumulative).sum(axis=1).clip(max=recipe.n_types - 1)
    noise = _draw_depths(rng, 0.55, n)
    log_depth = truth.type_depth[kind] + truth.batch_depth[batch] + noise
    log_depth += np.log([recipe.depth("rna"), recipe.depth("atac")])
    lineages = list(CODES[: len(recipe.lineages)])
    obs = {
        "cell_type": pd.Categorical.from_codes(kind, pd.Index(recipe.types)),
        "lineage": pd.Categorical.from_codes(recipe.lineage[kind], pd.Index(lineages)),
        "batch": pd.Categorical.from_codes(batch, pd.Index(recipe.batches)),
        "true_rna_depth": np.exp(log_depth[:, 0]),
        "true_atac_depth": np.exp(log_depth[:, 1]),
        **_draw_weights(rng, recipe, noise[:, 1]),
    }
    return pd.DataFrame(obs, index=pd.Index(_barcodes(first, n), dtype=object))


def _draw_depths(rng: np.random.Generator, std: float, n: int) -> np.ndarray:
    """Draw `n` pairs of RNA and ATAC log depth that correlate at 0.5, as in SNARE-seq data."""
    return rng.multivariate_normal([0.0, 0.0], std**2 * np.array([[1.0, 0.5], [0.5, 1.0]]), n)


def _draw_weights(rng: np.random.Generator, recipe: Recipe, depth: np.ndarray) -> dict[str, np.ndarray]:
    """Draw how much of a cell is not of its own type; `depth` is its ATAC log depth within type and batch."""
    n = len(depth)
    ambient = 0.1 + 0.2 / (1.0 + np.exp(1.5 * depth))  # shallow cells hold more ambient molecules
    active = rng.beta(2.0, 6.0, n) * (1 - ambient) * (recipe.n_programs > 0)
    transition = 0.5 * rng.beta(0.6, 2.4, n) * (1 - ambient - active)
    programs = active[:, None] * rng.dirichlet(np.full(max(recipe.n_programs, 1), 0.5), n)
    named = {f"program{i + 1}": programs[:, i] for i in range(recipe.n_programs)}
    return {"transition": transition, "ambient": ambient, **named}


def _barcodes(first: int, n: int) -> list[str]:
    """Made-up 10x barcodes, unique by construction: the cell's number, times an odd number, in base 4."""
    number = np.arange(first, first + n, dtype=np.uint64) * np.uint64(2654435761)
    digits = (number[:, None] >> np.arange(30, -2, -2, dtype=np.uint64)) & np.uint64(3)
    return ["".join(row) + "-1" for row in np.array(list("ACGT"))[digits]]


def component_weights(obs: pd.DataFrame, recipe: Recipe, sibling: np.ndarray) -> np.ndarray:
    """Share of each cell's molecules that comes from each component.

    Parameters
    ----------
    obs
        Metadata of the simulated cells.
    recipe
        What was simulated.
    sibling
        The sibling of each type.

    Returns
    -------
    Weights, cells × components; each row sums to 1.
    """
    cell, kind = np.arange(len(obs)), obs["cell_type"].cat.codes.to_numpy()
    weights = np.zeros((len(obs), len(recipe.components)))
    for name in recipe.components[recipe.n_types :]:
        weights[:, recipe.components.index(name)] = obs[name]
    weights[cell, sibling[kind]] = obs["transition"]
    weights[cell, kind] += 1.0 - weights.sum(axis=1)
    return weights


def _draw_counts(
    rng: np.random.Generator,
    cumulative: np.ndarray,
    depth: np.ndarray,
    batch: np.ndarray,
    weights: np.ndarray,
) -> sp.csr_matrix:
    """Draw each cell's molecules: how many (at least 1), from which component, at which feature."""
    molecules = rng.multinomial(np.maximum(rng.poisson(depth), 1), weights)  # cells × components
    rows, cols = [], []
    for b, k in np.ndindex(cumulative.shape[:2]):
        of = np.where(batch == b, molecules[:, k], 0)
        place = np.searchsorted(cumulative[b, k], rng.random(of.sum()), side="right")
        rows.append(np.repeat(np.arange(len(of)), of))
        cols.append(np.minimum(place, cumulative.shape[2] - 1))  # the last cumulative share may round below 1
    row, col = np.concatenate(rows), np.concatenate(cols)
    shape = (len(depth), cumulative.shape[2])
    counts = sp.coo_matrix(
        (np.ones(len(row), np.float32), (row.astype(np.int32), col.astype(np.int32))), shape
    )
    return counts.tocsr()  # sums the molecules of one place


@dataclass(frozen=True)
class Chunk:
    """Some consecutive cells: their metadata and their counts (cells × genes, cells × peaks)."""

    obs: pd.DataFrame
    rna: sp.csr_matrix
    atac: sp.csr_matrix


def draw_chunks(recipe: Recipe, truth: Truth) -> Iterator[Chunk]:
    """Draw the cells, `CELLS_PER_CHUNK` at a time; each chunk has its own seed.

    Parameters
    ----------
    recipe, truth
        What to simulate, and what `draw_truth` made of it.

    Yields
    ------
    Chunks in the order of the cells.
    """
    for number, first in enumerate(range(0, recipe.n_cells, CELLS_PER_CHUNK)):
        rng = np.random.default_rng([recipe.seed, 1, number])
        obs = _draw_cells(rng, recipe, truth, first, min(CELLS_PER_CHUNK, recipe.n_cells - first))
        batch, weights = obs["batch"].cat.codes.to_numpy(), component_weights(obs, recipe, truth.sibling)
        rna, atac = (
            _draw_counts(rng, profile.cumulative, obs[f"true_{name}_depth"].to_numpy(), batch, weights)
            for name, profile in (("rna", truth.rna), ("atac", truth.atac))
        )
        yield Chunk(obs, rna, atac)


def gene_table(recipe: Recipe) -> pd.DataFrame:
    """Genes by name, without columns."""
    width = len(str(recipe.n_genes))
    return pd.DataFrame(
        index=pd.Index([f"Gene{i + 1:0{width}d}" for i in range(recipe.n_genes)], dtype=object)
    )


def peak_table(recipe: Recipe) -> pd.DataFrame:
    """Peaks named `chrom:start-end`, sorted, with columns `chrom`, `start` and `end` (0-based, half-open).

    Chromosomes hold fewer and fewer peaks; each small contig holds one peak in two thousand, at least one.
    """
    rng = np.random.default_rng([recipe.seed, 2])
    contigs = list(SMALL_CONTIGS[: recipe.n_contigs])
    chroms = [f"chr{i + 1}" for i in range(recipe.n_chroms)]
    on_contig = min(
        max(recipe.n_peaks // 2000, 1), (recipe.n_peaks - recipe.n_chroms) // max(len(contigs), 1)
    )
    on_chrom = _split(recipe.n_peaks - on_contig * len(contigs), np.geomspace(1.0, 0.4, recipe.n_chroms))
    n_per_chrom = np.concatenate([on_chrom, np.full(len(contigs), on_contig)])
    width = rng.integers(200, 1200, recipe.n_peaks)
    gap = rng.integers(100, 6000, recipe.n_peaks)
    first = np.repeat(n_per_chrom.cumsum() - n_per_chrom, n_per_chrom)
    steps = np.concatenate([[0], np.cumsum(gap + width)])
    end = steps[1:] - steps[first] + 10_000
    table = pd.DataFrame(
        {"chrom": np.repeat(chroms + contigs, n_per_chrom), "start": end - width, "end": end}
    )
    table["chrom"] = pd.Categorical(table["chrom"], chroms + contigs)
    table.index = pd.Index([f"{c}:{s}-{e}" for c, s, e in table.itertuples(index=False)], dtype=object)
    return table


def _split(total: int, share: np.ndarray) -> np.ndarray:
    """Whole numbers, at least 1 each, that sum to `total` and go by `share`."""
    bounds = np.round((share / share.sum()).cumsum() * (total - len(share))).astype(int)
    return np.diff(bounds, prepend=0) + 1


def _truth_tables(recipe: Recipe, truth: Truth, modality: str) -> dict[str, np.ndarray]:
    """What is kept of the truth beside the counts of a modality."""
    profile: Profile = getattr(truth, modality)
    return {
        "component": np.array(recipe.components, dtype=object),
        "log_share": profile.log_share.astype(np.float32),
        "batch": np.array(recipe.batches, dtype=object),
        "batch_tilt": profile.tilt.astype(np.float32),
        "sibling": truth.sibling.astype(np.int64),
    }


def simulate(
    n_cells: int = Recipe.n_cells,
    n_genes: int = Recipe.n_genes,
    n_peaks: int = Recipe.n_peaks,
    n_types: int = Recipe.n_types,
    *,
    seed: int = Recipe.seed,
    **options: Any,
) -> mudata.MuData:
    """Simulate paired RNA and ATAC counts with cell types, batches and depth that hangs on both.

    Parameters
    ----------
    n_cells, n_genes, n_peaks, n_types, seed
        As in `Recipe`.
    **options
        Any other field of `Recipe`.

    Returns
    -------
    MuData with modalities `rna` and `atac`: raw counts (CSR, float32) of the same cells. Each modality's
    `obs` holds `cell_type`, `lineage`, `batch`, `true_rna_depth` and `true_atac_depth` (molecules) and the
    weights of the components; `atac.var` holds `chrom`, `start`, `end`; `uns["truth"]` of each modality
    holds the profiles, from which `expected_share` gives the expected counts.

    Raises
    ------
    InputError
        If a size is impossible.

    Examples
    --------
    >>> import sailerx
    >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> mdata["rna"].shape, mdata["atac"].shape, mdata.obs["cell_type"].nunique()
    ((60, 100), (60, 90), 3)
    """
    recipe = Recipe(n_cells, n_genes, n_peaks, n_types, seed, **options)
    truth = draw_truth(recipe)
    chunks = list(draw_chunks(recipe, truth))
    obs = pd.concat([chunk.obs for chunk in chunks])
    rna, atac = (sp.vstack([getattr(c, name) for c in chunks], format="csr") for name in ("rna", "atac"))
    mods = {
        "rna": ad.AnnData(
            rna, obs.copy(), gene_table(recipe), {"truth": _truth_tables(recipe, truth, "rna")}
        ),
        "atac": ad.AnnData(
            atac, obs.copy(), peak_table(recipe), {"truth": _truth_tables(recipe, truth, "atac")}
        ),
    }
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData(mods)
        mdata.obs = obs
    return mdata


def simulate_to_file(
    path: str | os.PathLike[str],
    n_cells: int = Recipe.n_cells,
    n_genes: int = Recipe.n_genes,
    n_peaks: int = Recipe.n_peaks,
    n_types: int = Recipe.n_types,
    *,
    seed: int = Recipe.seed,
    compression: str | None = "gzip",
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> None:
    """Simulate the same data as `simulate` straight into a `.h5mu` file, a thousand cells at a time.

    Memory grows with peaks and not with cells; row positions are 64-bit, so 10⁶ cells × 3·10⁵ peaks can be
    written. The file appears under its name once it is complete.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    n_cells, n_genes, n_peaks, n_types, seed, **options
        As in `simulate`.
    compression
        HDF5 filter of the counts: `"gzip"` (level 1), `"lzf"` or None.
    progress
        Called after each chunk with the number of cells written and of all cells.

    Raises
    ------
    InputError
        If a size is impossible.

    Examples
    --------
    >>> import sailerx, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sailerx.simulate_to_file(f"{folder}/cells.h5mu", 60, 100, 90, 3)
    ...     sailerx.read(f"{folder}/cells.h5mu")["atac"].shape
    (60, 90)
    """
    recipe = Recipe(n_cells, n_genes, n_peaks, n_types, seed, **options)
    truth = draw_truth(recipe)
    tables = {"rna": gene_table(recipe), "atac": peak_table(recipe)}
    with atomic_h5mu(path) as file:
        groups = {
            name: write_anndata(
                file.require_group("mod"), name, table, {"truth": _truth_tables(recipe, truth, name)}
            )
            for name, table in tables.items()
        }
        matrices = {
            name: CsrWriter(group, "X", (n_cells, len(tables[name])), compression)
            for name, group in groups.items()
        }
        frames: list[FrameWriter] = []
        for chunk in draw_chunks(recipe, truth):
            frames = frames or [FrameWriter(g, "obs", chunk.obs, n_cells) for g in (file, *groups.values())]
            for frame in frames:
                frame.append(chunk.obs)
            for name, matrix in matrices.items():
                matrix.append(getattr(chunk, name))
            if progress is not None:
                progress(frames[0].rows, n_cells)
        finish_h5mu(file, n_cells, {name: table.index for name, table in tables.items()})


def expected_share(adata: ad.AnnData, batch: str | None = None) -> np.ndarray:
    """Share of each feature that the simulation gave each cell.

    Parameters
    ----------
    adata
        One modality of simulated data, or some of its cells.
    batch
        A batch whose tilt is applied; None for none, the truth behind all batches.

    Returns
    -------
    Shares, cells × features, float32; each row sums to 1. Dense: choose the cells first where there are many.
    """
    truth = adata.uns["truth"]
    components = list(truth["component"])
    n_types = components.index("ambient")
    recipe = Recipe(n_types=n_types, n_programs=len(components) - n_types - 1)
    log_share = truth["log_share"]
    if batch is not None:
        log_share = _log_shares(log_share + truth["batch_tilt"][list(truth["batch"]).index(batch)])
    return (component_weights(adata.obs, recipe, truth["sibling"]) @ np.exp(log_share)).astype(np.float32)
