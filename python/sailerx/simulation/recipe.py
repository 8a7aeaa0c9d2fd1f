"""Parameters of a simulation (sizes, depths, effect sizes), and names of cell types, batches, genes and peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sailerx.config import checked_seed
from sailerx.errors import InputError

SMALL_CONTIGS = ("chr1_KI270706v1_random", "HLA-A*01:01", "GL000205.2", "chrUn-JTFH01")
#: endings of the names of the two halves of a split type
FIRST_HALF, SECOND_HALF = "a", "b"
CODES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Recipe:
    """Parameters of a simulation.

    Attributes
    ----------
    n_cells, n_genes, n_peaks
        Number of cells, each with both modalities, of genes and of peaks.
    n_types
        Number of cell types, in lineages of about three: `A1`, `A2`, `A3`, `B1` and so on, from frequent to rare; of
        the default 12 types the first has about 30 times as many cells as the last.
    seed
        Equal parameters and seed give equal data, in memory or on disk.
    n_batches
        Number of experimental batches, of unequal size and slightly different composition.
    n_programs
        Number of activity programs, which contribute to cells of all types in both modalities.
    n_chroms, n_contigs
        Number of chromosomes, and of small contigs with awkward names (at most 4) that hold a few peaks each.
    rna_depth, atac_depth
        Median number of molecules per cell. By default 0.2 per gene and 0.012 per peak, but at least 40.
    rna_signal, atac_signal
        Standard deviation of the log fold changes between cell types, over the features that differ. By default 0.7
        and 0.83 at the default depth, more for shallower cells (at most 2) and less for deeper ones, so that data of
        any size are about equally hard to cluster.
    n_atac_splits, n_rna_splits
        Number of cell types that fall into two halves which only ATAC, or only RNA, tells apart: the first types, and those
        after them. The obs column ``subtype`` names them.
    split_share, split_change
        Share of the features that differ between two halves, and by how much: log fold changes of plus or minus this, from one
        half to the other.
    max_transition, max_ambient
        Largest share of a cell's molecules that come from a sibling type, in cells in transition, and from the ambient mixture, in
        shallow cells. Both 0: each cell is of one type alone.
    n_links
        Number of genes that share log fold changes between types with a peak near their start. All genes then have starts: var
        columns ``chrom``, ``tss``, ``strand`` and ``linked_peak``.
    rna_batch, atac_batch
        Standard deviation of a batch's addend to the log shares.
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
    n_atac_splits: int = 0
    n_rna_splits: int = 0
    split_share: float = 1 / 30
    split_change: float = 1.2
    max_transition: float = 0.5
    max_ambient: float = 0.3
    n_links: int = 0
    rna_batch: float = 0.1
    atac_batch: float = 0.25

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be simulated."""
        object.__setattr__(self, "seed", checked_seed(self.seed))
        for name in ("n_cells", "n_genes", "n_peaks", "n_types", "n_batches", "n_chroms"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.n_types > 3 * len(CODES):
            raise InputError(f"`n_types` must be at most {3 * len(CODES)}, got {self.n_types}.")
        if min(self.n_atac_splits, self.n_rna_splits) < 0 or len(self.split_by) > self.n_types:
            raise InputError(
                f"`n_atac_splits` and `n_rna_splits` must be at least 0 and together at most `n_types`, {self.n_types}, got "
                f"{self.n_atac_splits} and {self.n_rna_splits}."
            )
        if min(self.max_transition, self.max_ambient) < 0 or max(self.max_transition, self.max_ambient) > 1:
            raise InputError(
                f"`max_transition` and `max_ambient` must be 0 to 1, got {self.max_transition} and {self.max_ambient}."
            )
        if not 0 <= self.n_links <= min(self.n_genes, self.n_peaks):
            raise InputError(
                f"`n_links` must be at least 0 and at most the number of genes and of peaks, got {self.n_links}."
            )
        if not 0 <= self.n_contigs <= len(SMALL_CONTIGS):
            raise InputError(f"`n_contigs` must be 0 to {len(SMALL_CONTIGS)}, got {self.n_contigs}.")
        if self.n_peaks < self.n_chroms + self.n_contigs:
            raise InputError(
                f"Each chromosome and contig needs a peak: `n_peaks` must be at least "
                f"{self.n_chroms + self.n_contigs}, got {self.n_peaks}."
            )

    def depth(self, modality: str) -> float:
        """Return the median number of molecules per cell of one modality (``"rna"`` or ``"atac"``)."""
        given = {"rna": self.rna_depth, "atac": self.atac_depth}[modality]
        usual = {"rna": 0.2 * self.n_genes, "atac": 0.012 * self.n_peaks}[modality]
        return max(usual, 40.0) if given is None else given

    def signal(self, modality: str) -> float:
        """Return the standard deviation of log fold changes between cell types of one modality."""
        given = {"rna": self.rna_signal, "atac": self.atac_signal}[modality]
        usual, at_depth = {"rna": (0.7, 600.0), "atac": (0.83, 240.0)}[modality]
        return min(usual * (at_depth / self.depth(modality)) ** 0.5, 2.0) if given is None else given

    @property
    def lineages(self) -> list[np.ndarray]:
        """Positions of the cell types of each lineage."""
        return np.array_split(np.arange(self.n_types), min(max(-(-self.n_types // 3), 2), self.n_types))

    @property
    def lineage(self) -> np.ndarray:
        """Position of the lineage of each cell type."""
        return np.repeat(np.arange(len(self.lineages)), [len(types) for types in self.lineages])

    @property
    def types(self) -> list[str]:
        """Names of the cell types."""
        return [f"{CODES[i]}{j + 1}" for i, types in enumerate(self.lineages) for j in range(len(types))]

    @property
    def split_by(self) -> list[str]:
        """Modality that tells the halves apart, of each cell type that has halves: the first types."""
        return ["atac"] * self.n_atac_splits + ["rna"] * self.n_rna_splits

    @property
    def batches(self) -> list[str]:
        """Names of the batches."""
        return [f"batch{i + 1}" for i in range(self.n_batches)]

    @property
    def components(self) -> list[str]:
        """Names of the components, in order: cell types, ambient mixture, programs, second halves of the split types."""
        programs = (f"program{i + 1}" for i in range(self.n_programs))
        halves = (f"{kind}{SECOND_HALF}" for kind in self.types[: len(self.split_by)])
        return [*self.types, "ambient", *programs, *halves]


def gene_table(recipe: Recipe) -> pd.DataFrame:
    """Make var of the RNA modality: names, and with ``n_links`` the starts of genes and the peak that each follows."""
    width = len(str(recipe.n_genes))
    names = pd.Index([f"Gene{i + 1:0{width}d}" for i in range(recipe.n_genes)], dtype=object)
    return pd.DataFrame(index=names) if not recipe.n_links else _gene_starts(recipe).set_index(names)


def linked_peaks(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Draw the peak near which each gene starts, and which genes follow it (bool), in the order of the genes."""
    rng = np.random.default_rng([recipe.seed, 10])
    near = np.resize(rng.permutation(recipe.n_peaks), recipe.n_genes)
    return near, rng.permutation(recipe.n_genes) < recipe.n_links


def _gene_starts(recipe: Recipe) -> pd.DataFrame:
    """Place each gene at most 50,000 bases from the peak that `linked_peaks` has drawn for it."""
    rng = np.random.default_rng([recipe.seed, 11])
    peaks, (near, follows) = peak_table(recipe), linked_peaks(recipe)
    beside = peaks.iloc[near]
    tss = (beside["start"].to_numpy() + rng.integers(-50_000, 50_000, recipe.n_genes)).clip(min=0)
    return pd.DataFrame(
        {
            "chrom": beside["chrom"].to_numpy(),
            "tss": tss,
            "strand": pd.Categorical(rng.choice(["+", "-"], recipe.n_genes)),
            "linked_peak": pd.Categorical(np.where(follows, peaks.index[near], "")),
        }
    )


def peak_table(recipe: Recipe) -> pd.DataFrame:
    """Make var of the ATAC modality: names ``chrom:start-end`` and columns ``chrom``, ``start``, ``end`` (0-based, half-open).

    Peaks are sorted; each chromosome has fewer than the one before; each small contig has n_peaks / 2000, at least 1.
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
    """Split ``total`` into whole numbers of at least 1, about in proportion to ``share``."""
    bounds = np.round((share / share.sum()).cumsum() * (total - len(share))).astype(int)
    return np.diff(bounds, prepend=0) + 1
