"""What a user sees while a model trains: cells per second, losses, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Literal, Protocol

from tqdm import tqdm

from sailerx.errors import InputError

Style = Literal["auto", "bar", "lines", "none"]

#: seconds between two lines where a bar cannot be drawn
_LINE_EVERY = 5.0


class Progress(Protocol):
    """Told what begins, and then after each epoch."""

    def start(self, title: str) -> None:
        """Say what is trained, and where."""

    def update(self, epoch: int, record: Mapping[str, float]) -> None:
        """Show one more finished epoch (counted from 1) with its history record."""

    def close(self) -> None:
        """Leave the terminal tidy."""


def make_progress(style: Style, n_epochs: int) -> Progress:
    """A bar where the error stream is a terminal, else a line every few seconds, or nothing."""
    if style == "auto":
        style = "bar" if sys.stderr.isatty() else "lines"
    made: dict[str, type[Bar] | type[Lines] | type[Silent]] = {"bar": Bar, "lines": Lines, "none": Silent}
    if style not in made:
        raise InputError(f"`progress` must be 'auto', {', '.join(map(repr, made))}; got {style!r}.")
    return made[style](n_epochs)


def _summary(record: Mapping[str, float]) -> str:
    return (
        f"{record['cells_per_second']:,.0f} cells/s, loss {record['loss']:.4g} "
        f"(reconstruction {record['reconstruction']:.4g}, alignment {record['alignment']:.3g})"
    )


class _Spoken:
    def start(self, title: str) -> None:
        """Print the line."""
        print(title, file=sys.stderr, flush=True)


class Bar(_Spoken):
    """A tqdm bar."""

    def __init__(self, n_epochs: int) -> None:
        self.bar = tqdm(total=n_epochs, unit="epoch", file=sys.stderr)

    def update(self, epoch: int, record: Mapping[str, float]) -> None:
        """One epoch further."""
        self.bar.set_postfix_str(_summary(record), refresh=False)
        self.bar.update(1)

    def close(self) -> None:
        """End the line."""
        self.bar.close()


class Lines(_Spoken):
    """Whole lines, for log files and for R's console."""

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs, self.began, self.last = n_epochs, time.monotonic(), -_LINE_EVERY

    def update(self, epoch: int, record: Mapping[str, float]) -> None:
        """Print a line if the last one is some seconds old, and always for the last epoch."""
        now = time.monotonic() - self.began
        if now - self.last < _LINE_EVERY and epoch < self.n_epochs:
            return
        self.last = now
        left = now / epoch * (self.n_epochs - epoch)
        print(
            f"epoch {epoch}/{self.n_epochs}: {_summary(record)}, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        """Nothing to tidy."""


class Silent:
    """Nothing."""

    def start(self, title: str) -> None:
        """Show nothing."""

    def __init__(self, n_epochs: int) -> None:
        pass

    def update(self, epoch: int, record: Mapping[str, float]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing to tidy."""
