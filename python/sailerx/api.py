"""The verbs: fit, embed, save, load, check."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from mudata import MuData

from sailerx.config import Settings, make_settings
from sailerx.data.accessibility import PeaksOnDisk
from sailerx.data.multiome import Multiome
from sailerx.data.obs_columns import obs_column, obs_columns
from sailerx.data.quality_warnings import quality_warnings
from sailerx.data.reading import Cells, is_path, opened
from sailerx.device import pick_device
from sailerx.errors import InputError
from sailerx.files.atomic import new_folder
from sailerx.results import embed
from sailerx.results.differential import differential_accessibility
from sailerx.results.impute import impute
from sailerx.results.selection import Batch
from sailerx.results.trained import TrainedModel, atac_of
from sailerx.training.checkpoint import Checkpoints, fingerprint
from sailerx.training.distributed.processes import processes_of_run
from sailerx.training.distributed.ranks import Ranks
from sailerx.training.loop import sampler_of, train
from sailerx.training.progress import Progress, Style
from sailerx.versions import versions


class Model(TrainedModel):
    """A trained model, from `fit` or `load`."""

    def embed(self, mdata: Cells) -> np.ndarray:
        """Embedding of cells from their ATAC alone.

        Parameters
        ----------
        mdata
            A MuData object with the ATAC modality the model was trained on, or that modality itself. Its peaks are
            matched to the model's by coordinates, in any order. Or the path of an .h5mu or .h5ad file, of which a few cells
            are in memory at a time (if it is stored by cell, CSR; otherwise all).

        Returns
        -------
        Cells × latent dimensions, float32, in the order of the ATAC modality's ``obs_names``. Rows have unit length,
        so cosine and Euclidean neighbours agree.

        Raises
        ------
        InputError
            If there is no such modality, it does not hold counts, or it shares no peak with the model.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> model.embed(mdata["atac"][:20]).shape
        (20, 50)
        """
        with opened(mdata) as data:
            return embed.embed(self.vae, self.accessibility(data))

    def posterior(self, mdata: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of q(z|x) of each cell: how sure the embedding is.

        Parameters
        ----------
        mdata
            As for `embed`.

        Returns
        -------
        Two arrays of cells × latent dimensions, float32. The mean scaled to unit length is the embedding; a cell whose
        standard deviations are near 1, the prior's, told the model little.

        Raises
        ------
        InputError
            As `embed` does.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> mean, std = model.posterior(mdata)
        >>> mean.shape, bool((std > 0).all())
        ((60, 50), True)
        """
        with opened(mdata) as data:
            return embed.posterior(self.vae, self.accessibility(data))

    def impute(
        self,
        mdata: Cells,
        *,
        peaks: str | Sequence[str] | None = None,
        regions: str | Sequence[str] | None = None,
        cells: Sequence[str] | np.ndarray | None = None,
        group_by: str | None = None,
        depth: float | None = None,
        batch: Batch = None,
        threshold: float | None = None,
        samples: int | None = None,
        seed: int = 0,
        out: str | os.PathLike[str] | None = None,
    ) -> AnnData | None:
        """Accessibility of cells as the model sees it once depth and batch are the same for all: imputation.

        The probability that each peak is open, sigmoid of the decoder's logits at the posterior mean of z and at neutral
        confounders, so that depth and batch do not come back (Cao et al. 2022).

        Parameters
        ----------
        mdata
            As for `embed`; also backed by its file (``anndata.read_h5ad(path, backed="r")``), of which then only a few cells
            are in memory at a time.
        peaks
            Names of peaks, or their coordinates as ``chr1:5-9``, ``chr1-5-9`` or ``chr1_5_9``; the result has their order.
        regions
            ``chr1:1000-5000`` or ``chr1``: the peaks that overlap, in the order of ``model.peaks``.
        cells
            Barcodes, of which the result has the order, or one truth value per ATAC cell; by default all.
        group_by
            An obs column: the result is the mean over the cells of each group, groups × peaks.
        depth
            Open peaks that every cell is taken to have; by default the geometric mean of the training cells.
        batch
            A batch that every cell is taken to be from: a level, or ``{column: level}`` where there are several columns. By
            default half-way between all batches (every level of a column with equal weight).
        threshold
            Keep only probabilities above it: X is sparse (CSR).
        samples
            Average over so many samples of z from its posterior instead, and give the standard deviation as layer ``std``.
            It shows how well a cell's own counts place it; the decoder's weights count as known.
        seed
            For the samples.
        out
            An .h5ad file or .zarr folder to write to, some cells at a time, in place of memory; it appears once it is
            whole, and anndata opens it lazily (``read_h5ad(out, backed="r")``, ``experimental.read_lazy``).

        Returns
        -------
        Cells (or groups) × peaks, float32, with the cells' obs and the peaks' chrom, start and end. None with ``out``.

        Raises
        ------
        InputError
            As for `embed`; for an unknown peak, cell, column or batch, a region without peaks, and where the result would
            take over 2 GB of memory.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> model.impute(mdata, regions="chr1").shape[0]
        60
        >>> list(model.impute(mdata, group_by="cell_type").obs_names)
        ['A1', 'A2', 'B1']
        """
        name = self.record["atac"]
        with opened(mdata) as data:
            return impute(
                self,
                atac_of(data, name),
                peaks=peaks,
                regions=regions,
                cells=cells,
                groups=None if group_by is None else obs_column(data, name, group_by),
                depth=depth,
                batch=batch,
                threshold=threshold,
                samples=samples,
                seed=seed,
                out=out,
            )

    def report(
        self,
        mdata: MuData,
        path: str | os.PathLike[str],
        *,
        labels: str | None = None,
        drop: Sequence[str] = (),
        title: str = "",
    ) -> None:
        """Write one self-contained HTML page that shows what the model made of the data.

        UMAPs of the embedding, how far it keeps RNA's neighbours, alignment weights, scores, the loss, warnings about the
        data, settings and versions. Needs ``pip install 'sailerx[plot,metrics]'``.

        Parameters
        ----------
        mdata
            RNA and ATAC, as for `fit`.
        path
            The file to write, such as ``report.html``; an existing one is replaced once the new one is whole.
        labels
            An obs column of cell types, to colour by and to score with.
        drop
            Labels whose cells are not scored.
        title
            Stands in the heading.

        Raises
        ------
        InputError
            If the data cannot be used as in training, the labels do not group cells, or a package is missing.

        Examples
        --------
        >>> import sailerx, tempfile
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, batch_key="batch", max_epochs=2, progress="none")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.report(mdata, f"{folder}/report.html", labels="cell_type")
        """
        from sailerx.evaluate.report import write_report

        write_report(self, mdata, path, labels=labels, drop=drop, title=title)

    def differential_accessibility(
        self,
        mdata: Cells,
        group_by: str,
        group1: str,
        group2: str | None = None,
        *,
        min_change: float = 0.25,
        fdr: float = 0.05,
        depth: float | None = None,
        batch: Batch = None,
    ) -> pd.DataFrame:
        """Peaks whose accessibility differs between two groups of cells.

        Effect sizes are those of the decoder at neutral confounders; how probable a difference is comes from the observed
        open peaks at equal depth, within the model's batches. `sailerx.results.differential` says how, why and from where.

        Parameters
        ----------
        mdata
            As for `impute`.
        group_by
            obs column of the groups. Groups found by clustering this ATAC make differences look surer than they are.
        group1, group2
            Levels of it; by default group 2 is all other cells that have a level.
        min_change
            log2 fold change, up or down, from which on a peak counts as different.
        fdr
            Expected share of false calls among the peaks marked ``differential``.
        depth, batch
            As for `impute`, for the effect sizes.

        Returns
        -------
        One row per peak of the model, the most probable first: chrom, start, end;
        ``accessibility_1``, ``accessibility_2``: mean imputed probability of each group; ``difference`` and
        ``log2_fold_change`` of the two; ``open_1``, ``open_2``: cells with the peak open;
        ``log2_observed``: posterior mean of the log2 ratio at equal depth by these counts; ``probability``: that it exceeds
        ``min_change``; ``fdr``: expected share of false calls if this peak and all above are called; ``differential``.

        Raises
        ------
        InputError
            As for `impute`; for a group of fewer than 2 cells, or groups that share no batch.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> table = model.differential_accessibility(mdata, "cell_type", "A1", "A2")
        >>> len(table), bool(table["fdr"].is_monotonic_increasing)
        (90, True)
        """
        name, keys = self.record["atac"], self.record["batch_key"]
        with opened(mdata) as data:
            columns = {key: obs_column(data, name, key) for key in keys}
            atac, groups = atac_of(data, name), obs_column(data, name, group_by)
            strata = pd.DataFrame(columns, index=atac.obs_names)
            return differential_accessibility(
                self,
                atac,
                groups,
                strata,
                (group1, group2),
                min_change=min_change,
                fdr=fdr,
                depth=depth,
                batch=batch,
            )

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to a folder (safetensors, JSON and CSV); it appears only when it is whole.

        Raises
        ------
        InputError
            If the folder exists and ``overwrite`` is not set, or it is not a model.

        Examples
        --------
        >>> import sailerx, tempfile
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/run")
        ...     sailerx.load(f"{folder}/run").embed(mdata).shape
        (60, 50)
        """
        with new_folder(path, overwrite=overwrite) as folder:
            self.write_into(folder)

    def to_anndata(self, mdata: Cells, *, posterior: bool = False) -> AnnData:
        """The embedding as a small AnnData for a results file: obsm ``X_sailerx``, run record in ``uns['sailerx']``.

        With ``posterior`` also obsm ``X_sailerx_mean`` and ``X_sailerx_std``, see `posterior`.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> model.to_anndata(mdata).obsm["X_sailerx"].shape
        (60, 50)
        """
        with opened(mdata) as data:
            atac = atac_of(data, self.record["atac"])
            result = AnnData(obs=pd.DataFrame(index=atac.obs_names.astype(str)))
            result.obsm["X_sailerx"] = self.embed(atac)
            if posterior:
                result.obsm["X_sailerx_mean"], result.obsm["X_sailerx_std"] = self.posterior(atac)
        run = {key: value for key, value in self.record.items() if key != "versions"}
        result.uns["sailerx"] = {
            "settings": json.dumps({**asdict(self.settings), **run}, ensure_ascii=False),
            "versions": json.dumps(self.record["versions"]),
            "history": self.history.set_axis(self.history.index.astype(str)),
        }
        return result


def fit(
    mdata: MuData | str | os.PathLike[str],
    *,
    rna_embedding: str | None = None,
    batch_key: str | Sequence[str] | None = None,
    continuous_key: str | Sequence[str] | None = None,
    preset: str = "default",
    max_epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    rna: str = "rna",
    atac: str = "atac",
    rna_layer: str | None = None,
    atac_layer: str | None = None,
    backed: bool = False,
    progress: Style = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_epochs: int | None = 10,
    checkpoint_minutes: float | None = None,
    resume: bool = True,
    devices: int = 1,
    nodes: int = 1,
    **options: Any,
) -> Model:
    """Train SAILERX on paired RNA and ATAC, and on cells with ATAC alone beside them (hybrid training).

    The ATAC of each cell is embedded so that cells similar in the RNA reference stay similar, while sequencing depth
    and batch are pushed out (Cao et al. 2022, doi:10.1093/nar/gkac781).

    Parameters
    ----------
    mdata
        MuData with an RNA and an ATAC modality, cells matched by barcode, or the path of an .h5mu file. ATAC holds
        raw counts or 0/1. Cells of it that RNA lacks are trained without alignment: any number of ATAC-only sets beside
        any number of paired ones. Whether a cell has RNA is one more batch; tell sets apart by a column in ``batch_key``.
        Peaks must be the same: see `sailerx.match_peaks`.
    rna_embedding
        Key of ``mdata[rna].obsm`` used as the fixed reference (PCA, scVI, Harmony, any matrix). By default, PCA is
        computed from the RNA counts.
    batch_key
        One or several categorical obs columns to hide from the embedding.
    continuous_key
        One or several numeric obs columns to hide from the embedding.
    preset
        ``"default"``, or ``"paper"`` for the reference implementation's constants.
    max_epochs
        Epochs after the warm-up; by default the preset's, which for ``"default"`` is enough for about 2,000 mini-batches.
    seed
        Two runs on a CPU with one seed and thread count are bit-identical.
    device
        ``"auto"`` (CUDA where there is one), ``"cpu"`` or ``"cuda"``.
    rna, atac
        Names of the modalities.
    rna_layer, atac_layer
        Layers of raw counts; by default a layer ``counts`` if there is one, else X.
    backed
        For files that memory does not hold: ``mdata`` is the path of an .h5mu file, and its ATAC, stored by cell (CSR), stays
        there. Blocks of cells are read while the network trains, so memory grows with the numbers of cells and of peaks but
        not with the open ones; RNA is read whole where PCA is computed from it. Cells are shuffled by blocks, which gives other
        embeddings than shuffling all, and as good ones; leave it off where memory suffices. A MuData object that is backed
        itself (``sailerx.read(path, backed=True)``) is trained from in the same way.
    progress
        ``"bar"``, ``"lines"``, ``"none"``, or ``"auto"``: a bar in a terminal, lines elsewhere.
    checkpoint
        File that the state of the run is written to every ``checkpoint_epochs`` epochs, or ``checkpoint_minutes`` minutes.
        Where it is there already, the run goes on from it and ends as it would have (bit-identical on a CPU). It
        stays when the run has ended.
    resume
        Whether to go on from a checkpoint that is there; if not, it is replaced.
    devices, nodes
        Processes that train together on each machine (with CUDA, one for each GPU), and machines. They share each mini-batch and
        each reads its own shard of the file, whose path ``mdata`` must be then; the result is that of one process up to rounding.
        They must have been started by ``torchrun`` or by SLURM's ``srun``, and all call this function; the command
        ``sailerx fit --devices`` starts those of one machine itself. Needs lightning-fabric.
    **options
        Any other field of `sailerx.Settings`, such as ``n_latent``, ``gamma`` or ``lambda_``.

    Returns
    -------
    The trained model.

    Raises
    ------
    InputError
        If something in the data or arguments cannot be used; says what must hold, what was found and what to do.
    FloatingPointError
        If training diverges.
    ProcessLostError
        With several processes, if another one has ended or was killed.

    Examples
    --------
    >>> import sailerx
    >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
    >>> model.embed(mdata).shape
    (60, 50)
    """
    settings = make_settings(preset, max_epochs=max_epochs, **options)
    ranks = processes_of_run(pick_device(device), devices, nodes)
    _refuse_in_memory(mdata, backed, ranks.world_size)
    about: dict[str, Any] = {
        "rna_embedding": rna_embedding,
        "batch_key": _names(batch_key),
        "continuous_key": _names(continuous_key),
        "rna": rna,
        "atac": atac,
        "rna_layer": rna_layer,
        "atac_layer": atac_layer,
        "seed": seed,
    }
    with opened(mdata) if ranks.is_first else nullcontext() as found:
        data = ranks.from_first(
            lambda: Multiome.from_mudata(found, settings, **about, in_memory=is_path(mdata) and not backed)
        )
        n_steps = sampler_of(data, settings, seed).n_steps
        settings = settings.for_data(n_steps, hybrid=not data.has_rna.all())
        shown = Progress(progress if ranks.is_first else "none", settings.n_epochs)
        shown.start(_headline(data, settings, ranks))

        def checkpoints_of_run() -> Checkpoints | None:
            if checkpoint is None:
                return None
            run = fingerprint(data, settings, seed)
            return Checkpoints(Path(checkpoint), run, checkpoint_epochs, checkpoint_minutes, resume)

        checkpoints = ranks.from_first(checkpoints_of_run)
        vae, history = train(
            data,
            settings,
            seed=seed,
            device=ranks.device,
            progress=shown,
            checkpoints=checkpoints,
            ranks=ranks,
        )
    record = about | {"preset": preset} | _circumstances(data, ranks)
    return Model(vae, settings, data.peaks, data.confounders, history, record)


def _headline(data: Multiome, settings: Settings, ranks: Ranks) -> str:
    several = f"{ranks.world_size} × " if ranks.world_size > 1 else ""
    return (
        f"training on {several}{ranks.device.type} ({torch.get_num_threads()} threads): {data.n_cells:,} cells × "
        f"{data.n_peaks:,} peaks, {settings.n_epochs} epochs"
    )


def _circumstances(data: Multiome, ranks: Ranks) -> dict[str, Any]:
    """What a run's record says of its data and machine."""
    return {
        "backed": isinstance(data.x, PeaksOnDisk) and not data.x.to_memory,
        "device": ranks.device.type,
        "threads": torch.get_num_threads(),
        "processes": ranks.world_size,
        "reference": data.reference,
        "n_cells": data.n_cells,
        "n_peaks": data.n_peaks,
        "versions": versions(),
    }


def _refuse_in_memory(mdata: object, backed: bool, n_processes: int = 1) -> None:
    if n_processes > 1 and not is_path(mdata):
        raise InputError(
            "several processes need the path of an .h5mu file as data, of which each reads its shard, got "
            f"{type(mdata).__name__}. Write it first, or train on one device."
        )
    if backed and not is_path(mdata):
        raise InputError(
            f"`backed` needs the path of an .h5mu file as data, got {type(mdata).__name__}. Write it first, or leave `backed` off."
        )


def _names(key: str | Sequence[str] | None) -> list[str]:
    return [] if key is None else [key] if isinstance(key, str) else list(key)


def load(path: str | os.PathLike[str], *, device: str = "auto") -> Model:
    """Read a model that `Model.save` or the command line wrote.

    Parameters
    ----------
    path
        The model's folder.
    device
        Where it is to compute, as for `fit`.

    Raises
    ------
    InputError
        If it is not a model, is damaged, or was written by a newer version; or there is no such device.

    Examples
    --------
    >>> import sailerx, tempfile
    >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/run")
    ...     sailerx.load(f"{folder}/run").settings.n_latent
    50
    """
    model = Model.read(path)
    model.vae.to(pick_device(device))
    return model


def check(mdata: MuData | str | os.PathLike[str], **arguments: Any) -> str:
    """Say whether `fit` would accept these data, without training.

    Parameters
    ----------
    mdata, **arguments
        As for `fit`.

    Returns
    -------
    A few lines that describe the data as a model would see them, then a line ``warning: ...`` for each thing that is
    allowed but suspicious (see `sailerx.data.quality_warnings`).

    Raises
    ------
    InputError
        As `fit` would.

    Examples
    --------
    >>> import sailerx
    >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> print(sailerx.check(mdata, batch_key="batch").splitlines()[0])
    cells: 60, of which 60 have RNA
    """
    backed = arguments.pop("backed", False)
    _refuse_in_memory(mdata, backed)
    for key in ("batch_key", "continuous_key"):
        arguments[key] = _names(arguments.get(key))
    settings = make_settings(arguments.pop("preset", "default"), **arguments.pop("options", {}))
    with opened(mdata) as found:
        data = Multiome.from_mudata(found, settings, **arguments, in_memory=is_path(mdata) and not backed)
        batches = obs_columns(found, arguments.get("atac", "atac"), arguments["batch_key"])
    depth = data.depth
    chroms = len(data.blocks)
    return "\n".join(
        [
            f"cells: {data.n_cells:,}, of which {int(data.has_rna.sum()):,} have RNA",
            f"peaks: {data.n_peaks:,} in {chroms} block{'s' if chroms > 1 else ''} by chromosome",
            f"open peaks per cell: median {np.median(depth):,.0f}, from {depth.min():,} to {depth.max():,}",
            f"RNA reference: {data.reference}, {data.g.shape[1]} dimensions",
            f"confounders: {', '.join(data.confounders.names)}",
            *(f"warning: {text}" for text in quality_warnings(data, batches)),
        ]
    )
