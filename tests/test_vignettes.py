"""The vignettes knit, on the simulated data that they bring along."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "vignettes"
VIGNETTES = sorted(path.stem for path in FOLDER.glob("*.Rmd"))
QUICK = {"method"}  # the others train a model each

pytestmark = pytest.mark.r


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in VIGNETTES]
)
def test_vignette_knits(name: str, run_r: Callable[..., str], tmp_path: Path) -> None:
    run_r(
        "rmarkdown::render(args[1], output_dir = args[2], intermediates_dir = args[2], quiet = TRUE)",
        FOLDER / f"{name}.Rmd",
        tmp_path,
    )
    page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
    source = (FOLDER / f"{name}.Rmd").read_text(encoding="utf-8")
    drawn, wanted = (
        page.count("data:image/png"),
        len(re.findall(r"^\s*(?:DimPlot|ggplot)\(", source, re.MULTILINE)),
    )
    assert drawn >= wanted
    assert not re.search(r"#&gt; (Error|Warning)", page)
    assert not list(FOLDER.glob("*.html"))
    assert not list(FOLDER.glob("*_files"))


def test_links_between_vignettes_lead_somewhere() -> None:
    for name in VIGNETTES:
        text = (FOLDER / f"{name}.Rmd").read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([\w-]+)\.html\)", text):
            assert target in VIGNETTES, f"{name}.Rmd links to {target}.html"
