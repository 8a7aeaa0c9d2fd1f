"""The site is built, holds everything public, and a browser finds no fault with any of its pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urlparse
from urllib.request import url2pathname

import pytest

import sailerx
import sailerx_bridge
from browser import Tab
from sailerx import metrics, motifs, plot

ROOT = Path(__file__).resolve().parent.parent
PHONE = 400  # pixels


def build(site: Path, **environment: str) -> Path:
    # R, where another test has started it in this process, puts its libraries first, among them perhaps another Python's
    inherited = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    answer = subprocess.run(
        [ROOT / "docs" / "build.sh", site],
        env=inherited | {"SAILERX_PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return site


@pytest.fixture(scope="module")
def python_half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("docs") / "site", SAILERX_WITHOUT_R="1")


class Page(NamedTuple):
    links: list[str]
    ids: set[str]
    faults: list[str]


def look(tab: Tab, path: Path, site: Path) -> Page:
    """Open a page as wide as a phone."""
    tab.open(path.as_uri(), width=PHONE)
    outside = [url for url in tab.requests() if not url.startswith(site.as_uri())]
    faults = tab.complaints() + [f"asks for {url}" for url in outside]
    if not tab.evaluate("[...document.images].every(i => i.loading === 'lazy' || i.naturalWidth > 0)"):
        faults.append("an image is missing")
    if (width := tab.evaluate("document.documentElement.scrollWidth")) > PHONE:
        faults.append(f"is {width} pixels wide on a phone")
    if len(tab.evaluate("(document.querySelector('main') ?? document.body).innerText")) < 50:
        faults.append("is empty")
    links = tab.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    return Page(links, set(ids), faults)


def file_of(link: str) -> Path | None:
    parts = urlparse(link)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def crawl(tab: Tab, site: Path) -> dict[Path, Page]:
    """Open the start page and every page that can be reached from it."""
    seen: dict[Path, Page] = {}
    waiting = [site / "index.html"]
    while waiting:
        if (path := waiting.pop()) not in seen:
            seen[path] = look(tab, path, site)
            files = map(file_of, seen[path].links)
            waiting += [file for file in files if file and file.suffix == ".html" and file.is_file()]
    return seen


def is_broken(link: str, seen: dict[Path, Page], site: Path) -> bool:
    """An internal link to no file, out of the site, or to no place on its page."""
    address, anchor = urldefrag(link)
    file = file_of(address)
    if file is None:
        return False
    if not (file.is_file() and file.is_relative_to(site)):
        return True
    return bool(anchor) and file in seen and unquote(anchor) not in seen[file].ids


def faults(seen: dict[Path, Page], site: Path) -> list[str]:
    found = []
    for path, page in seen.items():
        broken = {f"links to {link}" for link in page.links if is_broken(link, seen, site)}
        found += [f"{path.relative_to(site)} {fault}" for fault in [*page.faults, *sorted(broken)]]
    return found


def test_crawl_would_notice_what_is_wrong(tab: Tab, tmp_path: Path) -> None:
    links = "".join(
        f'<a href="{to}">x</a>' for to in ("b.html#here", "b.html#gone", "c.html", "https://x.org")
    )
    (tmp_path / "index.html").write_text(links + "a page with words" * 5)
    (tmp_path / "b.html").write_text(
        '<p id="here" style="width: 500px"><img src="no.png"><script>console.error("oh")</script>'
    )
    found = faults(crawl(tab, tmp_path), tmp_path)
    for wrong in ("b.html#gone", "/c.html", "ERR_FILE_NOT_FOUND", "image", "on a phone", "oh", "is empty"):
        assert sum(wrong in fault for fault in found) >= 1, wrong
    assert not any("b.html#here" in fault or "x.org" in fault for fault in found)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("sailerx", sailerx.__all__),
        ("sailerx_bridge", sailerx_bridge.__all__),
        ("sailerx.metrics", metrics.__all__),
        ("sailerx.motifs", motifs.__all__),
        ("sailerx.plot", plot.__all__),
    ],
)
def test_everything_public_in_python_has_its_page(python_half: Path, module: str, names: list[str]) -> None:
    pages = {path.stem for path in (python_half / "api").glob(f"{module}.*.html")}
    assert {f"{module}.{name}" for name in names} <= pages


def test_every_command_is_on_the_page_of_the_command_line(python_half: Path) -> None:
    text = (python_half / "cli.html").read_text(encoding="utf-8")
    for command in (
        "fit",
        "embed",
        "impute",
        "differential",
        "motifs",
        "links",
        "check",
        "report",
        "combine",
        "match-peaks",
    ):
        assert f'id="sailerx-{command}"' in text


@pytest.mark.full
def test_python_half_has_no_fault_in_a_browser(tab: Tab, python_half: Path) -> None:
    found = faults(crawl(tab, python_half), python_half)
    in_r = f"links to {(python_half / 'r').as_uri()}/"  # the half that is not built here
    assert [fault for fault in found if in_r not in fault] == []
    assert any(in_r in fault for fault in found)


@pytest.mark.full
@pytest.mark.r
def test_whole_site_has_no_fault_in_a_browser(tab: Tab, tmp_path: Path) -> None:
    has_pkgdown = 'quit(status = !requireNamespace("pkgdown", quietly = TRUE))'
    if subprocess.run(["Rscript", "-e", has_pkgdown], capture_output=True).returncode != 0:
        pytest.skip("R lacks pkgdown: install.packages('pkgdown')")
    done = ROOT / "site" / "r" / "articles"  # by `make docs`; those that are still current are not run again
    if done.is_dir():
        shutil.copytree(done, tmp_path / "site" / "r" / "articles")
    site = build(tmp_path / "site")
    seen = crawl(tab, site)
    assert faults(seen, site) == []
    reached = {path.relative_to(site / "r").as_posix() for path in seen if path.is_relative_to(site / "r")}
    pages = {f"articles/{path.stem}.html" for path in (ROOT / "vignettes").glob("*.Rmd")}
    pages |= {f"reference/{path.stem}.html" for path in (ROOT / "rpkg" / "man").glob("*SAILERX.Rd")}
    assert pages <= reached
