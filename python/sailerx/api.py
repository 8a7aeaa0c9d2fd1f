"""The public functions `fit`, `load` and `check`, and the class `Model`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from sailerx.config import Settings, Style, checked_seed, make_settings
from sailerx.data.accessibility import PeaksOnDisk
from sailerx.data.modalities import find_modalities, refuse_features_on_disk
from sailerx.data.multiome import Multiome
from sailerx.data.obs_columns import joined_obs, obs_column, obs_columns
from sailerx.data.quality_warnings import quality_warnings
from sailerx.data.reading import Cells, is_path, opened
from sailerx.device import pick_device
from sailerx.errors import InputError
from sailerx.files.atomic import new_folder, refuse_overwriting
from sailerx.joint.embedding import JointEmbedding
from sailerx.joint.undeclared import in_words, undeclared_batches
from sailerx.network.decoder_prior import with_decoder_decay
from sailerx.regulators.activity import MatchesLike
from sailerx.regulators.annotation import AnnotationLike
from sailerx.results import embed
from sailerx.results.differential import differential_accessibility
from sailerx.results.impute import impute
from sailerx.results.imputed_activity import imputed_activity
from sailerx.results.predict_rna import predict_rna
from sailerx.results.selection import Batch
from sailerx.results.trained import TrainedModel, atac_of
from sailerx.results.transfer_labels import transfer_labels
from sailerx.threads import n_threads, one_thread_for_little
from sailerx.training.checkpoint import Checkpoints, fingerprint
from sailerx.training.distributed.processes import processes_of_run
from sailerx.training.distributed.ranks import Ranks
from sailerx.training.loop import sampler_of, train
from sailerx.training.progress import Progress, counted
from sailerx.versions import versions


class Model(TrainedModel):
    """A trained model, as returned by `fit` and `load`."""

    def embed(self, mdata: Cells) -> np.ndarray:
        """Embed cells: by RNA and ATAC where the data hold both of a cell, else by its ATAC alone.

        Parameters
        ----------
        mdata
            A MuData object with modalities of the training data's names, or its ATAC modality alone as AnnData, or the path of
            a file or .zarr folder, as for `fit`. Peaks are matched to the model's by coordinates, else by names that hold
            coordinates, genes by name, in any order. ATAC in a file is read in chunks of cells if its counts are stored by cell
            (CSR), otherwise as a whole.

        Returns
        -------
        Cells × dimensions, float32, in the order of the ATAC modality's ``obs_names``; for Euclidean neighbours. A row is the
        RNA reference, scaled to unit length, beside the ATAC coordinates (`sailerx.joint`); without RNA the reference of the
        most similar training cells takes its place. With the paper's preset, z given ATAC alone, scaled to unit length.

        Raises
        ------
        InputError
            If the ATAC modality is missing, does not hold counts, or shares no peak with the model; or an RNA modality lacks the
            embedding that was the reference in training, or shares no gene with the model.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> model.embed(mdata).shape == model.embed(mdata["atac"]).shape
        True
        """
        with self._opened(mdata) as data:
            return embed.embed(self, data).rows

    def posterior(self, mdata: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Compute the posterior q(z|x) of each cell: mean, and standard deviation as the embedding's uncertainty.

        Parameters
        ----------
        mdata
            As for `embed`.

        Returns
        -------
        Mean and standard deviation, each cells × latent dimensions, float32; the last ``n_private`` are those of the ATAC scores.
        Standard deviations near 1, as in the prior, mean that the cell's ATAC carries little information.

        Raises
        ------
        InputError
            As for `embed`.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> mean, std = model.posterior(mdata)
        >>> mean.shape, bool((std > 0).all())
        ((60, 50), True)
        """
        with self._opened(mdata) as data:
            return embed.posterior(self.network, self.accessibility(data))

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
        """Impute accessibility: the probability that each peak is open, at equal depth and batch for all cells.

        It is the sigmoid of the decoder's logits at the posterior mean of z and at neutral confounders, so that depth and
        batch do not re-enter (Cao et al. 2022).

        Parameters
        ----------
        mdata
            As for `embed`; also an object backed by its file (``anndata.read_h5ad(path, backed="r")``), which is read in
            chunks of cells.
        peaks
            Names of peaks, or coordinates as ``chr1:5-9``, ``chr1-5-9`` or ``chr1_5_9``; the result keeps their order.
        regions
            Regions such as ``chr1:1000-5000`` or ``chr1``: selects overlapping peaks, in the order of ``model.peaks``.
        cells
            Barcodes, whose order the result keeps, or one boolean per ATAC cell; by default all cells.
        group_by
            An obs column: average over the cells of each group; the result is groups × peaks.
        depth
            Number of open peaks to assume for every cell; by default the geometric mean over the training cells.
        batch
            Batch to assume for every cell: a level, or ``{column: level}`` for several batch columns. By default the mean
            of all batches (all levels of a column with equal weight).
        threshold
            Keep only probabilities above this value; X is then sparse (CSR).
        samples
            Number of posterior samples of z to average over, instead of decoding the posterior mean; their standard
            deviation is layer ``std``. It reflects how well a cell's counts determine z, not uncertainty of the decoder.
        seed
            Seed of the posterior samples.
        out
            Write the result to this .h5ad file or .zarr folder, in chunks of cells, instead of returning it. It appears when
            it is complete; anndata opens it lazily (``read_h5ad(out, backed="r")``, ``experimental.read_lazy``).

        Returns
        -------
        Cells (or groups) × peaks, float32, with the cells' obs and the peaks' chrom, start and end. None with ``out``.

        Raises
        ------
        InputError
            As for `embed`; for an unknown peak, cell, column or batch, a region without peaks, and if the result would
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
        refuse_overwriting(out, mdata)
        name, seed = self.record["atac"], checked_seed(seed)
        with self._opened(mdata) as data:
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
        mdata: Cells,
        path: str | os.PathLike[str],
        *,
        labels: str | None = None,
        drop: str | Sequence[str] = (),
        title: str = "",
        motifs: AnnData | None = None,
        links: pd.DataFrame | None = None,
        new: Cells | None = None,
        transfer: bool = False,
    ) -> None:
        """Write a self-contained HTML report of the model and its data.

        It shows UMAPs of the embedding, the share of RNA neighbours kept, alignment weights, scores, loss curves, warnings
        about the data with a figure of each, settings and versions. Of cells with and without RNA, and of new cells, it also shows
        a UMAP of all sets and how well they mix (with scib-metrics: ``pip install 'sailerx[scib]'``). Needs
        ``pip install 'sailerx[plot]'``.

        Parameters
        ----------
        mdata
            RNA and ATAC, as for `fit`; some of the cells, or all, may have ATAC alone.
        path
            File to write, for example ``report.html``; an existing file is replaced when the new one is complete.
        labels
            An obs column of cell types, to colour by and to score with.
        drop
            One or several labels whose cells are not scored.
        title
            Title in the heading of the page.
        motifs
            Motif activity of the cells, from `sailerx.motifs.activity` or `motif_activity`, to show by ``labels``.
        links
            Peak-to-gene links to show, from `links`.
        new
            New cells to show beside ``mdata``, as for `embed`.
        transfer
            Whether to transfer ``labels`` to the new cells or, without ``new``, from the cells with RNA to those without, and to
            show how sure they are (`transfer_labels`).

        Raises
        ------
        InputError
            If the data cannot be used as in training, the labels do not form groups, there is nothing to transfer labels to, or a
            package is missing.

        Examples
        --------
        >>> import sailerx, tempfile
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, batch_key="batch", max_epochs=2, progress="none")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.report(mdata, f"{folder}/report.html", labels="cell_type")
        """
        from sailerx.evaluate.report import write_report

        self.refuse_untrained()
        refuse_overwriting(path, mdata, new)
        options: dict[str, Any] = {"drop": _names(drop), "title": title, "motifs": motifs, "links": links}
        with self._opened(mdata) as data, nullcontext() if new is None else self._opened(new) as others:
            write_report(self, data, path, labels=labels, new=others, transfer=transfer, **options)

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
        """Find peaks whose accessibility differs between two groups of cells.

        Effect sizes come from the decoder at neutral confounders; probabilities of a difference from the observed open
        peaks at equal depth, within batches. `sailerx.results.differential` explains the statistics and gives sources.

        Parameters
        ----------
        mdata
            As for `impute`.
        group_by
            obs column of the groups. With groups found by clustering this ATAC, probabilities are too high.
        group1, group2
            Levels of the column; by default group 2 is all other cells that have a level.
        min_change
            Smallest absolute log2 fold change that counts as a difference.
        fdr
            Expected share of false calls among the peaks marked ``differential``.
        depth, batch
            As for `impute`, for the effect sizes.

        Returns
        -------
        One row per peak of the model, the most probable first: chrom, start, end;
        ``accessibility_1``, ``accessibility_2``: mean imputed probability of each group; ``difference`` and
        ``log2_fold_change`` of the two; ``open_1``, ``open_2``: number of cells with the peak open;
        ``log2_observed``: posterior mean of the log2 ratio at equal depth, given the counts; ``probability``: that its
        absolute value exceeds ``min_change``; ``fdr``: expected share of false calls if this peak and all above are called;
        ``differential``: whether that is at most the argument ``fdr``.

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
        with self._opened(mdata) as data:
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

    def transfer_labels(
        self,
        mdata: Cells,
        new: Cells,
        labels: str,
        *,
        threshold: float = 0.5,
        min_typicality: float = 0.01,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Label new cells, with or without RNA, by the labelled cells that are most like them.

        A new cell with RNA is compared to labelled cells by RNA and ATAC, one without by ATAC alone, in ATAC scores that are
        learned from both sets together. The nearest labelled cells vote, and a Gaussian around the mean of each label counts beside
        them. Both are calibrated on the labelled cells, asked for their labels as if they had none: of the calls of confidence
        0.8 about 80 % are right, as far as the new cells are like the labelled ones. `sailerx.results.label_caller` explains how.

        Parameters
        ----------
        mdata
            Cells with labels: the training data, or others; as for `embed`. Cells whose label is missing are left out.
        new
            New cells, as for `embed`. A cell that is among the labelled ones is not its own neighbour.
        labels
            An obs column of ``mdata``.
        threshold
            A cell whose most probable label is less probable than this is called ``"unknown"``.
        min_typicality
            So is a cell that lies farther from the mean of its label than all but this share of the label's own cells: it may be of
            a type that has no label. Raise it (0.05) where such types are likely; then about as many cells of known types are lost.
        seed
            Draws samples of cells if there are many.

        Returns
        -------
        One row per ATAC cell of ``new``, in their order: ``label``, or ``"unknown"``; ``confidence``, the probability that
        ``best_label`` is right, 0 to 1; ``best_label``, the most probable label; ``typicality``, the share of that label's cells
        that lie as far from its mean, or farther; ``has_rna``, whether RNA was used.

        Raises
        ------
        InputError
            As for `embed`; if there is no such column, it has fewer than two labels, or a threshold is not a share.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> called = model.transfer_labels(mdata, mdata["atac"][:30].copy(), "cell_type")
        >>> list(called), len(called)
        (['label', 'confidence', 'best_label', 'typicality', 'has_rna'], 30)
        """
        with self._opened(mdata) as data, self._opened(new) as cells:
            return transfer_labels(
                self,
                data,
                cells,
                labels,
                threshold=threshold,
                min_typicality=min_typicality,
                seed=checked_seed(seed),
            )

    def predict_rna(
        self,
        mdata: Cells,
        new: Cells,
        *,
        genes: Sequence[str] | None = None,
        n_neighbors: int = 50,
        seed: int = 0,
    ) -> AnnData:
        """Predict the RNA of new cells: the mean of the known cells that are most like them.

        Cells are compared as in `transfer_labels`. Counts of the nearest cells with RNA are added up, scaled to sum 10,000, and
        log(1 + count) is taken, as Seurat's ``NormalizeData`` does with the counts of one cell.

        Parameters
        ----------
        mdata
            Cells with RNA counts and ATAC: the training data, or others; as for `embed`.
        new
            New cells, as for `embed`.
        genes
            Names of genes, in the order of the result; by default all genes of ``mdata``.
        n_neighbors
            Number of nearest cells.
        seed
            Draws samples of cells if there are many.

        Returns
        -------
        ATAC cells of ``new`` × genes, float32, sparse (CSR).

        Raises
        ------
        InputError
            As for `embed`; if ``mdata`` has no RNA counts, for an unknown gene, or if the result would take over 4 GB of memory.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> model.predict_rna(mdata, mdata["atac"][:30].copy(), n_neighbors=10).shape
        (30, 100)
        """
        with self._opened(mdata) as data, self._opened(new) as cells:
            return predict_rna(
                self, data, cells, genes=genes, n_neighbors=n_neighbors, seed=checked_seed(seed)
            )

    def motif_activity(
        self,
        mdata: Cells,
        matches: MatchesLike,
        *,
        n_background: int = 50,
        depth: float | None = None,
        batch: Batch = None,
        seed: int = 0,
        threads: int | None = None,
        progress: Style = "auto",
    ) -> AnnData:
        """Compute motif activity from imputed accessibility; `sailerx.motifs.activity` computes it from counts.

        Imputation borrows from similar cells, at equal depth and batch. z-scores of cell types are therefore further apart than those
        of counts, but cells are no longer independent: `sailerx.motifs.differential` gives no p-values for them. Types of fewer than
        some 50 cells are drawn towards others: of these, counts tell more.

        Parameters
        ----------
        mdata
            As for `impute`.
        matches, n_background, threads
            As for `sailerx.motifs.activity`; all of the model's peaks must be among the peaks of ``matches``.
        depth, batch
            As for `impute`.
        seed
            Seed of the background peaks.
        progress
            As for `sailerx.fit`.

        Returns
        -------
        As of `sailerx.motifs.activity`.

        Raises
        ------
        InputError
            As for `impute`, and if the motifs do not fit the model's peaks.

        Examples
        --------
        >>> import numpy as np, pandas as pd, sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> hits = np.random.default_rng(0).random((90, 2)) < 0.3
        >>> matches = pd.DataFrame(hits, mdata["atac"].var_names, ["motif1", "motif2"]).assign(gc=0.5)
        >>> model.motif_activity(mdata, matches, progress="none").shape
        (60, 2)
        """
        with self._opened(mdata) as data:
            return imputed_activity(
                self,
                atac_of(data, self.record["atac"]),
                joined_obs(data, self.record["atac"]),
                matches,
                n_background=n_background,
                depth=depth,
                batch=batch,
                seed=checked_seed(seed),
                threads=threads,
                progress=progress,
            )

    def links(
        self,
        mdata: Cells,
        annotation: AnnotationLike,
        *,
        genes: Sequence[str] | None = None,
        distance: int = 500_000,
        n_metacells: int | None = None,
        n_background: int = 200,
        fdr: float = 0.05,
        depth: float | None = None,
        batch: Batch = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Link peaks to genes whose expression follows their accessibility.

        Imputed accessibility and RNA are averaged over metacells, groups of like cells in the embedding. The correlation of a gene
        with a peak near its start is compared with its correlations with like peaks on other chromosomes (`sailerx.regulators.links`).

        Parameters
        ----------
        mdata
            MuData with RNA counts and ATAC of the same cells, or the path of its file. Background peaks are matched on GC content
            if ATAC's var has a column ``gc``, else on accessibility alone.
        annotation
            Starts of the genes: path of a GTF file or of a table (.csv, .tsv), or a table, with names of genes as index and
            columns ``chrom`` and ``tss`` (0-based), or ``chrom``, ``start``, ``end`` and ``strand``.
        genes
            Names of genes; by default all that are in the RNA and the annotation.
        distance
            Largest distance of a peak's centre from a gene's start, in bases.
        n_metacells
            Number of metacells; by default one per 20 cells, at most 500.
        n_background
            Background peaks drawn for each peak.
        fdr
            Expected share of false links among those marked ``linked``.
        depth, batch
            As for `impute`.
        seed
            Seed of the metacells and of the background.

        Returns
        -------
        One row per pair of a gene and a peak near it, the smallest p-value first: ``gene``, ``peak``; ``chrom``, ``start``, ``end``
        of the peak; ``tss``; ``distance`` of the peak's centre from it, positive downstream; ``correlation``; ``z``; ``p_value``
        (two-sided, by comparison with pairs on different chromosomes), ``fdr`` (Benjamini-Hochberg) and ``linked``. With few cell
        types many peaks vary alike by chance, and few pairs or none can be called; a smaller ``distance`` tests fewer.

        Raises
        ------
        InputError
            As for `impute`; if the annotation cannot be used or no peak is near a gene.

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=200, n_peaks=90, n_genes=100, n_types=3, seed=0, n_links=20)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> table = model.links(mdata, mdata["rna"].var)
        >>> bool(table["distance"].abs().max() <= 500_000)
        True
        """
        from sailerx.results.links import links  # imports statistics that no other verb needs

        with self._opened(mdata) as data:
            return links(
                self,
                data,
                annotation,
                genes=genes,
                distance=distance,
                n_metacells=n_metacells,
                n_background=n_background,
                fdr=fdr,
                depth=depth,
                batch=batch,
                seed=checked_seed(seed),
            )

    @contextmanager
    def _opened(self, mdata: Cells) -> Iterator[Any]:
        """Open data with the modalities named as in training."""
        record = self.record
        with opened(mdata) as data:
            yield find_modalities(
                data,
                record.get("rna", "rna"),
                record["atac"],
                record.get("rna_layer"),
                record.get("atac_layer"),
            )

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to a folder (safetensors, JSON and CSV), which appears when it is complete.

        Parameters
        ----------
        path
            The folder.
        overwrite
            Whether to replace an existing model folder.

        Raises
        ------
        InputError
            If the folder exists and ``overwrite`` is not set, or the existing folder is not a model.

        Examples
        --------
        >>> import sailerx, tempfile
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/run")
        ...     len(sailerx.load(f"{folder}/run").embed(mdata))
        60
        """
        with new_folder(path, overwrite=overwrite) as folder:
            self.write_into(folder)

    def to_anndata(self, mdata: Cells, *, posterior: bool = False) -> AnnData:
        """Embed cells into a small AnnData to write as a results file: obsm ``X_sailerx``, run record in ``uns['sailerx']``.

        obs says of each cell whether its RNA was used (``sailerx_has_rna``) and ATAC's share of its row's squared length
        (``sailerx_atac_weight``, 0 to 1). With ``posterior``, obsm also holds ``X_sailerx_mean`` and ``X_sailerx_std`` (see
        `Model.posterior`).

        Examples
        --------
        >>> import sailerx
        >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
        >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
        >>> len(model.to_anndata(mdata).obsm["X_sailerx"])
        60
        """
        with self._opened(mdata) as data:
            atac = atac_of(data, self.record["atac"])
            result = AnnData(obs=pd.DataFrame(index=atac.obs_names.astype(str)))
            found = embed.embed(self, data)
            result.obsm["X_sailerx"] = found.rows
            result.obs["sailerx_has_rna"], result.obs["sailerx_atac_weight"] = (
                found.has_rna,
                found.atac_weight,
            )
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
    mdata: Cells,
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
    """Train SAILERX on paired RNA and ATAC, optionally together with ATAC-only cells (hybrid training).

    The ATAC of each cell is embedded so that cells similar in the RNA reference stay similar, while sequencing depth
    and batch are removed (Cao et al. 2022, doi:10.1093/nar/gkac781).

    Parameters
    ----------
    mdata
        MuData with an RNA and an ATAC modality, cells matched by barcode; or AnnData whose ``var["feature_types"]`` tells genes
        from peaks, as scanpy reads Cell Ranger's file; or the path of an .h5mu or .h5ad file, a .zarr folder, or Cell Ranger's
        ``filtered_feature_bc_matrix.h5``. Modalities with other names are found where there is only one candidate. ATAC holds
        raw counts or 0/1. ATAC cells without RNA are trained without alignment; `sailerx.combine` joins any number of paired
        and ATAC-only sets. Whether a cell has RNA counts as one more batch; name a column that tells the sets apart in
        ``batch_key``. All sets need common peaks: see `sailerx.match_peaks`.
    rna_embedding
        Key of ``mdata[rna].obsm`` used as the fixed reference (PCA, scVI, Harmony, any matrix). By default, PCA is
        computed from the RNA counts.
    batch_key
        One or several categorical obs columns to remove from the embedding.
    continuous_key
        One or several numeric obs columns to remove from the embedding.
    preset
        ``"default"``, or ``"paper"`` for the reference implementation's constants.
    max_epochs
        Epochs after the warm-up; by default the preset's: for ``"default"`` enough for about 2,000 mini-batches, at least 20 and at
        most 100 (200 for few cells). With 0 no network is trained, which takes a fraction of the time: the embedding is the same,
        and labels and RNA can be transferred, but nothing imputed.
    seed
        Seed of all random numbers. Two CPU runs with equal seed and thread count are bit-identical.
    device
        ``"auto"`` (CUDA if PyTorch finds it, else the CPU), ``"cpu"`` or ``"cuda"``.
    rna, atac
        Names of the modalities.
    rna_layer, atac_layer
        Layers of raw counts; by default the layer ``counts`` if it exists, else X.
    backed
        Train from a file larger than memory: ``mdata`` is the path of an .h5mu file whose ATAC, stored by cell (CSR), stays on
        disk. Chunks of consecutive cells are read while the network trains, so memory grows with the numbers of cells and of
        peaks but not of open peaks. RNA is read whole if PCA is computed from it. Chunks are shuffled, and cells within groups of
        chunks; embeddings differ from those of full shuffling but are as good. Leave it off if the data fit into memory.
        A backed MuData object (``sailerx.read(path, backed=True)``) is trained from in the same way.
    progress
        ``"bar"``, ``"lines"``, ``"none"``, or ``"auto"``: a bar in a terminal, lines elsewhere.
    checkpoint
        File for the training state, written every ``checkpoint_epochs`` epochs or ``checkpoint_minutes`` minutes. If it exists,
        the run resumes from it, with the result of an uninterrupted run (bit-identical on a CPU). It is kept after the run.
    checkpoint_epochs, checkpoint_minutes
        Intervals between two checkpoints; None for none.
    resume
        Whether to resume from an existing checkpoint; if not, it is replaced.
    devices, nodes
        Number of processes per machine (with CUDA, one per GPU), and of machines. The processes share each mini-batch, and
        each reads its own shard of the file, so ``mdata`` must be a path. The result equals that of one process, up to rounding.
        All processes call this function; start them by ``torchrun`` or SLURM's ``srun``, or on one machine by the command
        ``sailerx fit --devices``. Needs lightning-fabric.
    **options
        Any other field of `sailerx.Settings`, for example ``n_latent``, ``gamma`` or ``lambda_``.

    Returns
    -------
    The trained model.

    Raises
    ------
    InputError
        If data or arguments cannot be used; says what must hold, what was found and what to do.
    FloatingPointError
        If training diverges.
    ProcessLostError
        If another process of a distributed run has ended or was killed.

    Examples
    --------
    >>> import sailerx
    >>> mdata = sailerx.simulate(n_cells=60, n_peaks=90, n_genes=100, n_types=3, seed=0)
    >>> model = sailerx.fit(mdata, max_epochs=2, progress="none")
    >>> len(model.embed(mdata))
    60
    """
    settings, seed = make_settings(preset, max_epochs=max_epochs, **options), checked_seed(seed)
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
        data, settings = _data_of_run(found, settings, ranks, backed, is_path(mdata), about)
        shown = Progress(progress if ranks.is_first else "none", settings.n_epochs)
        intervals = checkpoint_epochs, checkpoint_minutes
        with one_thread_for_little(data.n_cells * data.n_peaks):
            shown.say(_headline(data, settings, ranks))
            checkpoints = ranks.from_first(
                lambda: _checkpoints_of_run(checkpoint, data, settings, seed, intervals, resume)
            )
            joint = ranks.from_first(lambda: _learned_joint(data, settings, shown, found, about))
            scores = None if joint is None else joint.coordinates.whole
            settings = with_decoder_decay(settings, scores, data.n_cells)
            vae, history = train(
                data,
                settings,
                seed=seed,
                device=ranks.device,
                progress=shown,
                checkpoints=checkpoints,
                ranks=ranks,
                scores=scores,
            )
    record = about | {"preset": preset} | _circumstances(data, ranks)
    return Model(vae, settings, data.peaks, data.confounders, history, record, joint, data.reference)


def _learned_joint(
    data: Multiome, settings: Settings, shown: Progress, found: Any, about: dict[str, Any]
) -> JointEmbedding | None:
    """Learn the joint embedding, and say how much ATAC counts in it; None if the settings want none."""
    if not settings.joint_embedding:
        return None
    joint = JointEmbedding.learn(data, settings, about["seed"])
    shown.say(f"ATAC: {joint.in_words()}")
    if isinstance(found, AnnData) or about["atac"] in found.mod:
        obs = joined_obs(found, about["atac"])
        undeclared = undeclared_batches(data, joint, obs, about["batch_key"], about["seed"])
        if undeclared:
            shown.say(f"Note: {in_words(undeclared)}")
    return joint


def _named(found: Any, backed: bool, arguments: dict[str, Any]) -> Any:
    """Find RNA and ATAC in the data, under the names of the arguments."""
    if backed and isinstance(found, AnnData):
        refuse_features_on_disk(found)
    names = arguments.get("rna", "rna"), arguments.get("atac", "atac")
    layers = arguments.get("rna_layer"), arguments.get("atac_layer")
    return find_modalities(found, *names, *layers, asked=set(names) - {"rna", "atac"})


def _data_of_run(
    found: Any, settings: Settings, ranks: Ranks, backed: bool, from_file: bool, about: dict[str, Any]
) -> tuple[Multiome, Settings]:
    """Read and check the data, and fix the settings that depend on them."""
    data = ranks.from_first(
        lambda: Multiome.from_mudata(
            _named(found, backed, about), settings, **about, in_memory=from_file and not backed
        )
    )
    if ranks.world_size == 1:  # else each process reads its own cells, later
        data = replace(data, x=ranks.read(data.x))
    n_steps = sampler_of(data, settings, about["seed"]).n_steps
    return data, settings.for_data(n_steps, hybrid=bool(data.has_rna.any() and not data.has_rna.all()))


def _checkpoints_of_run(
    path: str | os.PathLike[str] | None,
    data: Multiome,
    settings: Settings,
    seed: int,
    intervals: tuple[int | None, float | None],
    resume: bool,
) -> Checkpoints | None:
    if path is None:
        return None
    return Checkpoints(Path(path), fingerprint(data, settings, seed), *intervals, resume)


def _headline(data: Multiome, settings: Settings, ranks: Ranks) -> str:
    several = f"{ranks.world_size} × " if ranks.world_size > 1 else ""
    at_most = "at most " if settings.held_out_share else ""
    epochs = f"{at_most}{counted(settings.n_epochs, 'epoch')}" if settings.n_epochs else "no network"
    return (
        f"training on {several}{ranks.device.type} ({counted(n_threads(), 'thread')}): {data.n_cells:,} cells × "
        f"{data.n_peaks:,} peaks, {epochs}"
    )


def _circumstances(data: Multiome, ranks: Ranks) -> dict[str, Any]:
    """Collect what the run's record says about data and machine."""
    return {
        "backed": isinstance(data.x, PeaksOnDisk) and not data.x.to_memory,
        "device": ranks.device.type,
        "threads": torch.get_num_threads(),
        "processes": ranks.world_size,
        "reference": data.source,
        "n_cells": data.n_cells,
        "n_peaks": data.n_peaks,
        "versions": versions(),
    }


def _refuse_in_memory(mdata: object, backed: bool, n_processes: int = 1) -> None:
    if n_processes > 1 and not is_path(mdata):
        raise InputError(
            "several processes need the path of an .h5mu file as data, because each reads its own shard, got "
            f"{type(mdata).__name__}. Write it to a file, or train on one device."
        )
    if backed and not is_path(mdata):
        raise InputError(
            f"`backed` needs the path of an .h5mu file as data, got {type(mdata).__name__}. Write it to a file, or leave `backed` "
            "off."
        )


def _names(key: str | Sequence[str] | None) -> list[str]:
    return [] if key is None else [key] if isinstance(key, str) else list(key)


def load(path: str | os.PathLike[str], *, device: str = "auto") -> Model:
    """Read a model written by `Model.save` or by ``sailerx fit``.

    Parameters
    ----------
    path
        The model's folder.
    device
        Device to compute on, as for `fit`.

    Raises
    ------
    InputError
        If the folder is not a model, is damaged, or was written by a newer version; or the device does not exist.

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


#: arguments of `fit` that say what is in the data, and those that say how a run goes on
_OF_DATA = ("rna_embedding", "batch_key", "continuous_key", "rna", "atac", "rna_layer", "atac_layer", "seed")
_OF_RUN = (
    *("device", "devices", "nodes", "progress"),
    *("checkpoint", "checkpoint_epochs", "checkpoint_minutes", "resume"),
)


def check(mdata: Cells, **arguments: Any) -> str:
    """Check whether `fit` would accept these data, without training.

    Parameters
    ----------
    mdata, **arguments
        As for `fit`. Those of the run, such as ``device``, ``progress`` and ``checkpoint``, change nothing here.

    Returns
    -------
    A few lines that summarise the data as the network would see them, then one line ``warning: ...`` per suspicious property
    (see `sailerx.data.quality_warnings`).

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
    for key in _OF_RUN:
        arguments.pop(key, None)
    options = {key: arguments.pop(key) for key in list(arguments) if key not in _OF_DATA}
    settings = make_settings(options.pop("preset", "default"), **options)
    arguments["seed"] = checked_seed(arguments.get("seed", 0))
    with opened(mdata) as found:
        named = _named(found, backed, arguments)
        data = Multiome.from_mudata(named, settings, **arguments, in_memory=is_path(mdata) and not backed)
        batches = obs_columns(named, arguments.get("atac", "atac"), arguments["batch_key"])
    depth = data.depth
    chroms = len(data.blocks)
    return "\n".join(
        [
            f"cells: {data.n_cells:,}, of which {int(data.has_rna.sum()):,} have RNA",
            f"peaks: {data.n_peaks:,} in {chroms} block{'s' if chroms > 1 else ''} by chromosome",
            f"open peaks per cell: median {np.median(depth):,.0f}, from {depth.min():,} to {depth.max():,}",
            f"RNA reference: {data.source}" + (f", {data.g.shape[1]} dimensions" if data.reference else ""),
            f"confounders: {', '.join(data.confounders.names)}",
            *(f"warning: {text}" for text in quality_warnings(data, batches)),
        ]
    )
