"""Sphinx's settings; docs/build.py copies this folder, adds the pages written elsewhere, and builds it."""

from __future__ import annotations

from typing import Any

from sailerx import __version__

project = "sailerx"
author = "The sailerx developers"
copyright = "The sailerx developers"  # noqa: A001 (Sphinx's name for it)
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
# What is written `so` in a docstring is a link where there is such a thing, and code where there is not.
default_role = "py:obj"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# The other half of the site is pkgdown's. All pages that link to it lie at the root.
myst_url_schemes = {"http": None, "https": None, "mailto": None, "rsite": {"url": "r/{{path}}"}}

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
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
html_theme_options = {
    "navbar_center": ["navbar-nav", "navbar-r"],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
}
html_sidebars = {"index": [], "articles": [], "verbs": [], "format": [], "benchmarks": [], "changelog": []}

LONG_SIGNATURES = {"sailerx.Model", "sailerx.Settings"}  # their fields are listed below them


def without_long_signature(app: Any, kind: str, name: str, *_: Any) -> tuple[str, str] | None:
    """Classes whose constructor nobody calls by position."""
    return ("", "") if name in LONG_SIGNATURES else None


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-signature", without_long_signature)
