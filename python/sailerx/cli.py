"""The command line: the same verbs as in Python."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import sailerx
from sailerx.config import Settings, option_kinds
from sailerx.errors import FirstProcessError, InputError, LaunchError, ProcessLostError
from sailerx.files.atomic import new_file, new_folder

if TYPE_CHECKING:
    from sailerx.api import Model


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 bad input, 1 anything else."""
    try:
        argv = sys.argv[1:] if argv is None else list(argv)
        arguments = vars(_parser().parse_args(argv))
    except SystemExit as stop:  # a caller in the same process goes on
        return int(stop.code or 0)
    run, with_traceback = arguments.pop("run"), arguments.pop("traceback")
    if run is _fit:
        arguments["command"] = argv
    try:
        with warnings.catch_warnings(), _terminated_as_interrupted():
            warnings.showwarning = _show_warning
            run(**arguments)
    except KeyboardInterrupt:
        print("sailerx: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if with_traceback:
            traceback.print_exc()
        return _told(error)
    return 0


def _told(error: Exception) -> int:
    """Say what happened; returns the exit status."""
    if isinstance(error, FirstProcessError):  # which has told it
        return 2
    if isinstance(error, LaunchError):
        if str(error):
            print(f"sailerx: error: {error}", file=sys.stderr)
        return error.status
    known = isinstance(error, InputError | FloatingPointError | OSError | ProcessLostError)
    hint = "" if known else f" ({type(error).__name__}; run again with --traceback for where it happened)"
    print(f"sailerx: error: {error}{hint}", file=sys.stderr, flush=True)
    if isinstance(error, ProcessLostError):
        from sailerx.training.distributed.launch import LOST

        os._exit(LOST)  # leaving in good order could wait for the lost process
    return 2 if known else 1


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, as job schedulers send it, tidies up as Ctrl-C does."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        print(f"sailerx: warning: {message}", file=sys.stderr)


def _fit(
    input: str,
    output: str,
    embed: str | None,
    overwrite: bool,
    threads: int | None,
    device: str,
    devices: int,
    nodes: int,
    command: Sequence[str],
    **arguments: Any,
) -> None:
    from sailerx import api
    from sailerx.device import pick_device
    from sailerx.training.distributed.launch import launch
    from sailerx.training.distributed.processes import is_started, processes_of_run

    if devices > 1 and nodes == 1 and not is_started():
        launch(["-m", "sailerx", *command], devices)
        return
    ranks = processes_of_run(pick_device(device), devices, nodes)
    _set_threads(threads)
    with ExitStack() as stack:

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
    if arguments["checkpoint"]:  # the model is there
        Path(arguments["checkpoint"]).unlink(missing_ok=True)


def _maybe_file(path: str | None) -> AbstractContextManager[Path | None]:
    return new_file(path) if path else nullcontext()


def _load(model: str, device: str, threads: int | None) -> Model:
    from sailerx import api

    _set_threads(threads)
    return api.load(model, device=device)


def _embed(model: str, input: str, output: str, posterior: bool, device: str, threads: int | None) -> None:
    with new_file(output) as path:
        found = _load(model, device, threads).to_anndata(input, posterior=posterior)
        found.write_h5ad(path)


def _impute(
    model: str, input: str, output: str, device: str, threads: int | None, batch: list[str], **choice: Any
) -> None:
    _load(model, device, threads).impute(input, out=output, batch=_levels(batch), **choice)


def _differential(
    model: str, input: str, output: str, device: str, threads: int | None, batch: list[str], **choice: Any
) -> None:
    with new_file(output) as path:
        trained = _load(model, device, threads)
        table = trained.differential_accessibility(input, batch=_levels(batch), **choice)
        table.to_csv(path, index_label="peak")


def _levels(batch: Sequence[str]) -> str | dict[str, str] | None:
    """A level, or column=level for each of several columns."""
    if len(batch) == 1 and "=" not in batch[0]:
        return batch[0]
    wrong = [given for given in batch if "=" not in given]
    if wrong:
        raise InputError(f"`batch` must be one level, or COLUMN=LEVEL for each column, got {wrong[0]!r}.")
    return dict(given.split("=", 1) for given in batch) or None


def _combine(output: str, paired: list[str], atac_only: list[str], **arguments: Any) -> None:
    import mudata

    from sailerx.data.combine import combine
    from sailerx.data.reading import read

    with new_file(output) as path:
        sets = {name: read(file) for name, file in map(_named, paired)}
        alone = {name: _atac_of(file, arguments["atac"]) for name, file in map(_named, atac_only)}
        together = combine(sets, alone, **arguments)
        for name, report in together[arguments["atac"]].uns["matched_peaks"].items():
            print(f"{name}: {_what_was_kept(report)}")
        with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
            warnings.simplefilter("ignore")
            together.write_h5mu(path)


def _match_peaks(input: str, reference: str, output: str, atac: str, min_overlap: int) -> None:
    from sailerx import api
    from sailerx.data.match_peaks import match_peaks

    with new_file(output) as path:
        wanted = api.load(reference).peaks if Path(reference).is_dir() else _atac_of(reference, atac)
        matched = match_peaks(_atac_of(input, atac), wanted, min_overlap=min_overlap)
        print(_what_was_kept(matched.uns["matched_peaks"]))
        matched.write_h5ad(path)


def _what_was_kept(report: dict[str, int]) -> str:
    return (
        f"{report['counts_kept']:,} of {report['counts']:,} counts kept, on "
        f"{report['reference_peaks_reached']:,} of {report['reference_peaks']:,} peaks"
    )


def _named(argument: str) -> tuple[str, str]:
    """NAME=FILE, or a file that is named by what is before its ending."""
    name, equals, file = argument.partition("=")
    return (name, file) if equals else (Path(argument).stem, argument)


def _atac_of(path: str, atac: str) -> Any:
    found = _read_any(path)
    return found if path.endswith(".h5ad") else found.mod.get(atac, found)


def _read_any(path: str) -> Any:
    """An .h5mu file, or an .h5ad of ATAC alone."""
    from sailerx.data.reading import read

    if not path.endswith(".h5ad"):
        return read(path)
    import anndata

    return anndata.read_h5ad(path)


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        if threads < 1:
            raise InputError(f"`threads` must be at least 1, got {threads}.")
        torch.set_num_threads(threads)


def _report(model: str, input: str, output: str, device: str, threads: int | None, **arguments: Any) -> None:
    from sailerx.data.reading import read

    _load(model, device, threads).report(read(input), output, title=Path(input).name, **arguments)


def _check(input: str, **arguments: Any) -> None:
    print(sailerx.check(input, **arguments))


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


def _demo(output: str, input: str | None, labels: str | None, seed: int) -> None:
    from sailerx.demo import run_demo

    run_demo(output, path=input, labels=labels, seed=seed)


def _simulate(output: str, **arguments: Any) -> None:
    from sailerx.simulation.to_file import simulate_to_file

    simulate_to_file(output, **arguments)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors read like every other error."""

    def error(self, message: str) -> NoReturn:
        """Usage and the message; exit status 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"sailerx: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sailerx",
        description="Embed single-cell RNA + ATAC with an RNA embedding as the teacher of accessibility.",
    )
    parser.add_argument("--version", action="version", version=f"sailerx {sailerx.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    return parser


def _add_fit(commands: Any) -> None:
    fit = _command(commands, "fit", _fit, "train a model on an .h5mu file")
    fit.add_argument("input", metavar="IN.h5mu")
    fit.add_argument(
        "-o", "--output", required=True, metavar="RUN/", help="folder for the model; must not exist yet"
    )
    fit.add_argument("--embed", metavar="OUT.h5ad", help="also write the embedding of the same cells")
    fit.add_argument("--overwrite", action="store_true", help="replace the model folder")
    _add_data_arguments(fit)
    fit.add_argument("--preset", default="default", choices=["default", "paper"])
    _add_device_numbers(fit)
    _add_machine(fit)
    fit.add_argument("--progress", default="auto", choices=["auto", "bar", "lines", "none"])
    _add_checkpoint_arguments(fit)
    _add_settings(fit.add_argument_group("model options (defaults are the preset's)"))


def _add_embed(commands: Any) -> None:
    embed = _command(commands, "embed", _embed, "embed cells with a trained model")
    _add_model_and_cells(embed)
    embed.add_argument("-o", "--output", required=True, metavar="OUT.h5ad", help="obsm X_sailerx")
    embed.add_argument(
        "--posterior", action="store_true", help="also obsm X_sailerx_mean and X_sailerx_std of q(z|x)"
    )
    _add_machine(embed)


def _add_impute(commands: Any) -> None:
    text = "impute accessibility; an argument @FILE stands for the file's lines"
    impute = _command(commands, "impute", _impute, text, "@")
    _add_model_and_cells(impute)
    impute.add_argument(
        "-o", "--output", required=True, metavar="OUT.h5ad", help="or a .zarr folder: cells × peaks"
    )
    _add_neutral(impute)
    impute.add_argument("--peaks", nargs="+", metavar="PEAK", help="by default all")
    impute.add_argument("--regions", nargs="+", metavar="REGION", help="chr1:1000-5000 or chr1")
    impute.add_argument("--cells", nargs="+", metavar="BARCODE", help="by default all")
    impute.add_argument("--group-by", metavar="COLUMN", help="means over the groups of this obs column")
    impute.add_argument("--threshold", type=float, help="keep probabilities above it, as a sparse matrix")
    impute.add_argument("--samples", type=int, help="average over posterior samples, with their deviation")
    impute.add_argument("--seed", type=int, default=0)
    _add_machine(impute)


def _add_differential(commands: Any) -> None:
    differential = _command(commands, "differential", _differential, "peaks that differ between two groups")
    _add_model_and_cells(differential)
    differential.add_argument("-o", "--output", required=True, metavar="OUT.csv", help="one row per peak")
    _add_neutral(differential)
    differential.add_argument("--group-by", required=True, metavar="COLUMN", help="obs column of the groups")
    differential.add_argument("--group1", required=True, metavar="LEVEL")
    differential.add_argument("--group2", metavar="LEVEL", help="by default all other cells")
    differential.add_argument("--min-change", type=float, default=0.25, help="log2 fold change that counts")
    differential.add_argument("--fdr", type=float, default=0.05, help="expected share of false calls")
    _add_machine(differential)


def _add_check(commands: Any) -> None:
    check = _command(commands, "check", _check, "say whether a file can be trained on")
    check.add_argument("input", metavar="IN.h5mu")
    _add_data_arguments(check)


def _add_report(commands: Any) -> None:
    report = _command(commands, "report", _report, "write an HTML page that shows a model and its data")
    report.add_argument("model", metavar="RUN/")
    report.add_argument("input", metavar="IN.h5mu", help="the file that the model was trained on")
    report.add_argument("-o", "--output", default="report.html", metavar="REPORT.html")
    report.add_argument("--labels", metavar="COLUMN", help="obs column of cell types, to colour and score by")
    report.add_argument("--drop", nargs="+", default=[], metavar="LABEL", help="labels that are not scored")
    _add_machine(report)


def _add_demo(commands: Any) -> None:
    demo = _command(commands, "demo", _demo, "the whole path on simulated data or on a file")
    demo.add_argument("input", nargs="?", metavar="IN.h5mu")
    demo.add_argument("-o", "--output", default="demo", metavar="DIR")
    demo.add_argument("--labels", metavar="COLUMN", help="obs column of cell types")
    demo.add_argument("--seed", type=int, default=0)


def _add_combine(commands: Any) -> None:
    combine = _command(commands, "combine", _combine, "several data sets as one, for hybrid training")
    combine.add_argument("-o", "--output", required=True, metavar="OUT.h5mu")
    sets: dict[str, Any] = {"nargs": "+", "metavar": "NAME=FILE"}
    combine.add_argument("--paired", required=True, help="RNA and ATAC (.h5mu)", **sets)
    combine.add_argument("--atac-only", default=[], help="ATAC alone (.h5ad or .h5mu)", **sets)
    combine.add_argument("--key", default="set", metavar="COLUMN", help="obs column that names the set")
    _add_modalities(combine)


def _add_match_peaks(commands: Any) -> None:
    text = "bring counts onto the peaks of another data set or of a model, by overlap"
    match = _command(commands, "match-peaks", _match_peaks, text)
    match.add_argument("input", metavar="IN.h5ad", help="ATAC alone, or an .h5mu file with it")
    match.add_argument("reference", metavar="REFERENCE", help="an .h5ad or .h5mu file, or a model's folder")
    match.add_argument("-o", "--output", required=True, metavar="OUT.h5ad")
    match.add_argument("--atac", default="atac", metavar="NAME", help="name of the ATAC modality")
    match.add_argument(
        "--min-overlap", type=int, default=1, metavar="N", help="bases that two peaks must share"
    )


def _add_simulate(commands: Any) -> None:
    simulate = _command(commands, "simulate", _simulate, "write simulated paired data of known truth")
    simulate.add_argument("output", metavar="OUT.h5mu")
    sizes = {"n-cells": 2000, "n-genes": 3000, "n-peaks": 20000, "n-types": 12, "seed": 0}
    for name, default in sizes.items():
        simulate.add_argument(f"--{name}", type=int, default=default)


def _add_info(commands: Any) -> None:
    _command(commands, "info", _info, "versions and device as JSON")


_COMMANDS = (
    _add_fit,
    _add_embed,
    _add_impute,
    _add_differential,
    _add_check,
    _add_report,
    _add_demo,
    _add_combine,
    _add_match_peaks,
    _add_simulate,
    _add_info,
)


def _command(
    commands: Any, name: str, run: Any, text: str, lines_of: str | None = None
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, fromfile_prefix_chars=lines_of
    )
    command.add_argument("--traceback", action="store_true", help="show where an error happened")
    command.set_defaults(run=run)
    return command


def _add_model_and_cells(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="RUN/")
    command.add_argument("input", metavar="IN.h5mu", help="or an .h5ad file with the ATAC alone")


def _add_neutral(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--depth", type=float, help="open peaks every cell is taken to have; default: the mean"
    )
    command.add_argument(
        "--batch", nargs="+", default=[], metavar="LEVEL", help="or COLUMN=LEVEL; default: the mean of all"
    )


def _add_machine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    _add_threads(command)


def _add_threads(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, help="CPU threads of PyTorch")


def _add_modalities(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rna", default="rna", metavar="NAME", help="name of the RNA modality")
    command.add_argument("--atac", default="atac", metavar="NAME", help="name of the ATAC modality")


def _add_data_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rna-embedding", metavar="KEY", help="obsm key of the RNA reference; default: PCA of the counts"
    )
    command.add_argument("--batch-key", nargs="+", metavar="COLUMN", help="categorical obs columns to hide")
    command.add_argument("--continuous-key", nargs="+", metavar="COLUMN", help="numeric obs columns to hide")
    _add_modalities(command)
    command.add_argument("--rna-layer", metavar="LAYER", help="layer of RNA counts")
    command.add_argument("--atac-layer", metavar="LAYER", help="layer of ATAC counts")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--backed",
        action="store_true",
        help="leave the ATAC in the file, for data that memory does not hold; cells are then shuffled by blocks",
    )


def _add_checkpoint_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="write the state here now and then, and go on from it if it is there; removed when the model is written",
    )
    command.add_argument(
        "--checkpoint-epochs", type=int, default=10, metavar="N", help="every so many epochs; default 10"
    )
    command.add_argument(
        "--checkpoint-minutes", type=float, metavar="X", help="and whenever so many minutes have passed"
    )
    command.add_argument(
        "--no-resume", dest="resume", action="store_false", help="start anew and replace the checkpoint"
    )


def _add_device_numbers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--devices",
        type=int,
        default=1,
        metavar="N",
        help="processes that train together on each machine, one for each GPU if there are any; they are started here unless "
        "torchrun or srun has",
    )
    command.add_argument(
        "--nodes", type=int, default=1, metavar="N", help="machines; more than one need torchrun or srun"
    )


def _add_settings(group: Any) -> None:
    """One flag for each field of `Settings`."""
    kinds = option_kinds()
    for field in dataclasses.fields(Settings):
        flag, kind = "--" + field.name.rstrip("_").replace("_", "-"), kinds[field.name]
        if kind is bool:
            group.add_argument(flag, dest=field.name, action=argparse.BooleanOptionalAction, default=None)
        else:
            number = kind if kind in (int, float) else str
            group.add_argument(
                flag, dest=field.name, type=number, metavar={int: "N", float: "X"}.get(number, "WORD")
            )
