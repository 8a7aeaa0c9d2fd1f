"""The pieces of a self-contained HTML page: sections, tables, figures and lists, with all text escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

import pandas as pd


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, as HTML."""

    #: what links name it by: letters and dashes
    anchor: str
    heading: str
    parts: tuple[str, ...]


def page(title: str, subtitle: str, sections: Iterable[Section], footer: str) -> str:
    """A whole page, with links to its sections; it loads nothing from anywhere.

    Parameters
    ----------
    title, subtitle, footer
        Plain text.
    sections
        In the order of reading.
    """
    sections = list(sections)
    template = Template(files("sailerx.evaluate").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        heading=escape(title),
        subtitle=escape(subtitle),
        contents="\n".join(f'<li><a href="#{s.anchor}">{escape(s.heading)}</a></li>' for s in sections),
        sections="\n".join(map(_section, sections)),
        footer=escape(footer),
    )


def _section(section: Section) -> str:
    heading = f'<h2 id="{section.anchor}">{escape(section.heading)}</h2>'
    return "\n".join([f'<section aria-labelledby="{section.anchor}">', heading, *section.parts, "</section>"])


def paragraph(text: str) -> str:
    """Plain text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def facts(values: Mapping[str, str]) -> str:
    """Names and short values, side by side."""
    items = (f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in values.items())
    return "\n".join(['<dl class="facts">', *items, "</dl>"])


def warning_list(texts: Iterable[str]) -> str:
    """Warnings, one beside each mark."""
    return "\n".join(['<ul class="warnings">', *(f"<li>{escape(text)}</li>" for text in texts), "</ul>"])


def table(frame: pd.DataFrame, caption: str, *, strong: Iterable[str] = ()) -> str:
    """A table whose first column and first row are headers.

    Parameters
    ----------
    frame
        The name of its index stands above the first column. Numbers get three digits after the point, NaN a dash.
    caption
        Stands below; plain text.
    strong
        Rows, by index, that stand out.
    """
    number = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    names = [str(frame.index.name or ""), *map(str, frame.columns)]
    head = "".join(
        f'<th scope="col"{_kind(right)}>{escape(name)}</th>'
        for name, right in zip(names, [False, *number], strict=True)
    )
    marked = set(strong)
    body = "\n".join(
        _row(str(name), values, number, strong=name in marked) for name, *values in frame.itertuples()
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(name: str, values: Iterable[object], number: Iterable[bool], *, strong: bool) -> str:
    start = '<tr class="strong">' if strong else "<tr>"
    cells = (
        f"<td{_kind(right)}>{escape(_shown(value))}</td>" for value, right in zip(values, number, strict=True)
    )
    return f'{start}<th scope="row">{escape(name)}</th>{"".join(cells)}</tr>'


def _kind(number: bool) -> str:
    return ' class="number"' if number else ""


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    return str(value)


def folded(summary: str, *parts: str) -> str:
    """Parts that open at a click on their summary."""
    return "\n".join(["<details>", f"<summary>{escape(summary)}</summary>", *parts, "</details>"])


def picture(svg: str, alt: str, caption: str, *, wide: bool = False) -> str:
    """A figure within the page.

    Parameters
    ----------
    svg
        The image as SVG text.
    alt
        What the image shows, for those who do not see it.
    caption
        Stands below; plain text.
    wide
        Take the width of the page, instead of standing beside others.
    """
    data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    image = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(alt)}">'
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def side_by_side(*figures: str) -> str:
    """Figures in a grid that fits the width of the window."""
    return "\n".join(['<div class="figures">', *figures, "</div>"])
