"""Print a CSV unchanged as a Markdown table, and put it into a page.

python benchmarks/plain.py benchmarks/results/overhead.csv --into benchmarks/README.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from pages import markdown, show


def table(path: Path) -> str:
    """Format a CSV as a Markdown table; fractions have three digits, from 10 on one."""
    rows = pd.read_csv(path)
    numeric = [pd.api.types.is_numeric_dtype(rows[column]) for column in rows]
    lines = [
        [column.replace("_", " ") for column in rows],
        ["---:" if is_number else "---" for is_number in numeric],
        *(
            [f"{v:.{1 if abs(v) >= 10 else 3}f}" if isinstance(v, float) and v % 1 else f"{v}" for v in row]
            for row in rows.to_numpy(object)
        ),
    ]
    return markdown(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, metavar="OUT.csv")
    parser.add_argument("--into", type=Path, help="also put it into this page, between its markers")
    given = parser.parse_args()
    show(table(given.table), given.table.stem, given.into)


if __name__ == "__main__":
    main()
