"""Run the command line of sailerx inside the Python that R has loaded."""

import contextlib
import io
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


def run(arguments, on_line):
    """Return the exit status; what the command prints goes to `on_line`, line by line."""
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
