"""The site: nothing public is left out, its sources link to what there is, and a browser finds no fault with it."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag, urlparse
from urllib.request import url2pathname

import pytest

import sailerx
import sailerx_bridge
from browser import Tab, find_browser, open_browser
from sailerx import metrics, plot

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


# What the sources say


def own_functions(module: ModuleType) -> list[str]:
    return [
        name
        for name, f in vars(module).items()
        if inspect.isfunction(f) and f.__module__ == module.__name__ and not name.startswith("_")
    ]


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("sailerx", sailerx.__all__),
        ("sailerx_bridge", sailerx_bridge.__all__),
        ("sailerx.metrics", metrics.__all__),
        ("sailerx.plot", own_functions(plot)),
    ],
)
def test_everything_public_in_python_has_its_page(module: str, names: list[str]) -> None:
    page = (DOCS / "source" / "python.md").read_text(encoding="utf-8")
    listed = re.findall(rf"^   {re.escape(module)}\.(\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(names)


def test_everything_exported_from_r_is_in_the_index() -> None:
    exported = re.findall(r"^export\((\w+)\)$", (ROOT / "rpkg" / "NAMESPACE").read_text(), re.MULTILINE)
    index = (DOCS / "r" / "_pkgdown.yml").read_text(encoding="utf-8").split("\nreference:")[1]
    topics, articles = index.split("\narticles:")
    listed = [name for part in re.findall(r"contents: \[(.*?)\]", topics) for name in part.split(", ")]
    assert sorted(listed) == sorted([*exported, "sailerx-package"])
    shown = re.findall(r"contents: \[(.*?)\]", articles)[0].split(", ")
    assert sorted(shown) == sorted(path.stem for path in (ROOT / "vignettes").glob("*.Rmd"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "python"
    build.python_sources(folder)
    return folder


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_source_pages_lead_somewhere(sources: Path) -> None:
    pages = sorted(sources.glob("*.md"))
    assert len(pages) >= 9
    for page in pages:
        for _, target, anchor in build.LINK.findall(page.read_text(encoding="utf-8")):
            assert (sources / target).is_file(), f"{page.name} links to {target}"
            assert not anchor or anchor[1:] in anchors(sources / target), f"{page.name}: {target}{anchor}"


def test_links_to_the_r_half_lead_somewhere(sources: Path) -> None:
    there = {f"reference/{path.stem}.html" for path in (ROOT / "rpkg" / "man").glob("*.Rd")}
    there |= {f"articles/{path.stem}.html" for path in (ROOT / "vignettes").glob("*.Rmd")}
    there |= {"index.html", "news/index.html", "articles/index.html", "reference/index.html"}
    wanted = {
        link
        for page in sources.glob("*.md")
        for link in re.findall(r"rsite:([^)\s]+)", page.read_text(encoding="utf-8"))
    }
    assert {"reference/RunSAILERX.html", "articles/multiome.html"} <= wanted <= there


def test_pages_take_over_the_readme_whole(sources: Path) -> None:
    for page in (*sources.glob("*.md"), DOCS / "r" / "index.md"):
        assert "<!-- README.md" not in build.with_readme(page.read_text(encoding="utf-8"))
    everything = "".join(page.read_text(encoding="utf-8") for page in sources.glob("*.md"))
    everything += build.with_readme((DOCS / "r" / "index.md").read_text(encoding="utf-8"))
    shown = build.readme_parts().keys() - {"More"}  # its links are the site's menu
    for title in shown:
        body = build.readme_parts()[title].split("\n", 1)[1]
        assert build.for_the_site(body, "README.md").strip() in everything, title


def test_every_command_is_on_the_page_of_the_command_line(sources: Path) -> None:
    text = (sources / "cli.md").read_text(encoding="utf-8")
    for command in ("fit", "embed", "impute", "differential", "check", "report", "combine", "match-peaks"):
        assert f"## sailerx {command}\n\n```text\nusage: sailerx {command} " in text


def test_a_link_without_a_place_on_the_site_is_refused() -> None:
    assert build.for_the_site("[a](../README.md#try-it)", "bridge/FORMAT.md") == "[a](index.md#try-it)"
    assert build.for_the_site("[a](https://x.org) [b](#c)", "README.md") == "[a](https://x.org) [b](#c)"
    with pytest.raises(ValueError, match="README.md links to setup/r.sh, which has no place"):
        build.for_the_site("[a](setup/r.sh)", "README.md")


# The whole, in a browser


def why_not_built() -> str | None:
    if importlib.util.find_spec("sphinx") is None or importlib.util.find_spec("pydata_sphinx_theme") is None:
        return "Sphinx is not installed; `make docs` installs it"
    has_pkgdown = 'quit(status = !requireNamespace("pkgdown", quietly = TRUE))'
    if subprocess.run(["Rscript", "-e", has_pkgdown], capture_output=True).returncode != 0:
        return "R lacks pkgdown; `make docs` installs it or says how"
    if find_browser() is None:
        return "no Chromium, Chrome or Edge is installed; name one in SAILERX_BROWSER"
    return None


class Seen:
    """What a crawl of every page found."""

    def __init__(self) -> None:
        self.links: dict[Path, list[str]] = {}
        self.ids: dict[Path, set[str]] = {}
        self.faults: list[str] = []


def crawl(tab: Tab, site: Path) -> Seen:
    """Open the front page and every page that can be reached from it."""
    seen, waiting = Seen(), [site / "index.html"]
    while waiting:
        page = waiting.pop()
        if page in seen.links:
            continue
        tab.open(page.as_uri())
        seen.faults += [f"{page.relative_to(site)}: {text}" for text in tab.complaints()]
        seen.faults += [
            f"{page.relative_to(site)} asks for {url}"
            for url in tab.requests()
            if not url.startswith(site.as_uri())
        ]
        if not tab.evaluate("[...document.images].every(i => i.loading === 'lazy' || i.naturalWidth > 0)"):
            seen.faults.append(f"{page.relative_to(site)}: an image is missing")
        seen.links[page] = tab.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
        seen.ids[page] = set(tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        waiting += [path for link in seen.links[page] if (path := page_of(link)) and path.is_file()]
    return seen


def page_of(link: str) -> Path | None:
    """The file of an internal link to a page."""
    parts = urlparse(link)
    path = Path(url2pathname(parts.path))
    return path if parts.scheme == "file" and path.suffix == ".html" else None


def broken(seen: Seen, site: Path) -> list[str]:
    """Internal links to no file, out of the site, or to no place on their page."""
    found = []
    for page, links in seen.links.items():
        for link in links:
            address, anchor = urldefrag(link)
            if urlparse(address).scheme != "file":
                continue
            path = Path(url2pathname(urlparse(address).path))
            there = path.is_file() and path.is_relative_to(site)
            if there and anchor and path in seen.ids:
                there = unquote(anchor) in seen.ids[path]
            if not there:
                found.append(f"{page.relative_to(site)} -> {link}")
    return sorted(set(found))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory):
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium, Chrome or Edge is installed; name one in SAILERX_BROWSER")
    with open_browser(program, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def test_crawl_would_notice_what_is_broken(tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="b.html#here">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><a href="https://x.org">4</a>'
    )
    (tmp_path / "b.html").write_text('<p id="here"><img src="no.png"><script>console.error("oh")</script>')
    seen = crawl(tab, tmp_path)
    assert [link.rsplit("/", 1)[1] for link in broken(seen, tmp_path)] == ["b.html#gone", "c.html"]
    assert any("oh" in fault for fault in seen.faults)
    assert any("an image is missing" in fault for fault in seen.faults)


@pytest.mark.full
@pytest.mark.r
def test_site_is_built_and_a_browser_finds_no_fault_with_it(tab: Tab, tmp_path: Path) -> None:
    if reason := why_not_built():
        pytest.skip(reason)
    site = tmp_path / "site"
    build.build(site)
    seen = crawl(tab, site)
    assert seen.faults == []
    assert broken(seen, site) == []
    reached = {str(page.relative_to(site)) for page in seen.links}
    expected = {"python.html", "cli.html", "format.html", "benchmarks.html", "changelog.html", "verbs.html"}
    expected |= {f"api/sailerx.{name}.html" for name in sailerx.__all__}
    expected |= {f"r/articles/{path.stem}.html" for path in (ROOT / "vignettes").glob("*.Rmd")}
    expected |= {
        f"r/reference/{path.stem}.html"
        for path in (ROOT / "rpkg" / "man").glob("*.Rd")
        if path.stem != "sailerx-package"
    }
    assert expected <= reached
    # The search of the R half answers without a server.
    tab.open((site / "r" / "index.html").as_uri())
    tab.evaluate(
        "(async () => { const i = document.getElementById('search-input'); i.value = 'impute';"
        " i.dispatchEvent(new Event('input')); await new Promise(r => setTimeout(r, 1500)); })()"
    )
    hits = tab.evaluate("[...document.querySelectorAll('.search-results a')].map(a => a.href)")
    assert any("ImputeSAILERX" in hit for hit in hits)
    assert tab.complaints() == []
    shutil.rmtree(site)
