"""The parts of a self-contained HTML page, and their rendering by the Jinja template ``report.html``, which escapes all text."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
from jinja2 import Environment, PackageLoader


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    kind: ClassVar = "paragraph"
    text: str


@dataclass(frozen=True)
class Facts:
    """Names and short values, side by side."""

    kind: ClassVar = "facts"
    values: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table whose first column (the index) and first row are headers.

    Numbers are shown with three digits after the point, NaN as a dash. ``strong`` names the rows that stand out.
    """

    kind: ClassVar = "table"
    frame: pd.DataFrame
    caption: str
    strong: Collection[str] = ()

    @property
    def is_number(self) -> list[bool]:
        """Whether each column is numeric, and set to the right."""
        return [pd.api.types.is_numeric_dtype(dtype) for dtype in self.frame.dtypes]


@dataclass(frozen=True)
class Picture:
    """An SVG figure within the page; ``wide`` takes the width of the page instead of standing beside others."""

    kind: ClassVar = "picture"
    svg: str
    #: what the image shows, for readers who do not see it
    alt: str
    caption: str
    wide: bool = False

    @property
    def base64(self) -> str:
        """The image as a data URI's payload."""
        return base64.b64encode(self.svg.encode("utf-8")).decode("ascii")


@dataclass(frozen=True)
class Alert:
    """A warning, with a picture of what it says where there is one."""

    text: str
    picture: Picture | None = None


@dataclass(frozen=True)
class Warnings:
    """A list of warnings, each beside a mark."""

    kind: ClassVar = "warnings"
    alerts: Sequence[Alert]


@dataclass(frozen=True)
class Pictures:
    """Pictures in a grid that fits the width of the window."""

    kind: ClassVar = "pictures"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Folded:
    """A part that opens at a click on its summary."""

    kind: ClassVar = "folded"
    summary: str
    part: Part


Part = Paragraph | Facts | Warnings | Table | Picture | Pictures | Folded


@dataclass(frozen=True)
class Section:
    """A heading and the parts below it."""

    #: target of links: letters and dashes
    anchor: str
    heading: str
    parts: Sequence[Part]


def render(title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    """A whole page with links to its sections, as HTML text. It loads nothing from elsewhere."""
    environment = Environment(
        loader=PackageLoader("sailerx.evaluate", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shown"] = _shown
    page = environment.get_template("report.html")
    return page.render(title=title, subtitle=subtitle, sections=sections, footer=footer)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    return str(value)
