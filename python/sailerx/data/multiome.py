"""`Multiome`: the validated, immutable training data, built from MuData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from anndata import AnnData
from mudata import MuData

from sailerx.config import Settings
from sailerx.data.accessibility import Accessibility, PeaksOnDisk
from sailerx.data.alignment_weights import alignment_weights, rna_depth_of
from sailerx.data.confounders import Confounders
from sailerx.data.counts import binary_accessibility, refuse_duplicates
from sailerx.data.match_peaks import REPORT
from sailerx.data.obs_columns import obs_columns
from sailerx.data.peaks import FORMS, Blocks, blocks_by_chromosome, peak_table
from sailerx.data.rna_reference import reference_of
from sailerx.errors import InputError


@dataclass(frozen=True)
class Multiome:
    """RNA and ATAC of the same cells as the training loop sees them; all per cell, in the order of the ATAC modality."""

    barcodes: pd.Index
    #: x: cells × peaks, 0/1, columns ordered so that each block is contiguous; in memory or in its file
    x: Accessibility
    #: peaks in the order of x's columns: index = name, columns chrom, start, end (none without coordinates)
    peaks: pd.DataFrame
    #: columns of x that belong to each chromosome
    blocks: Blocks
    #: g: cells × dimensions of the RNA reference, rows of unit length; zeros for cells without RNA
    g: np.ndarray
    #: which cells have RNA
    has_rna: np.ndarray
    #: w: alignment weight, 0 to 1; 0 for cells without RNA
    w: np.ndarray
    #: total RNA count of each cell; NaN for cells without RNA, or where neither counts nor a depth column are there
    rna_depth: np.ndarray
    #: c: cells × confounders
    c: np.ndarray
    #: how c was made
    confounders: Confounders
    #: where g came from, for the record
    reference: str

    @classmethod
    def from_mudata(
        cls,
        mdata: MuData,
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
        """Validate a MuData object and take from it what training needs.

        Parameters
        ----------
        mdata
            Modalities ``rna`` and ``atac``; their cells are matched by barcode.
        settings
            Blocks, weights and reference follow these.
        rna_embedding
            Key of ``mdata[rna].obsm`` used as g; by default PCA of the RNA counts.
        batch_key, continuous_key
            Categorical and continuous confounders: obs columns of the modalities or of the whole.
        rna, atac
            Names of the modalities.
        rna_layer, atac_layer
            Layers that hold counts; by default ``counts`` if there is one, else X.
        seed
            For the solver of the PCA.
        in_memory
            Whether training is to take open peaks into memory where the matrix is still in its file.

        Raises
        ------
        InputError
            With what must hold, what was found and what to do.
        """
        a, r = _modality(mdata, atac), _modality(mdata, rna)
        x = binary_accessibility(a, atac, atac_layer, in_memory=in_memory)
        refuse_duplicates(r.obs_names, "barcodes", rna)
        row_of = r.obs_names.get_indexer(a.obs_names)
        has_rna = row_of >= 0
        _report_overlap(has_rna, a, r, atac, rna)
        rows = row_of[has_rna]

        order, peaks, blocks = _arrange(a, settings)
        x = x.with_peaks(order)
        if in_memory and isinstance(x, PeaksOnDisk):
            x = replace(x, to_memory=True)
        embedding, reference = reference_of(r, rna, rna_embedding, rna_layer, rows, seed, settings)
        g = np.zeros((a.n_obs, embedding.shape[1]), np.float32)
        g[has_rna] = F.normalize(torch.from_numpy(embedding)).numpy()
        depth = x.depth.astype(float)
        w, rna_depth = np.zeros(a.n_obs, np.float32), np.full(a.n_obs, np.nan)
        known = rna_depth_of(mdata, rna, rna_layer, rows)
        if known is None:
            w[has_rna] = 1
        else:
            rna_depth[has_rna] = known
            w[has_rna] = alignment_weights(known, depth[has_rna], settings.weight_clip, settings.weight_floor)
        batch_key, obs = _with_membership(
            batch_key, has_rna, obs_columns(mdata, atac, [*batch_key, *continuous_key])
        )
        confounders = Confounders.learn(depth, obs, batch_key, continuous_key)
        c = confounders.apply(depth, obs)
        return cls(
            a.obs_names,
            x,
            peaks,
            blocks,
            g,
            has_rna,
            w,
            rna_depth,
            c,
            confounders,
            reference,
        )

    @property
    def frequency(self) -> np.ndarray:
        """Share of cells in which each peak is open, kept off 0 and 1 by half a cell; float32."""
        return ((self.n_open + 0.5) / (self.n_cells + 1)).astype(np.float32)

    @property
    def n_open(self) -> np.ndarray:
        """Cells in which each peak is open."""
        return self.x.n_open

    @property
    def depth(self) -> np.ndarray:
        """ATAC depth: open peaks of each cell."""
        return self.x.depth

    @property
    def n_buffers(self) -> int:
        """Number of buffers that an epoch is read in, one in memory at a time; 1 if x is in memory."""
        return self.x.n_buffers

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.x.shape[0]

    @property
    def n_peaks(self) -> int:
        """Number of peaks."""
        return self.x.shape[1]


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


def _report_overlap(has_rna: np.ndarray, a: AnnData, r: AnnData, atac: str, rna: str) -> None:
    n_shared = int(has_rna.sum())
    if n_shared == 0:
        raise InputError(
            f"modalities {rna!r} and {atac!r} must share barcodes, found none in common (first of each: "
            f"{', '.join(repr(m.obs_names[0]) for m in (r, a) if m.n_obs)}). Check for suffixes such as '-1'."
        )
    if n_shared < r.n_obs:
        warnings.warn(
            f"{r.n_obs - n_shared} of {r.n_obs} cells of {rna!r} have no {atac!r} and are not used.",
            stacklevel=3,
        )
    if n_shared < a.n_obs and REPORT not in a.uns:  # `combine` has put them there on purpose
        warnings.warn(
            f"{a.n_obs - n_shared} of {a.n_obs} cells of {atac!r} have no {rna!r}; they are trained without alignment.",
            stacklevel=3,
        )


def _arrange(a: AnnData, settings: Settings) -> tuple[np.ndarray, pd.DataFrame, Blocks]:
    """Order of the peaks, their table and blocks in that order."""
    if settings.single_block:
        return np.arange(a.n_vars), pd.DataFrame(index=a.var_names.astype(str)), ((0, a.n_vars),)
    table = peak_table(a.var)
    if table is None:
        raise InputError(
            f"peaks need coordinates, but names such as {a.var_names[0]!r} are not understood. " + FORMS
        )
    order, blocks = blocks_by_chromosome(table["chrom"].to_numpy(), settings.min_peaks_per_chrom)
    return order, table.iloc[order], blocks


def _with_membership(
    batch_key: Sequence[str], has_rna: np.ndarray, obs: pd.DataFrame
) -> tuple[list[str], pd.DataFrame]:
    """Where some cells lack RNA, whether a cell has it is one more batch."""
    if has_rna.all():
        return list(batch_key), obs
    return [*batch_key, MEMBERSHIP], obs.assign(**{MEMBERSHIP: np.where(has_rna, "paired", "atac_only")})


MEMBERSHIP = "sailerx_set"
