"""`Multiome`: validated, immutable training data, built from MuData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from anndata import AnnData
from mudata import MuData

from sailerx.config import Settings
from sailerx.data.accessibility import Accessibility, PeaksOnDisk
from sailerx.data.alignment_weights import alignment_weights, rna_depth_of
from sailerx.data.confounders import Confounders
from sailerx.data.counts import (
    binary_accessibility,
    pick_counts,
    refuse_duplicates,
    to_csr,
    why_not_counts,
)
from sailerx.data.match_peaks import REPORT
from sailerx.data.obs_columns import obs_columns
from sailerx.data.peaks import (
    FORMS,
    SINGLE_BLOCK,
    Blocks,
    blocks_by_chromosome,
    peak_table,
    refuse_other_features,
)
from sailerx.data.rna_reference import RnaReference
from sailerx.errors import InputError

#: name of the confounder column that tells paired from ATAC-only cells in hybrid training
MEMBERSHIP = "sailerx_set"
#: cells of `RnaSample`, at most
MAX_SAMPLED = 10_000


@dataclass(frozen=True)
class RnaSample:
    """Cells with RNA, drawn at random if there are many: positions among all cells, and RNA counts or None."""

    cells: np.ndarray
    counts: sp.csr_matrix | None


@dataclass(frozen=True)
class Multiome:
    """Everything the training loop reads: x, g, w, c and names, one row per cell in the order of the ATAC modality."""

    #: obs_names of the ATAC modality
    barcodes: pd.Index
    #: x: cells × peaks, 0/1, columns sorted by block; in memory or in its file
    x: Accessibility
    #: one row per column of x: index = name, columns chrom, start, end (no columns with ``single_block``)
    peaks: pd.DataFrame
    #: range of columns of x of each chromosome
    blocks: Blocks
    #: g: RNA reference, cells × dimensions, float32, rows of unit length; zeros for cells without RNA
    g: np.ndarray
    #: whether each cell has RNA
    has_rna: np.ndarray
    #: w: alignment weight per cell, 0 to 1, float32; 0 for cells without RNA
    w: np.ndarray
    #: RNA depth: total counts per cell; NaN for cells without RNA, and for all cells without RNA counts and depth column
    rna_depth: np.ndarray
    #: c: cells × confounders, float32
    c: np.ndarray
    #: the encoding of c
    confounders: Confounders
    #: what made g
    reference: RnaReference | None
    #: a sample of the cells with RNA, and their RNA counts if these are at hand
    rna_sample: RnaSample

    @classmethod
    def from_mudata(
        cls,
        mdata: MuData | AnnData,
        settings: Settings,
        *,
        rna_embedding: str | None = None,
        batch_key: Sequence[str] = (),
        continuous_key: Sequence[str] = (),
        rna: str = "rna",
        atac: str = "atac",
        rna_layer: str | None = None,
        atac_layer: str | None = None,
        seed: int = 0,
        in_memory: bool = False,
    ) -> Multiome:
        """Validate a MuData object and build x, g, w and c from it.

        Parameters
        ----------
        mdata
            Holds the modalities ``rna`` and ``atac``; their cells are matched by barcode. Or the ATAC modality alone, as AnnData.
        settings
            ``single_block``, ``min_peaks_per_chrom``, ``weight_clip``, ``weight_floor``, ``denoise_reference`` and
            ``reference_rank`` are used.
        rna_embedding
            Key of ``mdata[rna].obsm`` to use as g; by default PCA of RNA counts.
        batch_key, continuous_key
            Categorical and continuous confounders: columns of a modality's obs or the global obs.
        rna, atac
            Names of the modalities.
        rna_layer, atac_layer
            Layers that hold counts; by default ``counts`` if there is one, else X.
        seed
            Seed of the PCA solver.
        in_memory
            Whether training reads x into memory if the matrix is still in its file.

        Raises
        ------
        InputError
            If a modality is missing, barcodes or peaks occur twice, no barcode is shared, a matrix does not hold counts, a
            cell has no open peak or no RNA count, peaks lack coordinates, or an embedding or obs column is missing or has
            missing values.
        """
        a, r = (
            (mdata, None) if isinstance(mdata, AnnData) else (_modality(mdata, atac), _modality(mdata, rna))
        )
        if r is a:
            raise InputError(
                f"RNA and ATAC must be two modalities, but `rna` and `atac` are both {atac!r}. Name the other one."
            )
        refuse_other_features(a.var, atac)
        x = binary_accessibility(a, atac, atac_layer, in_memory=in_memory)
        has_rna, rows = (
            (np.zeros(a.n_obs, bool), np.empty(0, int)) if r is None else _match_barcodes(a, r, atac, rna)
        )
        order, peaks, blocks = _order_peaks(a, settings)
        x = x.with_peaks(order)
        if in_memory and isinstance(x, PeaksOnDisk):
            x = replace(x, to_memory=True)
        depth = x.depth.astype(float)
        if r is None:
            reference, embedding = None, np.zeros((0, 1), np.float32)
            w, rna_depth = np.empty(0), np.empty(0)
        else:
            reference = RnaReference.learn(r, rna, rna_embedding, rna_layer, rows, seed, settings)
            embedding = reference.of(r, rna, rows).astype(np.float32)
            w, rna_depth = _weights(rna_depth_of(mdata, rna, rna_layer, rows), depth[has_rna], settings)
        obs = obs_columns(mdata, atac, [*batch_key, *continuous_key])
        batch_key, obs = _with_membership(batch_key, has_rna, obs)
        confounders = Confounders.learn(depth, obs, batch_key, continuous_key)
        return cls(
            barcodes=a.obs_names,
            x=x,
            peaks=peaks,
            blocks=blocks,
            g=_for_all_cells(F.normalize(torch.from_numpy(embedding)).numpy(), has_rna, 0, np.float32),
            has_rna=has_rna,
            w=_for_all_cells(w, has_rna, 0, np.float32),
            rna_depth=_for_all_cells(rna_depth, has_rna, np.nan, np.float64),
            c=confounders.apply(depth, obs),
            confounders=confounders,
            reference=reference,
            rna_sample=_rna_sample(r, rna, rna_layer, has_rna, rows, seed),
        )

    @property
    def source(self) -> str:
        """Source of g in words."""
        return "none, ATAC alone" if self.reference is None else self.reference.source

    @property
    def frequency(self) -> np.ndarray:
        """Frequency of each peak: (n_open + 1/2) / (n_cells + 1), strictly between 0 and 1; float32."""
        return ((self.n_open + 0.5) / (self.n_cells + 1)).astype(np.float32)

    @property
    def n_open(self) -> np.ndarray:
        """Number of cells in which each peak is open."""
        return self.x.n_open

    @property
    def depth(self) -> np.ndarray:
        """ATAC depth: number of open peaks per cell."""
        return self.x.depth

    @property
    def n_buffers(self) -> int:
        """Number of shuffle buffers per epoch, one in memory at a time; 1 if x is in memory."""
        return self.x.n_buffers

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.x.shape[0]

    @property
    def n_peaks(self) -> int:
        """Number of peaks."""
        return self.x.shape[1]


def _rna_sample(
    r: AnnData | None, rna: str, layer: str | None, has_rna: np.ndarray, rows: np.ndarray, seed: int
) -> RnaSample:
    """Draw at most `MAX_SAMPLED` cells with RNA."""
    drawn = np.arange(len(rows))
    if len(rows) > MAX_SAMPLED:
        drawn = np.sort(np.random.default_rng([seed, 5]).choice(len(rows), MAX_SAMPLED, replace=False))
    cells = np.flatnonzero(has_rna)[drawn]
    picked = None if r is None else pick_counts(r, rna, layer)
    if picked is None:
        return RnaSample(cells, None)
    counts = to_csr(picked[1])
    return RnaSample(cells, None if why_not_counts(counts) else counts[rows[drawn]])


def _modality(mdata: MuData, name: str) -> AnnData:
    if not isinstance(mdata, MuData):
        raise InputError(
            f"`mdata` must be a MuData object, got {type(mdata).__name__}. Make one with mudata.MuData({{...}})."
        )
    if name not in mdata.mod:
        raise InputError(
            f"`mdata` must have a modality {name!r}; it has: {', '.join(mdata.mod) or 'none'}. Name yours with `rna` and `atac`."
        )
    return mdata.mod[name]


def _match_barcodes(a: AnnData, r: AnnData, atac: str, rna: str) -> tuple[np.ndarray, np.ndarray]:
    """Find the ATAC cells with RNA (boolean per ATAC cell) and their rows in the RNA modality."""
    refuse_duplicates(r.obs_names, "barcodes", rna)
    row_of = r.obs_names.get_indexer(a.obs_names)
    has_rna = row_of >= 0
    _report_overlap(has_rna, a, r, atac, rna)
    return has_rna, row_of[has_rna]


def _report_overlap(has_rna: np.ndarray, a: AnnData, r: AnnData, atac: str, rna: str) -> None:
    """Refuse modalities without shared barcodes; warn of cells that lack one of the modalities."""
    n_shared = int(has_rna.sum())
    if n_shared == 0:
        raise InputError(
            f"modalities {rna!r} and {atac!r} must share barcodes, found none in common (first of each: "
            f"{', '.join(repr(m.obs_names[0]) for m in (r, a) if m.n_obs)}). Check for suffixes such as '-1'."
        )
    if n_shared < r.n_obs:
        warnings.warn(
            f"{r.n_obs - n_shared} of {r.n_obs} cells of {rna!r} have no {atac!r} and are not used.",
            stacklevel=4,
        )
    if n_shared < a.n_obs and REPORT not in a.uns:  # `combine` adds ATAC-only cells on purpose
        warnings.warn(
            f"{a.n_obs - n_shared} of {a.n_obs} cells of {atac!r} have no {rna!r}; they are trained without alignment.",
            stacklevel=4,
        )


def _order_peaks(a: AnnData, settings: Settings) -> tuple[np.ndarray, pd.DataFrame, Blocks]:
    """Sort peaks by block: their order (positions), and the peak table and blocks in this order."""
    if settings.single_block:
        return np.arange(a.n_vars), pd.DataFrame(index=a.var_names.astype(str)), ((0, a.n_vars),)
    table = peak_table(a.var)
    if table is None:
        raise InputError(
            f"peaks need coordinates, but names such as {a.var_names[0]!r} are not understood. {FORMS} {SINGLE_BLOCK}"
        )
    order, blocks = blocks_by_chromosome(table["chrom"].to_numpy(), settings.min_peaks_per_chrom)
    return order, table.iloc[order], blocks


def _weights(
    rna_depth: np.ndarray | None, atac_depth: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Compute w of the cells with RNA, and their RNA depth; all 1 and NaN if RNA depth is unknown."""
    if rna_depth is None:
        return np.ones(len(atac_depth)), np.full(len(atac_depth), np.nan)
    return alignment_weights(rna_depth, atac_depth, settings.weight_clip, settings.weight_floor), rna_depth


def _for_all_cells(values: np.ndarray, has_rna: np.ndarray, other: float, dtype: type) -> np.ndarray:
    """Extend rows of the cells with RNA to all cells; the rows of the others are filled with ``other``."""
    rows = np.full((len(has_rna), *values.shape[1:]), other, dtype)
    rows[has_rna] = values
    return rows


def _with_membership(
    batch_key: Sequence[str], has_rna: np.ndarray, obs: pd.DataFrame
) -> tuple[list[str], pd.DataFrame]:
    """Add a batch column that tells paired from ATAC-only cells, if some cells lack RNA."""
    if has_rna.all() or not has_rna.any():
        return list(batch_key), obs
    return [*batch_key, MEMBERSHIP], obs.assign(**{MEMBERSHIP: np.where(has_rna, "paired", "atac_only")})
