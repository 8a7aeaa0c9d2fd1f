"""Simulate the genome of simulated peaks: GC content that follows accessibility and a batch, and motifs planted in peaks of types."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sailerx.errors import InputError
from sailerx.files.atomic import new_file
from sailerx.regulators.motif_sets import BASES, Motif, jaspar
from sailerx.simulation.draw import Truth
from sailerx.simulation.recipe import Recipe

#: factors of different families, whose motifs (JASPAR, vertebrates) are planted in peaks of the first, second, ... cell type
FACTORS = (
    *(
        "MEF2C",
        "POU3F2",
        "GATA1",
        "Spi1",
        "CEBPB",
        "NEUROD1",
        "SOX10",
        "EBF1",
        "RFX2",
        "TEAD1",
        "IRF4",
        "HNF4A",
    ),
    *("RUNX2", "NFIA", "CTCF", "FOXA1", "TBX21", "ELF1", "MYB", "TCF4", "KLF4", "REST", "STAT3", "PAX6"),
)
#: GC content between peaks
_GC_BETWEEN = 0.41
#: GC content of peaks: its mean, what a standard deviation of log accessibility and of the first batch's effect adds, and its noise
_GC_MEAN, _GC_OPEN, _GC_BATCH, _GC_NOISE = 0.47, 0.05, 0.03, 0.04
#: share of peaks, those most specific for a type, among which its motif is planted, and the probability of each of them
_SPECIFIC, _PLANTED = 0.1, 0.6
_LINE = 60


@dataclass(frozen=True)
class Planting:
    """What is true of a simulated genome.

    Attributes
    ----------
    motifs
        The motif planted in peaks of each cell type.
    planted
        Which peaks got it, types × peaks, bool.
    gc
        Expected GC content of each peak, 0 to 1.
    """

    motifs: Sequence[Motif]
    planted: np.ndarray
    gc: np.ndarray


def plan_genome(recipe: Recipe, truth: Truth, motifs: Sequence[Motif] | None = None) -> Planting:
    """Draw GC contents, and the peaks in which motifs are planted.

    Parameters
    ----------
    recipe, truth
        Of the simulated counts.
    motifs
        One motif per cell type; by default those of `FACTORS`, from JASPAR.

    Raises
    ------
    InputError
        If there are fewer motifs than cell types.
    """
    chosen = _of_factors() if motifs is None else list(motifs)
    if len(chosen) < recipe.n_types:
        raise InputError(
            f"a genome needs a motif for each of {recipe.n_types} cell types, but there are {len(chosen)}. Simulate fewer types, or "
            "give more motifs."
        )
    rng = np.random.default_rng([recipe.seed, 8])
    ambient = truth.atac.log_share[recipe.n_types]
    specific = truth.atac.log_share[: recipe.n_types] - ambient  # types × peaks
    among = specific >= np.quantile(specific, 1 - _SPECIFIC, axis=1, keepdims=True)
    planted = among & (rng.random(among.shape) < _PLANTED)
    gc = _GC_MEAN + _GC_OPEN * _standard(ambient) + _GC_BATCH * _standard(truth.atac.tilt[0])
    gc += rng.normal(0.0, _GC_NOISE, len(gc))
    return Planting(chosen[: recipe.n_types], planted, gc.clip(0.2, 0.8))


def _of_factors() -> list[Motif]:
    by_name = {motif.name: motif for motif in jaspar()}
    return [by_name[name] for name in FACTORS]


def _standard(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)


def write_genome(path: str | os.PathLike[str], peaks: pd.DataFrame, planting: Planting, seed: int) -> None:
    """Write the genome as FASTA, one contig after the other; the file appears when it is complete.

    Parameters
    ----------
    path
        File to write.
    peaks
        Columns ``chrom``, ``start``, ``end``.
    planting
        From `plan_genome`.
    seed
        Seed of the sequence.
    """
    with new_file(path) as part, part.open("wb") as file:
        for number, (chrom, own) in enumerate(peaks.groupby("chrom", observed=True, sort=False)):
            rng = np.random.default_rng([seed, 9, number])
            place = peaks.index.get_indexer(own.index)
            letters = _contig(rng, own, planting.gc[place])
            _plant(rng, letters, own, planting.motifs, planting.planted[:, place])
            file.write(f">{chrom}\n".encode())
            _write_lines(file, letters)


def _contig(rng: np.random.Generator, peaks: pd.DataFrame, gc: np.ndarray) -> np.ndarray:
    """Draw a contig that ends 1,000 bases after its last peak, as codes of letters."""
    length = int(peaks["end"].max()) + 1000
    share = np.full(length, _GC_BETWEEN, np.float32)
    for start, end, own in zip(peaks["start"], peaks["end"], gc, strict=True):
        share[start:end] = own
    strong = rng.random(length, np.float32) < share
    coin = rng.random(length, np.float32) < 0.5
    letters = np.frombuffer(b"ATCG", np.uint8)
    return letters[2 * strong.astype(np.uint8) + coin]


def _plant(
    rng: np.random.Generator,
    letters: np.ndarray,
    peaks: pd.DataFrame,
    motifs: Sequence[Motif],
    planted: np.ndarray,
) -> None:
    """Write a word drawn from the motif over the sequence of each chosen peak, on either strand."""
    start, end = peaks["start"].to_numpy(), peaks["end"].to_numpy()
    for motif, own in zip(motifs, planted, strict=True):
        shares = ((motif.counts + 0.01) / (motif.counts + 0.01).sum(axis=0)).cumsum(axis=0)
        for peak in np.flatnonzero(own & (end - start >= len(motif))):
            code = (rng.random(len(motif)) > shares[:3]).sum(axis=0)  # 0 to 3: A, C, G, T
            if rng.random() < 0.5:
                code = 3 - code[::-1]
            at = rng.integers(start[peak], end[peak] - len(motif) + 1)
            letters[at : at + len(motif)] = np.frombuffer(BASES.encode(), np.uint8)[code]


def _write_lines(file: object, letters: np.ndarray) -> None:
    whole = len(letters) // _LINE * _LINE
    lines = np.full((whole // _LINE, _LINE + 1), ord("\n"), np.uint8)
    lines[:, :_LINE] = letters[:whole].reshape(-1, _LINE)
    file.write(lines.tobytes() + letters[whole:].tobytes() + b"\n" * (whole < len(letters)))  # type: ignore[attr-defined]


def planting_tables(planting: Planting) -> Mapping[str, np.ndarray]:
    """Collect the arrays that ``uns["truth"]`` of the ATAC modality holds in addition."""
    return {
        "motif": np.array([motif.id for motif in planting.motifs], dtype=object),
        "motif_planted": planting.planted.astype(np.uint8),
    }
