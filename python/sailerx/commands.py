"""The commands of ``sailerx``: the flags of each, and what it does with them.

Types and defaults of flags are those of the Python functions that a command calls. Nothing heavy is imported before the command
is run; the parameters of `sailerx.api` are read from its source.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sailerx
from sailerx.config import DEVICES, PRESETS, option_kinds
from sailerx.errors import InputError
from sailerx.files.atomic import new_file, new_folder, refuse_one_place, refuse_overwriting
from sailerx.flags import add_fields, add_flags

if TYPE_CHECKING:
    from sailerx.api import Model


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str
    help: str
    #: adds its arguments to an argparse parser
    add_arguments: Callable[[Any], None]
    #: takes them as keywords
    run: Callable[..., None]
    #: an argument that begins with this character names a file whose lines are arguments
    file_prefix: str | None = None


#: arguments that name what is read, and those that name what is written
_READ = (
    "model",
    "input",
    "new",
    "annotation",
    "reference",
    "genome",
    "matches",
    "motifs",
    "links",
)
_WRITTEN = ("output", "embed", "save_matches", "differential", "checkpoint")


def refuse_same_places(arguments: Mapping[str, Any]) -> None:
    """Raise `InputError` if a command would write to what it reads, or two results to one place."""
    read = [arguments[name] for name in _READ if isinstance(arguments.get(name), str)]
    read += [_named(word)[1] for name in ("paired", "atac_only") for word in arguments.get(name, ())]
    written = [arguments[name] for name in _WRITTEN if arguments.get(name)]
    for path in written:
        refuse_overwriting(path, *read)
    refuse_one_place(*written)


# Shared arguments

_ANY_FILE = "or .h5ad, Cell Ranger's .h5 or a .zarr folder with genes and peaks"


def _add_model_and_cells(parser: Any) -> None:
    parser.add_argument("model", metavar="RUN/")
    parser.add_argument("input", metavar="IN.h5mu", help=f"{_ANY_FILE}, or with the ATAC alone")


def _add_output(parser: Any, metavar: str, text: str | None = None, **options: Any) -> None:
    options = {"required": True, "type": _ending_as(metavar)} | options
    parser.add_argument("-o", "--output", metavar=metavar, help=text, **options)


def _ending_as(metavar: str) -> Callable[[str], str]:
    """Make a check of the ending of AnnData and MuData files: what reads them goes by it."""
    ending = Path(metavar).suffix

    def checked(path: str) -> str:
        if ending in (".h5ad", ".h5mu") and Path(path).suffix != ending:
            raise argparse.ArgumentTypeError(f"must end in {ending}, got {path!r}")
        return path

    return checked


def _add_machine(parser: Any) -> None:
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads")


def _add_batch(parser: Any) -> None:
    text = "or COLUMN=LEVEL for each of several columns (--batch=-x for a level -x); default: the mean of all levels"
    parser.add_argument("--batch", nargs="+", action="extend", default=[], metavar="LEVEL", help=text)


def _add_data(parser: Any) -> None:
    flags = {
        "rna_embedding": ("KEY", "obsm key of the RNA reference; default: PCA of the counts"),
        "batch_key": ("COLUMN", "categorical obs columns to hide from the embedding"),
        "continuous_key": ("COLUMN", "numeric obs columns to hide from the embedding"),
        "rna": ("NAME", "name of the RNA modality"),
        "atac": ("NAME", "name of the ATAC modality"),
        "rna_layer": ("LAYER", "layer of RNA counts"),
        "atac_layer": ("LAYER", "layer of ATAC counts"),
        "seed": ("N", ""),
        "backed": (
            "",
            "leave the ATAC in the file, for data larger than memory; cells are then shuffled by chunks",
        ),
    }
    add_flags(parser, "sailerx.api:fit", flags)


def _load(model: str, device: str, threads: int | None) -> Model:
    from sailerx import api

    _set_threads(threads)
    return api.load(model, device=device)


def _batch_of(model: Model, words: Sequence[str]) -> Any:
    from sailerx.results.selection import batch_of_words

    return batch_of_words(model.confounders, words)


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        if threads < 1:
            raise InputError(f"`threads` must be at least 1, got {threads}.")
        torch.set_num_threads(threads)


# fit


def _add_fit(parser: Any) -> None:
    parser.add_argument("input", metavar="IN.h5mu", help=_ANY_FILE)
    _add_output(parser, "RUN/", "folder for the model; must not exist yet")
    text = "also write the embedding of the same cells"
    parser.add_argument("--embed", metavar="OUT.h5ad", type=_ending_as("OUT.h5ad"), help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace the model folder")
    _add_data(parser)
    parser.add_argument("--preset", default="default", choices=list(PRESETS))
    _add_machine(parser)
    flags = {
        "devices": (
            "N",
            "processes on each machine that train together, one per GPU; torchrun or srun may start them too",
        ),
        "nodes": ("N", "machines; more than one need torchrun or srun"),
        "progress": ("", ""),
        "checkpoint": (
            "FILE",
            "write the state here at intervals, and resume from it if it is there; removed at the end",
        ),
        "checkpoint_epochs": ("N", "epochs between two writings of the checkpoint"),
        "checkpoint_minutes": ("X", "minutes after which it is written too"),
    }
    add_flags(parser, "sailerx.api:fit", flags)
    text = "start anew and replace the checkpoint"
    parser.add_argument("--no-resume", dest="resume", action="store_false", help=text)
    add_fields(parser.add_argument_group("model options (defaults are the preset's)"), option_kinds())


def _fit(
    input: str,
    output: str,
    embed: str | None,
    overwrite: bool,
    threads: int | None,
    device: str,
    devices: int,
    nodes: int,
    argv: Sequence[str],
    **arguments: Any,
) -> None:
    from sailerx import api
    from sailerx.device import pick_device
    from sailerx.training.distributed.launch import launch
    from sailerx.training.distributed.processes import is_started, processes_of_run

    if devices > 1 and nodes == 1 and not is_started():
        launch(["-m", "sailerx", *argv], devices)
        return
    ranks = processes_of_run(pick_device(device), devices, nodes)
    _set_threads(threads)
    with ExitStack() as stack:
        stack.enter_context(_without_matplotlib())

        def places() -> tuple[Path, Path | None]:
            folder = stack.enter_context(new_folder(output, overwrite=overwrite))
            return folder, stack.enter_context(_maybe_file(embed))

        folder, file = ranks.from_first(places)
        model = api.fit(input, device=device, devices=devices, nodes=nodes, **arguments)
        if not ranks.is_first:
            return
        model.write_into(folder)
        if file:
            model.to_anndata(input).write_h5ad(file)
    if arguments["checkpoint"]:  # the model is written
        Path(arguments["checkpoint"]).unlink(missing_ok=True)


@contextmanager
def _without_matplotlib() -> Iterator[None]:
    """Hide Matplotlib from igraph, which imports it only to draw; that would take half a second."""
    if "matplotlib" in sys.modules:
        yield
        return
    sys.modules["matplotlib"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["matplotlib"]


def _maybe_file(path: str | None) -> AbstractContextManager[Path | None]:
    return new_file(path) if path else nullcontext()


# embed, impute, differential, transfer, report


def _add_embed(parser: Any) -> None:
    _add_model_and_cells(parser)
    _add_output(parser, "OUT.h5ad", "obsm X_sailerx")
    text = "also obsm X_sailerx_mean and X_sailerx_std of q(z|x)"
    parser.add_argument("--posterior", action="store_true", help=text)
    _add_machine(parser)


def _embed(model: str, input: str, output: str, posterior: bool, device: str, threads: int | None) -> None:
    with new_file(output) as path:
        _load(model, device, threads).to_anndata(input, posterior=posterior).write_h5ad(path)


def _add_impute(parser: Any) -> None:
    _add_model_and_cells(parser)
    _add_output(parser, "OUT.h5ad", "or a .zarr folder: cells × peaks", type=str)
    flags = {
        "depth": ("N", "open peaks that every cell is taken to have; default: the geometric mean"),
        "peaks": ("PEAK", "by default all"),
        "regions": ("REGION", "chr1:1000-5000 or chr1"),
        "cells": ("BARCODE", "by default all"),
        "group_by": ("COLUMN", "means over the groups of this obs column"),
        "threshold": ("P", "keep probabilities above it, as a sparse matrix"),
        "samples": ("N", "average over posterior samples, with their standard deviation"),
        "seed": ("N", ""),
    }
    _add_batch(parser)
    add_flags(parser, "sailerx.api:Model.impute", flags)
    _add_machine(parser)


def _impute(
    model: str, input: str, output: str, device: str, threads: int | None, batch: list[str], **choice: Any
) -> None:
    trained = _load(model, device, threads)
    trained.impute(input, out=output, batch=_batch_of(trained, batch), **choice)


def _add_differential(parser: Any) -> None:
    _add_model_and_cells(parser)
    _add_output(parser, "OUT.csv", "one row per peak")
    flags = {
        "depth": ("N", "open peaks that every cell is taken to have; default: the geometric mean"),
        "group_by": ("COLUMN", "obs column of the groups"),
        "group1": ("LEVEL", ""),
        "group2": ("LEVEL", "by default all other cells"),
        "min_change": ("X", "log2 fold change that counts"),
        "fdr": ("P", "expected share of false calls"),
    }
    _add_batch(parser)
    add_flags(parser, "sailerx.api:Model.differential_accessibility", flags)
    _add_machine(parser)


def _differential(
    model: str, input: str, output: str, device: str, threads: int | None, batch: list[str], **choice: Any
) -> None:
    with new_file(output) as path:
        trained = _load(model, device, threads)
        table = trained.differential_accessibility(input, batch=_batch_of(trained, batch), **choice)
        table.to_csv(path, index_label="peak")


def _add_transfer(parser: Any) -> None:
    parser.add_argument("model", metavar="RUN/")
    parser.add_argument(
        "input", metavar="KNOWN.h5mu", help="cells with labels or RNA, as the model was trained on"
    )
    parser.add_argument("new", metavar="NEW.h5mu", help="new cells, or an .h5ad file with their ATAC alone")
    _add_output(parser, "OUT.h5ad", "one row per new cell: labels in obs, predicted RNA in X")
    parser.add_argument("--labels", metavar="COLUMN", help="obs column of the known cells to transfer")
    of_labels = {
        "threshold": ("P", "cells of less confidence are called unknown"),
        "min_typicality": ("P", "so are cells that are less typical of their label"),
    }
    add_flags(parser, "sailerx.api:Model.transfer_labels", of_labels)
    parser.add_argument(
        "--rna", action="store_true", help="predict RNA: log(1 + mean count, scaled to sum 10,000)"
    )
    of_rna = {
        "genes": ("GENE", "genes to predict; by default all"),
        "n_neighbors": ("N", "known cells that the predicted RNA is the mean of"),
        "seed": ("N", ""),
    }
    add_flags(parser, "sailerx.api:Model.predict_rna", of_rna)
    _add_machine(parser)


def _transfer(
    model: str,
    input: str,
    new: str,
    output: str,
    device: str,
    threads: int | None,
    labels: str | None,
    threshold: float,
    min_typicality: float,
    rna: bool,
    seed: int,
    **of_rna: Any,
) -> None:
    from anndata import AnnData

    if labels is None and not rna:
        raise InputError("`transfer` needs `--labels COLUMN`, `--rna` or both, found neither.")
    with new_file(output) as path:
        trained = _load(model, device, threads)
        parts: list[AnnData] = []
        if labels is not None:
            called = trained.transfer_labels(
                input, new, labels, threshold=threshold, min_typicality=min_typicality, seed=seed
            )
            parts.append(AnnData(obs=called))
        if rna:
            parts.insert(0, trained.predict_rna(input, new, seed=seed, **of_rna))
        result = parts[0]
        result.obs = parts[-1].obs.add_prefix("sailerx_")
        choice = {
            "labels": labels,
            "threshold": threshold,
            "min_typicality": min_typicality,
            "rna": rna,
            "seed": seed,
        } | of_rna
        result.uns["sailerx"] = {"transfer": json.dumps(choice, ensure_ascii=False)}
        result.write_h5ad(path)


def _add_links(parser: Any) -> None:
    parser.add_argument("model", metavar="RUN/")
    parser.add_argument("input", metavar="IN.h5mu", help="RNA counts and ATAC")
    parser.add_argument(
        "annotation", metavar="GENES.gtf", help="or a .csv or .tsv with names, chrom and tss of genes"
    )
    _add_output(parser, "OUT.csv", "one row per pair of a gene and a peak near it")
    flags = {
        "depth": ("N", "open peaks that every cell is taken to have; default: the geometric mean"),
        "genes": ("GENE", "by default all that are in the RNA and the annotation"),
        "distance": ("N", "largest distance of a peak from a gene's start, in bases"),
        "n_metacells": ("N", "groups of like cells; default: one per 20 cells, at most 500"),
        "n_background": ("N", "background peaks per peak"),
        "fdr": ("P", "expected share of false links"),
        "seed": ("N", ""),
    }
    _add_batch(parser)
    add_flags(parser, "sailerx.api:Model.links", flags)
    _add_machine(parser)


def _links(
    model: str,
    input: str,
    annotation: str,
    output: str,
    device: str,
    threads: int | None,
    batch: list[str],
    **choice: Any,
) -> None:
    with new_file(output) as path:
        trained = _load(model, device, threads)
        found = trained.links(input, annotation, batch=_batch_of(trained, batch), **choice)
        found.to_csv(path, index=False)


def _add_motifs(parser: Any) -> None:
    from sailerx.regulators.activity import motif_activity
    from sailerx.regulators.differential_activity import differential_activity
    from sailerx.regulators.motif_sets import RELEASE, TAXA, jaspar
    from sailerx.regulators.scan import scan

    parser.add_argument("input", metavar="IN.h5mu", help="or an .h5ad file with the ATAC alone")
    _add_output(parser, "OUT.h5ad", "cells × motifs: z-scores, and deviations as a layer")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--genome", metavar="FILE", help="FASTA, plain or bgzipped, or 2bit: scan it for motifs"
    )
    where.add_argument("--matches", metavar="FILE.h5ad", help="peaks × motifs, in place of a scan")
    parser.add_argument(
        "--motifs", metavar="FILE", help="motifs in JASPAR's or MEME's format; default: JASPAR"
    )
    text = f"group of JASPAR's motifs: {', '.join(TAXA)}; default vertebrates"
    parser.add_argument("--taxon", nargs="+", default=["vertebrates"], metavar="GROUP", help=text)
    add_flags(parser, jaspar, {"release": ("NAME", f"release of JASPAR, such as {RELEASE}")})
    add_flags(parser, scan, {"p_value": ("P", "probability that a random word is a hit")})
    text = "also write peaks × motifs, for --matches of another run"
    parser.add_argument("--save-matches", metavar="FILE.h5ad", type=_ending_as("FILE.h5ad"), help=text)
    text = "impute accessibility with this model, instead of taking the counts"
    parser.add_argument("--model", metavar="RUN/", help=text)
    flags = {
        "n_background": ("N", "background peaks per peak"),
        "seed": ("N", "seed of the background peaks"),
        "atac": ("NAME", "name of the ATAC modality"),
        "layer": ("LAYER", "layer of ATAC counts"),
        "progress": ("", ""),
    }
    add_flags(parser, motif_activity, flags)
    compared = parser.add_argument_group("comparison of two groups of cells")
    compared.add_argument("--differential", metavar="OUT.csv", help="write one row per motif")
    compared.add_argument("--group-by", metavar="COLUMN", help="obs column of the groups")
    compared.add_argument("--group1", metavar="LEVEL")
    compared.add_argument("--group2", metavar="LEVEL", help="by default all other cells")
    flags = {"batch_key": ("COLUMN", "compare within batches"), "fdr": ("P", "expected share of false calls")}
    add_flags(compared, differential_activity, flags)
    _add_machine(parser)


def _motifs(
    input: str,
    output: str,
    model: str | None,
    save_matches: str | None,
    differential: str | None,
    group_by: str | None,
    group1: str | None,
    group2: str | None,
    batch_key: str | None,
    fdr: float,
    device: str,
    threads: int | None,
    **choice: Any,
) -> None:
    from sailerx.files.result_writer import plain
    from sailerx.regulators.differential_activity import differential_activity

    if differential and (group_by is None or group1 is None):
        raise InputError(
            "`--differential` needs the groups to compare. Name them by --group-by and --group1."
        )
    if not differential and (group_by or group1 or group2):
        raise InputError(
            "`--group-by`, `--group1` and `--group2` name groups to compare, and without `--differential` none are compared. Say with "
            "it where the table goes, or leave them out."
        )
    if model and choice["layer"]:
        raise InputError(
            "`--layer` names counts, and with `--model` accessibility is imputed. Leave one of the two out."
        )
    with new_file(output) as path, _maybe_file(save_matches) as hits, _maybe_file(differential) as table:
        found = _motif_matches(input, threads, **choice)
        options = {name: choice[name] for name in ("n_background", "seed", "progress")} | {"threads": threads}
        if model:
            activity = _load(model, device, threads).motif_activity(input, found, **options)
        else:
            activity = sailerx.motifs.activity(
                input, found, atac=choice["atac"], layer=choice["layer"], **options
            )
        activity.obs = plain(activity.obs)
        activity.write_h5ad(path)
        if hits:
            found.write_h5ad(hits)
        if table:
            groups = (group_by or "", group1 or "", group2)
            rows = differential_activity(activity, *groups, batch_key=batch_key, fdr=fdr)
            rows.to_csv(table, index_label="motif")


def _motif_matches(
    input: str,
    threads: int | None,
    genome: Any,
    matches: str | None,
    motifs: str | None,
    taxon: Sequence[str],
    release: str,
    p_value: float,
    atac: str,
    progress: Any,
    **_: Any,
) -> Any:
    """Peaks × motifs: read from a file, or by a scan of the genome."""
    if matches:
        import anndata

        return anndata.read_h5ad(matches)
    from sailerx.data.reading import opened

    chosen = sailerx.motifs.read(motifs) if motifs else sailerx.motifs.jaspar(taxon, release=release)
    with opened(input) as data:
        return sailerx.motifs.scan(
            data, genome, chosen, p_value=p_value, atac=atac, threads=threads, progress=progress
        )


def _add_report(parser: Any) -> None:
    parser.add_argument("model", metavar="RUN/")
    parser.add_argument("input", metavar="IN.h5mu", help="the file that the model was trained on")
    _add_output(parser, "REPORT.html", "default: report.html", required=False, default="report.html")
    flags = {
        "labels": ("COLUMN", "obs column of cell types, to colour and score by"),
        "drop": ("LABEL", "labels whose cells are not scored"),
        "transfer": (
            "",
            "transfer the labels to the new cells, or to those without RNA, and show how sure they are",
        ),
    }
    add_flags(parser, "sailerx.api:Model.report", flags)
    text = "new cells to show beside those of IN.h5mu: an .h5mu file, or an .h5ad file with their ATAC alone"
    parser.add_argument("--new", metavar="NEW.h5mu", help=text)
    parser.add_argument("--motifs", metavar="FILE.h5ad", help="motif activity, as `sailerx motifs` wrote it")
    parser.add_argument("--links", metavar="FILE.csv", help="links, as `sailerx links` wrote them")
    _add_machine(parser)


def _report(
    model: str,
    input: str,
    output: str,
    motifs: str | None,
    links: str | None,
    new: str | None,
    device: str,
    threads: int | None,
    **arguments: Any,
) -> None:
    from anndata import read_h5ad

    from sailerx.data.reading import read_cells

    activity = read_h5ad(motifs) if motifs else None
    found = _read_links(links) if links else None
    others = read_cells(new) if new else None
    trained = _load(model, device, threads)
    shown: dict[str, Any] = {"motifs": activity, "links": found, "new": others}
    trained.report(read_cells(input), output, title=Path(input).name, **shown, **arguments)


def _read_links(path: str) -> Any:
    import pandas as pd

    from sailerx.files.trouble import reading

    with reading(path):
        return pd.read_csv(path, dtype={"gene": str, "peak": str, "chrom": str})


# Data: check, combine, match-peaks, simulate


def _add_check(parser: Any) -> None:
    parser.add_argument("input", metavar="IN.h5mu", help=_ANY_FILE)
    _add_data(parser)


def _check(input: str, **arguments: Any) -> None:
    print(sailerx.check(input, **arguments))


def _add_combine(parser: Any) -> None:
    from sailerx.data.combine import combine

    _add_output(parser, "OUT.h5mu")
    sets: dict[str, Any] = {"nargs": "+", "action": "extend", "metavar": "NAME=FILE"}
    parser.add_argument("--paired", required=True, help="RNA and ATAC (.h5mu)", **sets)
    parser.add_argument("--atac-only", default=[], help="ATAC alone (.h5ad or .h5mu)", **sets)
    flags = {
        "key": ("COLUMN", "obs column that names the set"),
        "rna": ("NAME", "name of the RNA modality"),
        "atac": ("NAME", "name of the ATAC modality"),
    }
    add_flags(parser, combine, flags)


def _combine(output: str, paired: list[str], atac_only: list[str], **arguments: Any) -> None:
    import mudata

    from sailerx.data.combine import combine

    with new_file(output) as path:
        together = combine(dict(map(_named, paired)), dict(map(_named, atac_only)), **arguments)
        for name, report in together[arguments["atac"]].uns["matched_peaks"].items():
            print(f"{name}: {_what_was_kept(report)}")
        with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
            warnings.simplefilter("ignore")
            together.write_h5mu(path)


def _add_match_peaks(parser: Any) -> None:
    from sailerx.data.match_peaks import match_peaks

    parser.add_argument("input", metavar="IN.h5ad", help="ATAC alone, or an .h5mu file with it")
    parser.add_argument("reference", metavar="REFERENCE", help="an .h5ad or .h5mu file, or a model's folder")
    _add_output(parser, "OUT.h5ad")
    parser.add_argument(
        "--atac", dest="modality", default="atac", metavar="NAME", help="name of the ATAC modality"
    )
    add_flags(parser, match_peaks, {"min_overlap": ("N", "bases that two peaks must share")})


def _match_peaks(input: str, reference: str, output: str, modality: str, min_overlap: int) -> None:
    from sailerx import api
    from sailerx.data.match_peaks import match_peaks
    from sailerx.data.reading import is_zarr

    with new_file(output) as path:
        is_model = Path(reference).is_dir() and not is_zarr(Path(reference))
        peaks = api.load(reference).peaks if is_model else reference
        matched = match_peaks(input, peaks, modality=modality, min_overlap=min_overlap)
        print(_what_was_kept(matched.uns["matched_peaks"]))
        matched.write_h5ad(path)


def _what_was_kept(report: dict[str, int]) -> str:
    return (
        f"{report['counts_kept']:,} of {report['counts']:,} counts kept, on "
        f"{report['reference_peaks_reached']:,} of {report['reference_peaks']:,} peaks"
    )


def _named(argument: str) -> tuple[str, str]:
    """Name and file of NAME=FILE; a file without a name, whose path may hold ``=``, is named by its stem."""
    name, equals, file = argument.partition("=")
    return (name, file) if equals and not Path(argument).exists() else (Path(argument).stem, argument)


def _add_simulate(parser: Any) -> None:
    from sailerx.simulation.to_file import simulate_to_file

    parser.add_argument("output", metavar="OUT.h5mu", type=_ending_as("OUT.h5mu"))
    names = ("n_cells", "n_genes", "n_peaks", "n_types", "seed")
    add_flags(parser, simulate_to_file, dict.fromkeys(names, ("N", "")))
    add_flags(parser, simulate_to_file, {"preset": ("", "size, depth and difficulty of real data")})
    add_fields(parser, dict.fromkeys(("n_atac_splits", "n_rna_splits"), int))
    add_fields(parser, dict.fromkeys(("split_share", "split_change", "max_transition", "max_ambient"), float))


def _simulate(output: str, **arguments: Any) -> None:
    from sailerx.simulation.to_file import simulate_to_file

    simulate_to_file(output, **arguments)


# demo, info


def _add_demo(parser: Any) -> None:
    from sailerx.demo import run_demo

    parser.add_argument("input", nargs="?", metavar="IN.h5mu")
    _add_output(parser, "DIR", required=False, default="demo")
    add_flags(parser, run_demo, {"labels": ("COLUMN", "obs column of cell types"), "seed": ("N", "")})


def _demo(output: str, input: str | None, labels: str | None, seed: int) -> None:
    from sailerx.demo import run_demo

    run_demo(output, path=input, labels=labels, seed=seed)


def _add_nothing(parser: Any) -> None:
    pass


def _info() -> None:
    from sailerx.data.contract import format_schema
    from sailerx.device import pick_device
    from sailerx.results.trained import MODEL_VERSION
    from sailerx.versions import versions

    found = {
        "versions": versions(),
        "device": pick_device().type,
        "format_version": format_schema()["x-version"],
        "model_version": MODEL_VERSION,
        "executable": sys.executable,
    }
    print(json.dumps(found, indent=1))


COMMANDS = (
    Command("fit", "train a model on an .h5mu file", _add_fit, _fit),
    Command("embed", "embed cells with a trained model", _add_embed, _embed),
    Command(
        "impute",
        "impute accessibility; an argument @FILE stands for the file's lines",
        _add_impute,
        _impute,
        file_prefix="@",
    ),
    Command("differential", "peaks that differ between two groups", _add_differential, _differential),
    Command("motifs", "motif activity of cells, from a genome and a set of motifs", _add_motifs, _motifs),
    Command(
        "links",
        "peaks linked to genes; an argument @FILE stands for the file's lines",
        _add_links,
        _links,
        file_prefix="@",
    ),
    Command(
        "transfer",
        "labels and RNA of new cells; an argument @FILE stands for the file's lines",
        _add_transfer,
        _transfer,
        file_prefix="@",
    ),
    Command("check", "say whether a file can be trained on", _add_check, _check),
    Command("report", "write an HTML page that shows a model and its data", _add_report, _report),
    Command("demo", "the whole path on simulated data or on a file", _add_demo, _demo),
    Command("combine", "several data sets as one, for hybrid training", _add_combine, _combine),
    Command(
        "match-peaks",
        "bring counts onto the peaks of another data set or of a model, by overlap",
        _add_match_peaks,
        _match_peaks,
    ),
    Command("simulate", "write simulated paired data of known truth", _add_simulate, _simulate),
    Command("info", "versions and device as JSON", _add_nothing, _info),
)
