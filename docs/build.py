"""Builds the site: Sphinx for the front page, Python and the command line, pkgdown for R and the articles.

Usage: python docs/build.py SITE   (needs the extra `docs` and R with sailerx and pkgdown; `make docs` sees to both)

What is written elsewhere in the repository (README.md, FORMAT.md, ...) is not copied into docs/ but brought in here,
with its links led to where their targets are on the site.
"""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
WORK = ROOT / "build" / "docs"

#: pages of the repository, and where they are on the site; `rsite:` is the R half
PAGES = {
    "README.md": "index.md",
    "bridge/FORMAT.md": "format.md",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "rpkg/NEWS.md": "rsite:news/index.html",
}
ARTICLES = {
    f"vignettes/{path.name}": f"rsite:articles/{path.stem}.html"
    for path in (ROOT / "vignettes").glob("*.Rmd")
}
#: files that are copied beside the pages
FILES = {
    "vignettes/figures/demo.png": "demo.png",
    "bridge/format.json": "format.json",
    "CITATION.cff": "CITATION.cff",
}
#: there is nothing to open, so their name stands without a link
UNLINKED = {"bridge/examples/v1", "LICENSE"}

LINK = re.compile(r"\[([^\[\]]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]+)?\)")
PLACE = re.compile(r"^<!-- README\.md: (.+) -->$", re.MULTILINE)


def for_the_site(text: str, source: str) -> str:
    """Text of a page of the repository, with its relative links led to their places on the site."""

    def lead(link: re.Match[str]) -> str:
        name, path, anchor = link[1], link[2], link[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target in UNLINKED:
            return name
        places = PAGES | ARTICLES | FILES
        if target not in places:
            raise ValueError(
                f"{source} links to {target}, which has no place on the site: see docs/build.py."
            )
        return f"[{name}]({places[target]}{anchor})"

    return LINK.sub(lead, text)


def readme_parts() -> dict[str, str]:
    """README.md by its headings; "top" is what stands before the first."""
    parts = re.split(r"^## (.+)\n", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = zip(parts[1::2], parts[2::2], strict=True)
    return {"top": parts[0]} | {title: f"## {title}\n{body}" for title, body in sections}


def with_readme(text: str) -> str:
    """The text, with the parts of README.md where it asks for them."""
    parts = readme_parts()
    return PLACE.sub(lambda place: for_the_site(parts[place[1]], "README.md"), text)


def command_line() -> str:
    """The page of the command line: what every command says to `--help`."""
    os.environ["COLUMNS"] = "96"
    overview = help_of()
    names = re.findall(r"^    ([a-z][\w-]*)(?: |$)", overview, re.MULTILINE)
    text = "# The command line\n\n" + readme_parts()["On the command line"].split("\n", 1)[1]
    text += "\nThe same in Python and R: [verbs](verbs.md).\n"
    return text + "".join(f"\n## sailerx {name}\n\n```text\n{help_of(name)}```\n" for name in names)


def help_of(*command: str) -> str:
    """What `sailerx COMMAND --help` prints."""
    from sailerx.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main([*command, "--help"])
    return printed.getvalue()


def python_sources(folder: Path) -> None:
    """Write everything that Sphinx reads into a new folder."""
    shutil.copytree(DOCS / "source", folder)
    for page in folder.glob("*.md"):
        page.write_text(with_readme(page.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "cli.md").write_text(command_line(), encoding="utf-8")
    for source, place in PAGES.items():
        if source != "README.md" and place.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            (folder / place).write_text(for_the_site(text, source), encoding="utf-8")
    for source, place in FILES.items():
        shutil.copyfile(ROOT / source, folder / place)


def r_sources(folder: Path, articles: Path) -> None:
    """Write everything that pkgdown reads into a new folder: the package with its pages and knitted articles."""
    aside = shutil.ignore_patterns("tests", "python", "*.whl")
    shutil.copytree(ROOT / "rpkg", folder, ignore=aside)
    shutil.copytree(articles, folder / "vignettes")
    shutil.copytree(DOCS / "r" / "assets", folder / "pkgdown" / "assets")
    shutil.copyfile(DOCS / "r" / "_pkgdown.yml", folder / "_pkgdown.yml")
    shutil.copyfile(DOCS / "r" / "extra.css", folder / "pkgdown" / "extra.css")
    text = (DOCS / "r" / "index.md").read_text(encoding="utf-8")
    (folder / "index.md").write_text(with_readme(text), encoding="utf-8")


def run(*command: str | Path) -> None:
    """Run a command; its output is shown when it fails."""
    answer = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
    if answer.returncode != 0:
        sys.exit(f"{answer.stdout}\n{answer.stderr}\nThis has failed: {' '.join(map(str, command))}")


def knit(folder: Path) -> None:
    """Run the vignettes into a folder; those that are newer there than their source stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted((ROOT / "vignettes").glob("*.Rmd")):
        done = folder / source.name
        if done.exists() and done.stat().st_mtime > max(map(mtime, [source, DOCS / "r" / "knit.R", PACKAGE])):
            continue
        print(f"Running {source.name}", flush=True)
        run("Rscript", DOCS / "r" / "knit.R", source, folder)


#: changes when the R package, or the Python package within it, is installed anew
PACKAGE = ROOT / ".rlib" / "sailerx.stamp"


def mtime(path: Path) -> float:
    """When a file was written; 0 where there is none."""
    return path.stat().st_mtime if path.exists() else 0.0


def build(site: Path, articles: Path = WORK / "articles") -> None:
    """Write the whole site into a folder, which is emptied first."""
    knit(articles)
    for folder in (site, WORK / "python", WORK / "r"):
        shutil.rmtree(folder, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    print("Sphinx: Python, command line, file format", flush=True)
    python_sources(WORK / "python")
    run(
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        WORK / "doctrees",
        WORK / "python",
        site,
    )
    print("pkgdown: R, articles", flush=True)
    r_sources(WORK / "r", articles)
    run("Rscript", DOCS / "r" / "site.R", WORK / "r", site.resolve() / "r")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build(Path(sys.argv[1]))
    print(f"Done: {Path(sys.argv[1]).resolve() / 'index.html'}")
