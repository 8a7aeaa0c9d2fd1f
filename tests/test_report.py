"""The report: what it says is what the model says, and a browser shows it without help from elsewhere."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import mudata
import numpy as np
import pandas as pd
import pytest

import sailerx
from browser import Tab
from data import TINY, files_below, paired, with_part, write
from sailerx import InputError, metrics
from sailerx.cli import main
from sailerx.evaluate import figures, report_data, umap_plots
from sailerx.evaluate import html as html_page

ROOT = Path(__file__).resolve().parent.parent
ODD = '<b>"odd" & ü</b>'


class Html(HTMLParser):
    """What the tests ask of a page: its tags with their attributes, and the text of its tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1][0] in ("td", "th") and data.strip():
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, name: str, table: str | None = None) -> list[str]:
        """The first row of this name, of the table whose first header is this."""
        start = next(i for i, row in enumerate(self.rows) if table in (None, row[0]))
        return next(row[1:] for row in self.rows[start:] if row[0] == name)


def data() -> mudata.MuData:
    """Cells of three types, a batch of odd levels, and ten cells without RNA."""
    mdata = paired(n_cells=150, n_peaks=300, n_genes=200)
    mdata["atac"].obs["site"] = pd.Categorical(np.resize([ODD, "b"], 150))
    rna = mdata["rna"][:140].copy()
    return with_part(mdata, rna=rna)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model's folder with its data, and the page that the command line wrote of both."""
    folder = tmp_path_factory.mktemp("report")
    mdata = data()
    with pytest.warns(UserWarning, match="10 of 150"):
        sailerx.fit(mdata, batch_key="site", seed=1, progress="none", **TINY).save(folder / "run")
    write(mdata, folder / "in.h5mu")
    output = folder / "page.html"
    command = [
        "report",
        folder / "run",
        folder / "in.h5mu",
        "-o",
        output,
        "--labels=cell_type",
        "--traceback",
    ]
    assert main([str(word) for word in command]) == 0
    assert {path.name for path in folder.iterdir()} == {"run", "in.h5mu", "page.html"}
    return folder, output


@pytest.fixture(scope="module")
def html(written: tuple[Path, Path]) -> Html:
    return Html(written[1])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two dimensions of the embedding instead of a UMAP, and empty pictures: both take their time."""
    monkeypatch.setattr(umap_plots, "umap_layout", lambda z, **_: np.asarray(z)[:, :2])
    monkeypatch.setattr(figures, "to_svg", lambda figure: "<svg/>")


# In a browser


def test_page_opens_without_complaint_and_asks_for_nothing(
    tab: Tab, written: tuple[Path, Path], tmp_path: Path
) -> None:
    from PIL import Image

    address = written[1].as_uri()
    for width, dark in ((1200, False), (1200, True), (400, False)):
        tab.open(address, width=width, dark=dark)
        assert tab.complaints() == []
        assert tab.requests() == [address]
        assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 100)")
        assert tab.evaluate("document.images.length") >= 9
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        picture = Image.open(tab.screenshot(tmp_path / "page.png")).convert("L")
        assert picture.height > 2000
        assert (picture.getpixel((2, 2)) < 60) == dark  # the margin of the page
        assert len(picture.getcolors()) > 100


def test_text_of_the_page_can_be_read_in_light_and_dark(tab: Tab, written: tuple[Path, Path]) -> None:
    """Contrast of 4.5 to 1, as WCAG 2 asks of small text."""
    style = "(s => [s.color, s.backgroundColor].map(c => c.match(/\\d+/g).slice(0, 3).map(Number)))"
    for dark in (False, True):
        tab.open(written[1].as_uri(), dark=dark)
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        for selector in ("body", "figcaption", "caption", "a", "thead th", ".facts dt", ".warnings li"):
            ink, own = tab.evaluate(f"{style}(getComputedStyle(document.querySelector('{selector}')))")
            behind = own if selector == ".warnings li" else paper
            light, dim = sorted([luminance(ink), luminance(behind)], reverse=True)
            assert (light + 0.05) / (dim + 0.05) > 4.5, (selector, dark)


def luminance(rgb: list[int]) -> float:
    """Relative luminance of a colour, WCAG 2."""
    share = np.array(rgb[:3]) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_browser_would_notice_an_error_and_a_request(tab: Tab, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("on purpose"); gone()</script>')
    tab.open(bad.as_uri())
    assert "http://127.0.0.1:9/x.png" in tab.requests()
    assert "on purpose" in str(tab.complaints())
    assert len(tab.complaints()) >= 2


# What stands in it


def test_nothing_in_the_page_points_elsewhere(written: tuple[Path, Path], html: Html) -> None:
    links = [tag[key] for _, tag in html.tags for key in ("src", "href", "srcset", "action") if key in tag]
    assert {re.match(r"#|data:", str(link)) is not None for link in links} == {True}
    assert html.all("script") == []
    style = written[1].read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_page_is_made_for_those_who_hear_it_too(html: Html) -> None:
    assert html.all("html")[0]["lang"] == "en"
    assert [tag for tag, _ in html.tags if tag in ("h1", "h2", "h3")] == ["h1"] + ["h2"] * 9
    assert all(len(str(image["alt"])) > 20 for image in html.all("img"))
    assert len({image["alt"] for image in html.all("img")}) == len(html.all("img"))
    assert {head["scope"] for head in html.all("th")} == {"col", "row"}
    assert len(html.all("caption")) == len(html.all("table")) == 6
    anchors = [f"#{tag['id']}" for _, tag in html.tags if "id" in tag]
    assert [link["href"] for link in html.all("a")] == anchors


def test_scores_are_those_of_the_embedding(written: tuple[Path, Path], html: Html) -> None:
    folder, _ = written
    mdata, model = sailerx.read(folder / "in.h5mu"), sailerx.load(folder / "run")
    z = model.embed(mdata)[:140]  # the cells with RNA
    kinds = mdata["atac"].obs["cell_type"][:140].to_numpy(dtype=object)
    found = metrics.score(z, kinds)
    shown = dict(zip(html.row("embedding"), html.row("SAILERX", "embedding"), strict=True))
    for key, title in (("ari", "ARI"), ("nmi", "NMI"), ("knn", "kNN accuracy"), ("silhouette", "silhouette")):
        assert float(shown[title]) == pytest.approx(found[key], abs=6e-4)
    assert int(shown["clusters"]) == found["clusters"]
    assert html.row("RNA reference", "embedding")[0] == "–"
    depth = np.diff(mdata["atac"].X.indptr)[:140]
    assert float(html.row("log ATAC depth (R²)")[0]) == pytest.approx(
        metrics.depth_leakage(z, kinds, depth), abs=6e-4
    )


def test_facts_warnings_settings_and_versions_are_told(html: Html) -> None:
    for text in (
        "in.h5mu",
        "150 cells",
        "10 of 150 cells of 'atac' have no 'rna'",
        "fewer than 100 open peaks",
        "PCA of X",
    ):
        assert text in html.text, text
    assert html.row("n_latent") == ["5", "50"]
    assert html.row("batch_key") == ["site"]
    assert html.row("seed") == ["1"]
    assert html.row("python")[0] == html.row("python")[1] == sys.version.split()[0]
    strong = [tag for tag in html.all("tr") if tag.get("class") == "strong"]
    assert (
        len(strong) == 2 + 4
    )  # our rows, and the changed options but the number of epochs, which the preset leaves open


def test_whatever_data_are_called_is_text(written: tuple[Path, Path], tmp_path: Path, quick: None) -> None:
    folder, _ = written
    mdata = sailerx.read(folder / "in.h5mu")
    mdata["atac"].obs[ODD] = mdata["atac"].obs["cell_type"]
    sailerx.load(folder / "run").report(mdata, tmp_path / "p.html", labels=ODD, title=ODD)
    found = Html(tmp_path / "p.html")
    assert found.all("b") == []
    assert f"sailerx report: {ODD}" in found.text
    assert sum(ODD in str(image["alt"]) for image in found.all("img")) == 2


def test_without_labels_leakage_is_within_clusters(
    written: tuple[Path, Path], tmp_path: Path, quick: None
) -> None:
    folder, _ = written
    sailerx.load(folder / "run").report(sailerx.read(folder / "in.h5mu"), tmp_path / "p.html")
    found = Html(tmp_path / "p.html")
    assert found.row("embedding") == ["RNA neighbours kept"]
    assert found.row("mixing in") == ["iLISI of sets", "iLISI, sets shuffled"]
    assert "cluster of the RNA reference" in found.text
    assert "name a column of cell types" in found.text


def test_other_data_than_the_models_are_pointed_out(
    written: tuple[Path, Path], tmp_path: Path, quick: None
) -> None:
    folder, _ = written
    mdata = sailerx.read(folder / "in.h5mu")
    mdata["rna"].layers["counts"] = mdata["rna"].X.copy()
    fewer = with_part(mdata, atac=mdata["atac"][:100].copy())
    sailerx.load(folder / "run").report(fewer, tmp_path / "p.html", labels="cell_type", drop=["A1"])
    text = Html(tmp_path / "p.html").text
    assert "trained on 150 cells, but these data have 100" in text
    assert "taught by PCA of X, but these data give PCA of layer 'counts'" in text


# What is computed


def look(folder: Path, **options: object) -> report_data.ReportData:
    mdata = sailerx.read(folder / "in.h5mu")
    return report_data.ReportData.of(sailerx.load(folder / "run"), mdata, **options)  # type: ignore[arg-type]


def test_cells_without_rna_have_no_agreement_and_no_weight(written: tuple[Path, Path], quick: None) -> None:
    seen = look(written[0])
    for values in (seen.agreement, seen.weight, seen.obs["RNA counts"]):
        np.testing.assert_array_equal(np.isnan(values), np.arange(150) >= 140)
    assert seen.chance == pytest.approx(15 / 139)
    np.testing.assert_array_equal(seen.obs["modalities"] == "ATAC alone", np.arange(150) >= 140)
    assert list(seen.obs) == ["Leiden cluster", "site", "modalities", "open peaks", "RNA counts"]


def test_of_too_many_cells_some_are_shown(written: tuple[Path, Path], quick: None, monkeypatch) -> None:
    monkeypatch.setattr(report_data, "MOST_CELLS", 90)
    seen = look(written[0], labels="cell_type")
    assert {len(part) for part in (seen.layout, seen.obs, seen.agreement, seen.weight)} == {90}
    assert seen.data.n_cells == 150
    labels = sailerx.read(written[0] / "in.h5mu")["atac"].obs["cell_type"]
    assert list(seen.obs["cell_type"]) == list(labels[seen.data.barcodes[seen.obs.index]])


def test_dropped_labels_are_coloured_but_not_scored(written: tuple[Path, Path], quick: None) -> None:
    folder, _ = written
    mdata, model = sailerx.read(folder / "in.h5mu"), sailerx.load(folder / "run")
    seen = look(folder, labels="cell_type", drop=["A1"])
    kinds = mdata["atac"].obs["cell_type"]
    assert list(seen.obs["cell_type"]) == list(kinds)
    found = metrics.score(model.embed(mdata)[:140], kinds[:140].to_numpy(dtype=object), drop=["A1"])
    assert seen.scores.loc["SAILERX", "NMI"] == pytest.approx(found["nmi"])


# What is refused


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("nope", "no obs column 'nope'. There are: "),
        ("barcode", "'barcode' gives 150 different values to 150 cells"),
        ("one", "'one' gives 1 different values"),
    ],
)
def test_labels_that_group_nothing_are_refused(written, tmp_path: Path, labels: str, message: str) -> None:
    folder, _ = written
    mdata = sailerx.read(folder / "in.h5mu")
    mdata["atac"].obs["barcode"], mdata["atac"].obs["one"] = mdata["atac"].obs_names, "same"
    with pytest.raises(InputError, match=re.escape(message)):
        sailerx.load(folder / "run").report(mdata, tmp_path / "p.html", labels=labels)
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "in.h5mu", "-o", "nowhere/p.html"], "the folder of nowhere/p.html must exist"),
        (["nothing", "in.h5mu"], "is not a whole sailerx model"),
        (["run", "nothing.h5mu"], "there is no file nothing.h5mu"),
        (["run", "in.h5mu", "--labels", "nope"], "no obs column 'nope'"),
    ],
)
def test_bad_arguments_end_in_one_line(
    written, monkeypatch, capsys, arguments: list[str], message: str
) -> None:
    folder, _ = written
    before = files_below(folder)
    monkeypatch.chdir(folder)
    assert main(["report", *arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("sailerx: error: ")
    assert message in last
    assert files_below(folder) == before


def test_a_missing_package_is_named_with_its_remedy(written, tmp_path: Path, monkeypatch) -> None:
    folder, _ = written
    mdata, model = sailerx.read(folder / "in.h5mu"), sailerx.load(folder / "run")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=re.escape("pip install 'sailerx[plot]'")):
        model.report(mdata, tmp_path / "p.html")
    assert files_below(tmp_path) == set()


def test_an_error_keeps_the_earlier_page(written, tmp_path: Path, quick: None, monkeypatch) -> None:
    folder, _ = written
    (tmp_path / "p.html").write_text("earlier")

    def full(*_: object, **__: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr(html_page, "render", full)
    with pytest.raises(OSError, match="No space"):
        sailerx.load(folder / "run").report(sailerx.read(folder / "in.h5mu"), tmp_path / "p.html")
    assert files_below(tmp_path) == {"p.html"}
    assert (tmp_path / "p.html").read_text() == "earlier"


# The package


def test_wheel_holds_the_page_that_is_filled_in() -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel")
    inside = {file.distribution_path for file in wheel.WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "sailerx/evaluate/report.html" in inside
