"""Draw profiles of cell types once, then cells in chunks, each chunk with its own seed.

Each molecule of a cell is drawn from one *component*: the profile of its cell type, of a sibling type (cells in transition), of
the ambient mixture, or of an activity program that cells of any type can run. A component is a distribution over features, its
*shares*; a batch adds a tilt to all log shares. The expected counts of every cell are therefore known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.sparse as sp

from sailerx.simulation.recipe import CODES, FIRST_HALF, SECOND_HALF, Recipe, linked_peaks

#: each chunk has its own seed, so this number is part of the recipe: changing it changes the data
CELLS_PER_CHUNK = 1000


@dataclass(frozen=True)
class Profile:
    """Distributions over the features of one modality.

    Attributes
    ----------
    log_share
        Log share of each feature in each component, components × features; the shares of a row sum to 1.
    tilt
        Addend to the log shares by batch, before they are normalised again, batches × features.
    """

    log_share: np.ndarray
    tilt: np.ndarray

    @cached_property
    def cumulative(self) -> np.ndarray:
        """Cumulative shares over the features, batches × components × features."""
        tilted = self.log_share[None] + self.tilt[:, None]
        return np.cumsum(np.exp(log_shares(tilted), out=tilted), axis=-1, out=tilted)


@dataclass(frozen=True)
class Truth:
    """Random quantities shared by all cells, drawn before any cell.

    Attributes
    ----------
    rna, atac
        The profiles of the two modalities.
    type_share
        Frequency of each cell type in each batch, batches × types.
    batch_share
        Frequency of each batch.
    sibling
        For each type, the type of its lineage that its cells in transition drift towards (position).
    type_depth
        Addend to the log depth (molecules) by type, types × (RNA, ATAC).
    batch_depth
        Addend to the log depth (molecules) by batch, batches × (RNA, ATAC).
    """

    rna: Profile
    atac: Profile
    type_share: np.ndarray
    batch_share: np.ndarray
    sibling: np.ndarray
    type_depth: np.ndarray
    batch_depth: np.ndarray


def log_shares(log_weight: np.ndarray) -> np.ndarray:
    """Normalise log weights in place, so that exp(·) sums to 1 along the last axis."""
    log_weight -= np.log(np.exp(log_weight).sum(axis=-1, keepdims=True))
    return log_weight


def _sparse_normal(
    rng: np.random.Generator, shape: tuple[int, int], fraction: float, std: float
) -> np.ndarray:
    """Draw normal numbers in a random fraction of the entries, zero in the others."""
    return rng.normal(0.0, std, shape) * (rng.random(shape) < fraction)


def _profile(rng: np.random.Generator, recipe: Recipe, n: int, signal: float, batch: float) -> Profile:
    """Draw the shares of `n` features: a common level, then lineage, type and program effects."""
    level = rng.normal(0.0, 1.4, n).clip(-4.0, 3.2)
    effect = _sparse_normal(rng, (len(recipe.lineages), n), 0.15, signal)[recipe.lineage]
    effect += _sparse_normal(rng, (recipe.n_types, n), 0.3, signal)
    types = log_shares(level + effect)
    ambient = np.log(np.exp(types).mean(axis=0, keepdims=True))
    programs = log_shares(level + _sparse_normal(rng, (recipe.n_programs, n), 0.2, 1.0))
    tilt = rng.normal(0.0, batch, (recipe.n_batches, n))
    return Profile(np.concatenate([types, ambient, programs]), tilt)


def _split(profile: Profile, recipe: Recipe, modality: str) -> Profile:
    """Append the profiles of second halves: those of the types, or, in the modality that splits them, moved apart from these."""
    if not recipe.split_by:
        return profile
    rng = np.random.default_rng([recipe.seed, 6, modality == "atac"])
    log_share = profile.log_share
    n = log_share.shape[1]
    first, second = log_share[: len(recipe.split_by)].copy(), log_share[: len(recipe.split_by)].copy()
    for i, by in enumerate(recipe.split_by):
        if by == modality:
            markers = rng.choice(n, max(1, round(recipe.split_share * n)), replace=False)
            change = recipe.split_change * rng.choice([-0.5, 0.5], len(markers))
            first[i, markers] += change
            second[i, markers] -= change
    first, second = log_shares(first), log_shares(second)
    return Profile(np.concatenate([first, log_share[len(first) :], second]), profile.tilt)


def _linked(rna: Profile, atac: Profile, recipe: Recipe) -> tuple[Profile, Profile]:
    """Add one log fold change between types to linked genes and to their peaks; without it, the genes are alike in all types."""
    near, follows = linked_peaks(recipe)
    genes, peaks = np.flatnonzero(follows), near[follows]
    change = np.random.default_rng([recipe.seed, 12]).normal(0.0, 1.0, (recipe.n_types, len(genes)))
    of_genes, of_peaks = rna.log_share.copy(), atac.log_share.copy()
    of_genes[: recipe.n_types, genes] = rna.log_share[recipe.n_types, genes] + change
    of_peaks[: recipe.n_types, peaks] += change
    return (
        Profile(_with_ambient(of_genes, recipe.n_types), rna.tilt),
        Profile(_with_ambient(of_peaks, recipe.n_types), atac.tilt),
    )


def _with_ambient(log_share: np.ndarray, n_types: int) -> np.ndarray:
    """Normalise, and make the ambient mixture the mean of the types again."""
    log_share = log_shares(log_share)
    log_share[n_types] = np.log(np.exp(log_share[:n_types]).mean(axis=0))
    return log_share


def draw_truth(recipe: Recipe) -> Truth:
    """Draw the profiles, frequencies and depth effects shared by all cells.

    Parameters
    ----------
    recipe
        Sizes, effects and seed.

    Returns
    -------
    The shared quantities; they do not depend on the number of cells.
    """
    rng = np.random.default_rng([recipe.seed, 0])
    n_types, n_batches = recipe.n_types, recipe.n_batches
    share = np.geomspace(1.0, 0.4 / n_types, n_types)
    type_share = share * np.exp(rng.normal(0.0, 0.3, (n_batches, n_types)))
    batch_share = np.geomspace(1.0, 0.4, n_batches)
    rna = _split(_profile(rng, recipe, recipe.n_genes, recipe.signal("rna"), recipe.rna_batch), recipe, "rna")
    atac = _split(
        _profile(rng, recipe, recipe.n_peaks, recipe.signal("atac"), recipe.atac_batch), recipe, "atac"
    )
    if recipe.n_links:
        rna, atac = _linked(rna, atac, recipe)
    return Truth(
        rna=rna,
        atac=atac,
        type_share=type_share / type_share.sum(axis=1, keepdims=True),
        batch_share=batch_share / batch_share.sum(),
        sibling=np.concatenate([np.roll(types, -1) for types in recipe.lineages]),
        type_depth=_draw_depths(rng, 0.25, n_types),
        batch_depth=_draw_depths(rng, 0.15, n_batches),
    )


def _draw_cells(rng: np.random.Generator, recipe: Recipe, truth: Truth, first: int, n: int) -> pd.DataFrame:
    """Draw obs of ``n`` cells: type, lineage, batch, depths (molecules) and weights of the components."""
    batch = rng.choice(recipe.n_batches, n, p=truth.batch_share)
    cumulative = truth.type_share.cumsum(axis=1)[batch]
    kind = (rng.random((n, 1)) > cumulative).sum(axis=1).clip(max=recipe.n_types - 1)
    noise = _draw_depths(rng, 0.55, n)
    log_depth = truth.type_depth[kind] + truth.batch_depth[batch] + noise
    log_depth += np.log([recipe.depth("rna"), recipe.depth("atac")])
    lineages = list(CODES[: len(recipe.lineages)])
    obs: dict[str, object] = {
        "cell_type": pd.Categorical.from_codes(kind, pd.Index(recipe.types)),
        "lineage": pd.Categorical.from_codes(recipe.lineage[kind], pd.Index(lineages)),
        "batch": pd.Categorical.from_codes(batch, pd.Index(recipe.batches)),
        "true_rna_depth": np.exp(log_depth[:, 0]),
        "true_atac_depth": np.exp(log_depth[:, 1]),
        **_draw_weights(rng, recipe, noise[:, 1]),
    }
    if recipe.split_by:
        obs["subtype"] = _draw_halves(recipe, kind, first)
    return pd.DataFrame(obs, index=pd.Index(_barcodes(first, n), dtype=object))


def _draw_halves(recipe: Recipe, kind: np.ndarray, first: int) -> pd.Categorical[str]:
    """Draw the half of each cell of a split type; other cells have their type as subtype."""
    second = np.random.default_rng([recipe.seed, 7, first]).random(len(kind)) < 0.5
    split = recipe.types[: len(recipe.split_by)]
    names = [f"{name}{half}" for name in split for half in (FIRST_HALF, SECOND_HALF)]
    names += recipe.types[len(split) :]
    code = np.where(kind < len(split), 2 * kind + second, kind + len(split))
    return pd.Categorical.from_codes(code, pd.Index(names))


def _draw_depths(rng: np.random.Generator, std: float, n: int) -> np.ndarray:
    """Draw ``n`` pairs (RNA, ATAC) of log-depth deviations with correlation 0.5, as in SNARE-seq data."""
    return rng.multivariate_normal([0.0, 0.0], std**2 * np.array([[1.0, 0.5], [0.5, 1.0]]), n)


def _draw_weights(rng: np.random.Generator, recipe: Recipe, depth: np.ndarray) -> dict[str, np.ndarray]:
    """Draw the weights of the components other than the cell's type; ``depth`` is the deviation of its ATAC log depth."""
    n = len(depth)
    ambient = 0.1 + 0.2 / (1.0 + np.exp(1.5 * depth))  # shallow cells hold more ambient molecules
    ambient *= recipe.max_ambient / 0.3
    active = rng.beta(2.0, 6.0, n) * (1 - ambient) * (recipe.n_programs > 0)
    transition = recipe.max_transition * rng.beta(0.6, 2.4, n) * (1 - ambient - active)
    programs = active[:, None] * rng.dirichlet(np.full(max(recipe.n_programs, 1), 0.5), n)
    named = {f"program{i + 1}": programs[:, i] for i in range(recipe.n_programs)}
    return {"transition": transition, "ambient": ambient, **named}


def _barcodes(first: int, n: int) -> list[str]:
    """Make 10x-like barcodes, unique by construction: (cell number × an odd number) in base 4, written in A, C, G, T."""
    number = np.arange(first, first + n, dtype=np.uint64) * np.uint64(2654435761)
    digits = (number[:, None] >> np.arange(30, -2, -2, dtype=np.uint64)) & np.uint64(3)
    return ["".join(row) + "-1" for row in np.array(list("ACGT"))[digits]]


def component_weights(obs: pd.DataFrame, recipe: Recipe, sibling: np.ndarray) -> np.ndarray:
    """Compute the probability that a molecule of a cell is drawn from each component.

    Parameters
    ----------
    obs
        obs of the simulated cells.
    recipe
        ``n_types`` and ``n_programs`` are used.
    sibling
        Position of the sibling of each type.

    Returns
    -------
    Weights, cells × components; each row sums to 1.
    """
    cell, kind = np.arange(len(obs)), obs["cell_type"].cat.codes.to_numpy()
    weights = np.zeros((len(obs), len(recipe.components)))
    for name in recipe.components[recipe.n_types : recipe.n_types + 1 + recipe.n_programs]:
        weights[:, recipe.components.index(name)] = obs[name]
    weights[cell, sibling[kind]] = obs["transition"]
    if recipe.split_by:
        in_second = obs["subtype"].astype(str).str.endswith(SECOND_HALF).to_numpy()
        kind = np.where(in_second, kind + 1 + recipe.n_types + recipe.n_programs, kind)
    weights[cell, kind] += 1.0 - weights.sum(axis=1)
    return weights


def _draw_counts(
    rng: np.random.Generator,
    cumulative: np.ndarray,
    depth: np.ndarray,
    batch: np.ndarray,
    weights: np.ndarray,
) -> sp.csr_matrix:
    """Draw counts, cells × features: number of molecules of each cell (at least 1), their components, their features."""
    molecules = rng.multinomial(np.maximum(rng.poisson(depth), 1), weights)  # cells × components
    rows, cols = [], []
    for b, k in np.ndindex(cumulative.shape[:2]):
        n_molecules = np.where(batch == b, molecules[:, k], 0)  # of component k, in each cell of batch b
        feature = np.searchsorted(cumulative[b, k], rng.random(n_molecules.sum()), side="right")
        rows.append(np.repeat(np.arange(len(n_molecules)), n_molecules))
        cols.append(
            np.minimum(feature, cumulative.shape[2] - 1)
        )  # the last cumulative share may round below 1
    row, col = np.concatenate(rows), np.concatenate(cols)
    shape = (len(depth), cumulative.shape[2])
    counts = sp.coo_matrix(
        (np.ones(len(row), np.float32), (row.astype(np.int32), col.astype(np.int32))), shape
    )
    return counts.tocsr()  # sums the molecules of one cell and feature


@dataclass(frozen=True)
class Chunk:
    """Consecutive simulated cells: obs, RNA counts (cells × genes) and ATAC counts (cells × peaks)."""

    obs: pd.DataFrame
    rna: sp.csr_matrix
    atac: sp.csr_matrix


def draw_chunks(recipe: Recipe, truth: Truth) -> Iterator[Chunk]:
    """Draw all cells, `CELLS_PER_CHUNK` at a time; each chunk has its own seed.

    Parameters
    ----------
    recipe, truth
        Sizes, effects and seed, and the result of `draw_truth` for them.

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
