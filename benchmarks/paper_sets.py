"""The paper's data sets: where they come from, what is known of them, and which of them a folder holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import mudata
import numpy as np
import pandas as pd
import paper_public as public
import scipy.sparse as sp
from hybrid import together
from paper_steps import NotRunError, Plan

import sailerx

GEO = "https://ftp.ncbi.nlm.nih.gov/geo"
TENX = "https://cf.10xgenomics.com/samples/cell-arc/2.0.0"
#: cells of a data set with QUICK=1
QUICK_CELLS = 300


@dataclass(frozen=True)
class Expected:
    """Motifs that should be more active in one group of cells than in another, or than in all others."""

    group: str
    other: str | None
    #: identifiers of motifs, or beginnings of the names of factors
    motifs: tuple[str, ...]


@dataclass(frozen=True)
class DataSet:
    """A data set as it is published.

    Attributes
    ----------
    name
        Its name; the folder may hold it as NAME.h5mu.
    title, accession, source
        What it is, its public accession, and the address of its files.
    files
        Its files, which the folder may hold instead.
    read
        Reads these files from a folder.
    genome
        Build of its peaks.
    labels, drop
        obs column of cell types, and labels of cells that are not scored.
    library, atac_only
        obs column of libraries, and those whose RNA is removed for hybrid training.
    expected
        Motifs that the paper found.
    """

    name: str
    title: str
    accession: str
    source: str
    files: tuple[str, ...]
    read: Callable[[Path], mudata.MuData]
    genome: str
    labels: str = "cell_type"
    drop: tuple[str, ...] = ()
    library: str | None = None
    atac_only: tuple[str, ...] = ()
    expected: tuple[Expected, ...] = ()


@dataclass(frozen=True)
class Case:
    """A data set that is there: its file, as the experiments read it."""

    name: str
    title: str
    path: Path
    labels: str = "cell_type"
    drop: tuple[str, ...] = ()
    library: str | None = None
    batch: str | None = None
    atac_only: tuple[str, ...] = ()
    genome: Path | None = None
    build: str = ""
    expected: tuple[Expected, ...] = ()
    has_truth: bool = False
    stamp: tuple[object, ...] = field(default=(), repr=False)

    @property
    def folder(self) -> Path:
        """Folder of what is computed from it."""
        return self.path.parent

    def read(self) -> mudata.MuData:
        """Read its counts; cells without counts in a modality are not there."""
        with mudata.set_options(pull_on_update=False):
            return mudata.read_h5mu(self.path)

    def groups(self, mdata: mudata.MuData) -> np.ndarray:
        """Label of each cell."""
        if self.labels not in mdata["atac"].obs:
            raise NotRunError(f"labels missing: {self.name}.labels.csv")
        return mdata["atac"].obs[self.labels].astype(str).to_numpy()

    def known(self, mdata: mudata.MuData) -> np.ndarray:
        """Which cells are scored."""
        return ~np.isin(self.groups(mdata), [*self.drop, "nan"])


PBMC_FILE = "pbmc_granulocyte_sorted_{}_filtered_feature_bc_matrix.h5"
SNARE, SHARE = "GSE126074_AdBrainCortex_SNAREseq_", "skin.late.anagen"
SETS = (
    DataSet(
        "pbmc10k", "PBMC 10k (10x Multiome)", "pbmc_granulocyte_sorted_10k",
        f"{TENX}/pbmc_granulocyte_sorted_10k", (PBMC_FILE.format("10k"),),
        lambda folder: public.tenx(folder / PBMC_FILE.format("10k")), "hg38",
    ),
    DataSet(
        "pbmc3k", "PBMC 3k (10x Multiome)", "pbmc_granulocyte_sorted_3k",
        f"{TENX}/pbmc_granulocyte_sorted_3k", (PBMC_FILE.format("3k"),),
        lambda folder: public.tenx(folder / PBMC_FILE.format("3k")), "hg38",
    ),
    DataSet(
        "shareseq_skin", "mouse skin (SHARE-seq)", "GSE140203 (GSM4156597, GSM4156608)",
        f"{GEO}/series/GSE140nnn/GSE140203/suppl",
        (
            *(f"GSM4156597_{SHARE}.{part}.gz" for part in ("counts.txt", "peaks.bed", "barcodes.txt")),
            f"GSM4156608_{SHARE}.rna.counts.txt.gz", "celltype_skin.txt",
        ),
        public.shareseq, "mm10",
    ),
    DataSet(
        "snareseq_cortex", "mouse cortex (SNARE-seq)", "GSE126074",
        f"{GEO}/series/GSE126nnn/GSE126074/suppl",
        tuple(
            f"{SNARE}{part}.gz" for part in (
                "cDNA.counts.mtx", "cDNA.genes.tsv", "cDNA.barcodes.tsv", "chromatin.counts.mtx",
                "chromatin.peaks.tsv", "chromatin.barcodes.tsv",
            )
        ),
        public.snareseq, "mm10", "cell_type", ("Mis",), "library_batch", ("09J", "09K", "09L"),
        (Expected("Pvalb", "L5 PT", ("MEF2",)), Expected("Pvalb", "L5 PT", ("POU",))),
    ),
)  # fmt: skip


def case_of(which: DataSet, folder: Path | None, genomes: list[Path], plan: Plan) -> Case:
    """Find a data set in a folder, and write it as the experiments read it.

    Raises
    ------
    NotRunError
        If the folder does not hold it.
    """
    sources = [] if folder is None else [folder / f"{which.name}.h5mu"]
    if folder is not None and not sources[0].exists():
        sources = [folder / name for name in which.files]
    missing = [path.name for path in sources if not path.exists()]
    if not sources or missing:
        some = len(missing) < len(sources)
        raise NotRunError(f"file missing: {', '.join(missing) if some else f'{which.name}.h5mu'}")
    mdata = (
        sailerx.read(sources[0])
        if len(sources) == 1 and which.name in sources[0].name
        else which.read(folder)
    )
    labels = folder / f"{which.name}.labels.csv"  # type: ignore[operator]
    if labels.exists():
        mdata["atac"].obs[which.labels] = (
            pd.read_csv(labels, index_col=0).iloc[:, 0].reindex(mdata["atac"].obs_names)
        )
    stamp = tuple(
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in [*sources, labels]
        if file.exists()
    )
    path = plan.folder(which.name, stamp) / "cells.h5mu"
    if not path.exists():
        _write(_usable(mdata, plan), path)
    genome = next((file for file in genomes if file.name.startswith(which.genome)), None)
    there = which.library if which.library in mdata["atac"].obs else None
    return Case(
        which.name, which.title, path, which.labels, which.drop, there, None, which.atac_only, genome, which.genome,
        which.expected, stamp=stamp,
    )  # fmt: skip


def simulated(plan: Plan) -> Case:
    """Simulate paired cells with batch effects, and a genome with a motif of another factor in the peaks of each type."""
    sizes = {"n_cells": 300, "n_genes": 400, "n_peaks": 2000, "n_types": 3} if plan.quick else {}
    folder = plan.folder("simulated", sizes)
    folder.mkdir(parents=True, exist_ok=True)
    path, genome = folder / "cells.h5mu", folder / "genome.fa"
    if not path.exists():
        _write(sailerx.simulate(**sizes, seed=plan.seed, genome=genome), path)
    with mudata.set_options(pull_on_update=False):
        atac = mudata.read_h5mu(path)["atac"]
    types = list(atac.obs["cell_type"].cat.categories)
    planted = tuple(
        Expected(kind, None, (str(motif),))
        for kind, motif in zip(types, atac.uns["truth"]["motif"], strict=True)
    )
    return Case(
        "simulated", f"simulated, {atac.n_obs:,} cells", path, library="batch", batch="batch", atac_only=("batch1",),
        genome=genome, build="simulated", expected=planted, has_truth=True, stamp=tuple(sizes.items()),
    )  # fmt: skip


def pbmc_together(cases: dict[str, Case], plan: Plan) -> Case:
    """Put the ATAC of PBMC 3k on the peaks of PBMC 10k, for hybrid training."""
    missing = [name for name in ("pbmc10k", "pbmc3k") if name not in cases]
    if missing:
        raise NotRunError(f"file missing: {', '.join(f'{name}.h5mu' for name in missing)}")
    path = plan.folder("pbmc_hybrid", [cases[name].stamp for name in ("pbmc10k", "pbmc3k")]) / "cells.h5mu"
    if not path.exists():
        _write(public.stacked(cases["pbmc10k"].read(), cases["pbmc3k"].read()), path)
    return replace(
        cases["pbmc10k"], name="pbmc_hybrid", title="PBMC 10k, with the ATAC of 3k", path=path, library="set",
        atac_only=("pbmc3k",),
    )  # fmt: skip


def _usable(mdata: mudata.MuData, plan: Plan) -> mudata.MuData:
    """The cells that have counts in both modalities, with QUICK=1 a few of them."""
    mods = {name: mdata[name].copy() for name in ("rna", "atac")}
    cells = mods["rna"].obs_names.intersection(mods["atac"].obs_names, sort=False)
    mods = {name: part[cells].copy() for name, part in mods.items()}
    seen = np.all([np.asarray(sp.csr_matrix(p.X).sum(axis=1)).ravel() > 0 for p in mods.values()], axis=0)
    chosen = np.flatnonzero(seen)
    if plan.quick:
        chosen = np.sort(np.random.default_rng(plan.seed).permutation(chosen)[:QUICK_CELLS])
    return together(*(part[chosen].copy() for part in mods.values()))


def _write(mdata: mudata.MuData, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    with mudata.set_options(pull_on_update=False):
        mdata.write(temporary)
    temporary.replace(path)
