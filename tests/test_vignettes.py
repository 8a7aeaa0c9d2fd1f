"""The vignettes knit and the scripts run, on the simulated data that they bring along."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import mudata
import numpy as np
import pandas as pd
import pytest

import sailerx

FOLDER = Path(__file__).resolve().parent.parent / "vignettes"
VIGNETTES = sorted(path.stem for path in FOLDER.glob("*.Rmd"))
QUICK = {"method"}  # the others train a model each


@pytest.mark.r
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


@pytest.mark.parametrize("name", VIGNETTES)
def test_vignette_is_one_to_r(name: str) -> None:
    header = (FOLDER / f"{name}.Rmd").read_text(encoding="utf-8").split("---\n")[1]
    title = re.findall(r'^title: "(.+)"$', header, re.MULTILINE)
    assert re.findall(r"VignetteIndexEntry\{(.+)\}$", header, re.MULTILINE) == title
    assert r"%\VignetteEngine{knitr::rmarkdown}" in header


KNITTED = FOLDER.parent / "rpkg" / "vignettes"


def text_and_code(path: Path) -> list[str]:
    """Lines that a reader of the page sees, blank lines and fences apart: the title, text, and code of shown chunks."""
    lines, shown, fenced = [], True, False
    header, body = path.read_text(encoding="utf-8").removeprefix("---\n").split("---\n", 1)
    for line in body.splitlines():
        if line.startswith("```"):
            fenced = not fenced
            shown = not fenced or "include = FALSE" not in line
        elif line.strip() and shown:
            lines.append(line.strip())
    return [line.strip() for line in header.splitlines()] + lines


def differences(source: Path, knitted: Path) -> list[str]:
    """Lines of the source that the knitted page lacks, and lines of the page that are neither of the source nor results."""
    ours, theirs = text_and_code(source), text_and_code(knitted)
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    found = []
    for what, a, b, c, d in matcher.get_opcodes():
        if what != "equal":
            found += ours[a:b]
            found += [
                line for line in theirs[c:d] if not re.match(r"#>|<!-- `make|</?div|<img |!\[|<p class", line)
            ]
    return found


@pytest.mark.parametrize("name", VIGNETTES)
def test_package_has_the_vignette_as_it_is(name: str) -> None:
    found = differences(FOLDER / f"{name}.Rmd", KNITTED / f"{name}.Rmd")
    assert found == [], "`make vignettes` knits them anew"
    text = (KNITTED / f"{name}.Rmd").read_text(encoding="utf-8")
    assert f"made this page of vignettes/{name}.Rmd" in text
    assert not re.search(r"#> (Error|Warning)|/tmp/|/home/", text)
    for figure in re.findall(r"figures/[\w-]+\.png", text):
        assert 5_000 < (KNITTED / figure).stat().st_size < 150_000
    assert text.count("``` r") == 0 or "#>" in text  # with results


def test_package_has_no_other_vignettes_or_figures() -> None:
    assert sorted(path.stem for path in KNITTED.glob("*.Rmd")) == VIGNETTES
    texts = "".join(path.read_text(encoding="utf-8") for path in KNITTED.glob("*.Rmd"))
    assert all(path.name in texts for path in (KNITTED / "figures").iterdir())


def test_a_change_of_either_side_would_be_noticed(tmp_path: Path) -> None:
    source = FOLDER / "multiome.Rmd"
    for side, (old, new) in {
        "source": ("You have a Seurat object", "You have an object"),
        "code": ("library(Seurat)", "library(SeuratObject)"),
    }.items():
        changed = tmp_path / f"{side}.Rmd"
        changed.write_text(source.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        assert differences(changed, KNITTED / "multiome.Rmd"), side
        assert differences(source, changed) != []


def run_script(name: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, FOLDER / "python" / f"{name}.py", *arguments]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``multiome.h5mu`` of 300 cells and, on other peaks, ``atac_only.h5ad``."""
    folder = tmp_path_factory.mktemp("small")
    mdata = sailerx.simulate(300, 300, 800, 3, seed=0)
    with mudata.set_options(pull_on_update=False):
        mdata.write(folder / "multiome.h5mu")
    mdata["atac"][:100, ::2].copy().write_h5ad(folder / "atac_only.h5ad")
    return folder


@pytest.mark.full
def test_script_of_multiome(small: Path, tmp_path: Path) -> None:
    run_script("multiome", tmp_path, str(small / "multiome.h5mu"))
    atac = sailerx.read(tmp_path / "clusters.h5mu")["atac"]
    assert atac.obsm["X_sailerx"].shape[0] == 300
    assert np.isfinite(atac.obsm["X_sailerx"]).all()
    assert atac.obs["cluster"].nunique() > 1
    assert pd.read_csv(tmp_path / "peaks.csv")["probability"].between(0, 1).all()
    assert {path.name for path in tmp_path.iterdir()} == {
        "clusters.h5mu",
        "loss.png",
        "peaks.csv",
        "umap.png",
    }


@pytest.mark.full
def test_script_of_hybrid_training(small: Path, tmp_path: Path) -> None:
    output = run_script("hybrid", tmp_path, str(small / "multiome.h5mu"), str(small / "atac_only.h5ad"))
    assert "of 100 ATAC-only cells" in output
    atac = sailerx.read(tmp_path / "hybrid.h5mu")["atac"]
    assert atac.obs["set"].value_counts().to_dict() == {"multiome": 300, "atac_only": 100}
    assert (tmp_path / "umap.png").stat().st_size > 5000


@pytest.mark.full
def test_script_of_imputation(small: Path, tmp_path: Path) -> None:
    run_script("imputation", tmp_path, str(small / "multiome.h5mu"))
    assert pd.read_csv(tmp_path / "means.csv", index_col=0).shape == (800, 3)
    with h5py.File(tmp_path / "imputed.h5ad") as file:
        assert file["X"].shape == (300, 800)
    assert len(pd.read_csv(tmp_path / "differential.csv")) == 800


@pytest.mark.full
def test_script_of_regulators(tmp_path: Path) -> None:
    mdata = sailerx.simulate(300, 300, 1500, 3, seed=0, genome=tmp_path / "small.fa", n_links=50)
    with mudata.set_options(pull_on_update=False):
        mdata.write(tmp_path / "small.h5mu")
    mdata["rna"].var.to_csv(tmp_path / "genes.csv")
    output = run_script("regulators", tmp_path, "small.h5mu", "small.fa", "genes.csv")
    planted = str(mdata["atac"].uns["truth"]["motif"][0])
    table = pd.read_csv(tmp_path / "motifs.csv", index_col=0).sort_values("difference", ascending=False)
    assert planted in table.index[:20]
    links = pd.read_csv(tmp_path / "links.csv")
    assert f"of {len(links)} pairs are linked" in output
    assert (links["distance"].abs() <= 60_000).all()
    for name in ("motifs", "heatmap", "links"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


@pytest.mark.r
@pytest.mark.full
def test_script_from_python_to_r(tmp_path: Path) -> None:
    output = run_script("languages", tmp_path)
    assert "the same embedding" in output
    assert float(output.split()[-1]) < 1e-6


@pytest.mark.full
def test_script_needs_no_file(tmp_path: Path) -> None:
    output = run_script("hybrid", tmp_path)
    assert float(output.split("right labels: ")[1].split("%")[0]) > 60
