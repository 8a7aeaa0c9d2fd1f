"""Run the command line of sailerx inside the Python that R has loaded."""

import contextlib
import io
import os
import sys
import warnings


class Lines(io.TextIOBase):
    """A text stream that hands each finished line to a function."""

    def __init__(self, on_line):
        self.on_line = on_line
        self.rest = ""

    def writable(self):
        return True

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.on_line(line)
        return len(text)

    def close(self):
        if self.rest:
            self.on_line(self.rest)
            self.rest = ""
        super().close()


@contextlib.contextmanager
def own_symbols_first():
    """Let libraries loaded here prefer their own functions to R's of the same name.

    R has loaded its BLAS for the whole process. Without this, torch multiplies matrices with R's
    `sgemm` and not with the one it was built with, and results differ from those of a plain Python.
    """
    if not hasattr(os, "RTLD_DEEPBIND"):  # Linux alone has it
        yield
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        yield
    finally:
        sys.setdlopenflags(flags)


def run(arguments, on_line):
    """Return the exit status; what the command prints goes to `on_line`, line by line."""
    with own_symbols_first():
        import torch  # noqa: F401

    from sailerx import cli

    with (
        Lines(on_line) as lines,
        contextlib.redirect_stderr(lines),
        contextlib.redirect_stdout(lines),
        warnings.catch_warnings(),
    ):
        try:
            return cli.main(list(arguments)) or 0
        except SystemExit as stop:
            return stop.code or 0
