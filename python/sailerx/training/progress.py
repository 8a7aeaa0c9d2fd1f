"""Progress of training on the error stream, by tqdm: epochs done, cells per second, loss and time left."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from typing import Any, get_args

from tqdm import tqdm

from sailerx.config import Style
from sailerx.errors import InputError

LINE = "epoch {n_fmt}/{total_fmt}: {desc}"
#: seconds between two lines where a bar cannot be drawn
SECONDS_PER_LINE = 5.0


class Progress:
    """A tqdm bar; or whole lines for log files and R's console; or nothing.

    Parameters
    ----------
    style
        ``"bar"``, ``"lines"``, ``"none"``, or ``"auto"``: a bar where the error stream is a terminal, else lines.
    n_epochs
        Epochs of the run.

    Raises
    ------
    InputError
        For another style.
    """

    def __init__(self, style: Style, n_epochs: int) -> None:
        style = known_style(style)
        self.style = style
        options: dict[str, Any] = {"file": sys.stderr}
        if style == "lines":
            options = {"file": Lines(), "bar_format": LINE, "mininterval": SECONDS_PER_LINE, "smoothing": 0}
            options |= {"delay": 1e-9, "leave": False}  # no line before the first epoch, none after an error
        self.bar = tqdm(
            total=n_epochs, unit="epoch", miniters=1, disable=style == "none" or not n_epochs, **options
        )

    def say(self, line: str) -> None:
        """Print a line: what is trained and where, or what was found."""
        if self.style != "none":
            print(line, file=sys.stderr, flush=True)

    def update(self, epoch: int, record: Mapping[str, float]) -> None:
        """Show one more finished epoch (counted from 1), given its row of the history."""
        summary = (
            f"{record['cells_per_second']:,.0f} cells/s, loss {record['loss']:.4g} "
            f"(reconstruction {record['reconstruction']:.4g}, alignment {record['alignment']:.3g})"
        )
        if self.style == "lines":
            self.bar.set_description_str(summary, refresh=False)
        else:
            self.bar.set_postfix_str(summary, refresh=False)
        is_first = not self.bar.n  # also of a run that is resumed
        self.bar.update(epoch - self.bar.n)
        if is_first and self.style == "lines":
            self.bar.refresh()  # else the first line would take some seconds
            self._count_from_here()

    def _count_from_here(self) -> None:
        """Say how much time is left, by the epochs from here on: compilation and the joint embedding come before the first ends."""
        self.bar.initial, self.bar.start_t = self.bar.n, time.time()
        self.bar.bar_format = f"{LINE}, {{remaining_s:.0f}} s left"

    def close(self) -> None:
        """Show the last epoch, and end the line."""
        if self.style == "lines" and self.bar.total:
            self.bar.refresh()
        self.bar.close()


class Lines(io.TextIOBase):
    """Prints each state of a tqdm bar as a line of its own, and a state that is shown twice once."""

    last = ""

    def write(self, text: str) -> int:
        line = text.strip()  # of carriage returns and padding
        if line and line != self.last:
            print(line, file=sys.stderr, flush=True)
            self.last = line
        return len(text)


def counted(n: int, thing: str) -> str:
    """Say how many there are: ``1 epoch``, ``2,000 epochs``."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def known_style(style: Style) -> Style:
    """Choose between bar and lines where the style is ``"auto"``.

    Raises
    ------
    InputError
        For another style.
    """
    if style not in get_args(Style):
        raise InputError(f"`progress` must be {_listed(get_args(Style))}; got {style!r}.")
    if style == "auto":
        return "bar" if sys.stderr.isatty() else "lines"
    return style


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(map(repr, words[:-1])) + f" or {words[-1]!r}"
