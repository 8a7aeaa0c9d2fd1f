"""Format results as Markdown tables, put them into pages, and add options --table and --into to a benchmark."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def markdown(lines: Iterable[Sequence[str]]) -> str:
    """Format lines of cells as a Markdown table; the second line holds the alignment of the columns."""
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def parse(parser: argparse.ArgumentParser, table: Callable[[Path], str]) -> argparse.Namespace:
    """Parse the arguments of a script that fills a CSV; with `--table`, print the CSV's table instead and exit."""
    parser.add_argument("--table", type=Path, metavar="OUT.csv", help="print the table of a CSV")
    parser.add_argument("--into", type=Path, help="also put it into this page, between its markers")
    given = parser.parse_args()
    if given.table:
        show(table(given.table), given.table.stem, given.into)
        sys.exit()
    return given


def show(text: str, name: str, page: Path | None) -> None:
    """Print a table; with a page, also put it there."""
    print(text)
    if page:
        place(text, name, page)


def place(text: str, name: str, page: Path) -> None:
    """Put a table into a page, between the markers with its name; the page is replaced atomically."""
    start, end = f"<!-- table: {name} -->\n", f"<!-- end of table: {name} -->"
    old = page.read_text(encoding="utf-8")
    if start not in old or end not in old.split(start, 1)[1]:
        sys.exit(f"{page} must have the lines {start.strip()} and {end}, in this order.")
    before, rest = old.split(start, 1)
    after = rest.split(end, 1)[1]
    temporary = page.with_name(f".{page.name}")
    temporary.write_text(f"{before}{start}\n{text}\n\n{end}{after}", encoding="utf-8")
    shutil.copymode(page, temporary)
    os.replace(temporary, page)
