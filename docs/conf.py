"""Sphinx's settings for the start page, Python and the command line; docs/r has pkgdown's for R and the vignettes."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

import sailerx

ROOT = Path(__file__).resolve().parent.parent

project = "sailerx"
author = copyright = "The sailerx developers"
release = version = sailerx.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinxarg.ext",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["r"]
templates_path = ["_templates"]
# What is written `so` in a docstring is a link where there is such a thing, and code where there is not.
default_role = "py:obj"

myst_enable_extensions = ["colon_fence", "dollarmath"]
html_math_renderer = "mathml"
myst_heading_anchors = 3
# `r:` is pkgdown's half of the site and `cli:` a command. All pages that link there lie at the root.
myst_url_schemes = {
    "http": None,
    "https": None,
    "mailto": None,
    "r": {"url": "r/{{path}}"},
    "cli": {"url": "cli.html#sailerx-{{path}}"},
}

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = False
napoleon_custom_sections = ["Returns"]  # ours say what comes back in sentences, without a type
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "sailerx"
html_static_path = ["_static"]
html_css_files = ["sailerx.css"]
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_center": ["navbar-nav", "navbar-r"],
    "navbar_align": "left",
    "header_links_before_dropdown": 4,
    "show_toc_level": 2,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}
html_sidebars = {
    page: []
    for page in (
        "index",
        "cli",
        "verbs",
        "scripts",
        "distributed",
        "format",
        "benchmarks",
        "changelog",
        "contributing",
        "publishing",
    )
}

#: pages of the repository, and where they are on the site
PAGES = {
    "README.md": "index.md",
    "bridge/FORMAT.md": "format.md",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "rpkg/NEWS.md": "r:news/index.html",
    "vignettes/python": "scripts.md",
}
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]+)?\)")


def lead_links(app: Any, path: Path, parent: str, content: list[str]) -> None:
    """Lead the links of an included page of the repository to their places on the site."""
    folder = (Path(app.srcdir) / path).resolve().parent.relative_to(ROOT).as_posix()

    def place(link: re.Match[str]) -> str:
        name, target, anchor = link[1], posixpath.normpath(posixpath.join(folder, link[2])), link[3] or ""
        if (ROOT / target).is_dir() and target not in PAGES:  # nothing to open
            return name
        if target.endswith(".Rmd"):
            return f"[{name}](r:articles/{Path(target).stem}.html{anchor})"
        page = PAGES.get(target, posixpath.relpath(target, "docs"))
        return f"[{name}]({page}{anchor})"

    content[0] = LINK.sub(place, content[0])


def without_long_signature(app: Any, kind: str, name: str, *_: Any) -> tuple[str, str] | None:
    """Classes whose fields are listed below them."""
    return ("", "") if name in {"sailerx.Model", "sailerx.Settings"} else None


def with_colon(app: Any, what: str, name: str, object_: Any, options: Any, lines: list[str]) -> None:
    """Undo what napoleon does to "early stopping: share of ...", of which it takes the first part for a type."""
    if what == "attribute" and len(lines) > 1 and lines[-1].startswith(":type: "):
        lines[:] = [f"{lines[-1].removeprefix(':type: ')}: {lines[0]}", *lines[1:-1]]


def formula(translator: Any, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers show without a script."""
    kind = "block" if isinstance(node, nodes.math_block) else "inline"
    translator.body.append(convert(node.astext(), display=kind))
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
    app.connect("include-read", lead_links)
    app.connect("autodoc-process-docstring", with_colon, priority=900)
    app.connect("autodoc-process-signature", without_long_signature)
