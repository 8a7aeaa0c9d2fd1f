"""The command line: ``sailerx COMMAND ...``, with the same verbs as in Python."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import sailerx
from sailerx.commands import COMMANDS, refuse_same_places
from sailerx.errors import FirstProcessError, InputError, LaunchError, ProcessLostError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 bad input, 1 anything else."""
    with _rarely_collected():
        return _run(_from_file(sys.argv[1:] if argv is None else list(argv)))


def process() -> NoReturn:
    """Run the command of this process, and end it."""
    status = main()
    gc.freeze()  # else Python looks through half a million objects once more before it ends: as long as importing PyTorch
    sys.exit(status)


def _run(argv: list[str]) -> int:
    try:
        arguments = vars(
            parser(next((word for word in argv if not word.startswith("-")), "")).parse_args(argv)
        )
    except SystemExit as stop:  # a caller in the same process goes on
        return int(stop.code or 0)
    command, with_traceback = arguments.pop("command"), arguments.pop("traceback")
    if command.name == "fit":  # which may start itself in several processes
        arguments["argv"] = argv
    try:
        with warnings.catch_warnings(), _terminated_as_interrupted():
            warnings.showwarning = _show_warning
            refuse_same_places(arguments)
            command.run(**arguments)
    except KeyboardInterrupt:
        print("sailerx: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if with_traceback:
            traceback.print_exc()
        return _told(error)
    return 0


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of the command line; given a command, only its arguments are added (others import what they need)."""
    whole = _Parser(
        prog="sailerx",
        description="Embed single-cell RNA + ATAC with an RNA embedding as the teacher of accessibility.",
    )
    whole.add_argument("--version", action="version", version=f"sailerx {sailerx.__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for known in COMMANDS:
        added = commands.add_parser(
            known.name, help=known.help, description=known.help, fromfile_prefix_chars=known.file_prefix
        )
        added.add_argument("--traceback", action="store_true", help="show where an error happened")
        added.set_defaults(command=known)
        if command is None or command == known.name:
            known.add_arguments(added)
    return whole


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Look for garbage after 100,000 new objects: imports make half a million that stay, and else take a sixth longer."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _from_file(argv: list[str]) -> list[str]:
    """``--arguments FILE`` stands for all arguments, as a JSON list: other programs hand over any text in this way."""
    if len(argv) == 2 and argv[0] == "--arguments":
        return [str(word) for word in json.loads(Path(argv[1]).read_text(encoding="utf-8"))]
    return argv


class _Parser(argparse.ArgumentParser):
    """A parser whose errors read like every other error."""

    def parse_known_args(self, *given: Any, **named: Any) -> tuple[Any, list[str]]:
        """Refuse unknown options here, where the known ones are at hand."""
        found, left = super().parse_known_args(*given, **named)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}{self._meant(left)}")
        return found, left

    def _meant(self, unknown: Sequence[str]) -> str:
        flags = [word.split("=")[0] for word in unknown if word.startswith("--")]
        alike = [get_close_matches(flag, self._option_string_actions, 1, 0.7) for flag in flags]
        meant = dict.fromkeys(flag for found in alike for flag in found)
        return f" (did you mean {' and '.join(meant)}?)" if meant else ""

    def convert_arg_line_to_args(self, line: str) -> list[str]:
        """Take a line of an @FILE as one argument, and an empty one as none."""
        return [line] if line.strip() else []

    def error(self, message: str) -> NoReturn:
        """Usage and the message; exit status 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"sailerx: error: {message}\n")


def _told(error: Exception) -> int:
    """Print the error for a user; returns the exit status."""
    if isinstance(error, FirstProcessError):  # the first process has printed it
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
