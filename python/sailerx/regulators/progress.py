"""Progress of long loops on the error stream: a bar in a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from sailerx.config import Style
from sailerx.training.progress import SECONDS_PER_LINE, Lines, known_style

_Item = TypeVar("_Item")


def shown(items: Iterable[_Item], total: int, what: str, style: Style) -> Iterator[_Item]:
    """Yield the items, and show how many are done.

    Parameters
    ----------
    items
        What is worked on, one at a time.
    total
        Their number.
    what
        What they are, such as ``motifs``.
    style
        As of `sailerx.fit`.
    """
    style = known_style(style)
    if style == "lines":
        line = what + " {n_fmt}/{total_fmt}, {remaining_s:.0f} s left"
        yield from tqdm(
            items,
            total=total,
            file=Lines(),
            bar_format=line,
            mininterval=SECONDS_PER_LINE,
            leave=False,
            delay=1e-9,
        )
    else:
        yield from tqdm(items, what, total, file=sys.stderr, disable=style == "none", leave=False)
