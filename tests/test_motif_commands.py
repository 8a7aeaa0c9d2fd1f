"""Motif activity through the model and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
from mudata import MuData

import sailerx
from sailerx import motifs
from sailerx.cli import main
from sailerx.regulators.background import MatchedPeaks

SMALL: dict[str, Any] = {"n_latent": 8, "n_hidden": 16, "n_chrom": 8, "max_epochs": 3, "minibatch_size": 50}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``cells.h5mu``, its genome, two motifs, and a model in ``run``."""
    folder = tmp_path_factory.mktemp("motifs")
    mdata = sailerx.simulate(150, 100, 600, 3, seed=0, genome=folder / "genome.fa", n_chroms=3)
    with mudata.set_options(pull_on_update=False):
        mdata.write(folder / "cells.h5mu")
    sailerx.fit(mdata, batch_key="batch", progress="none", **SMALL).save(folder / "run")
    known = {motif.name: motif for motif in motifs.jaspar()}
    text = ""
    for name in ("MEF2C", "GATA1", "CTCF"):
        rows = (" ".join(f"{x:g}" for x in row) for row in known[name].counts)
        text += f">{known[name].id} {name}\n" + "\n".join(rows) + "\n"
    (folder / "motifs.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def mdata(folder: Path) -> MuData:
    return sailerx.read(folder / "cells.h5mu")


@pytest.fixture(scope="module")
def matches(folder: Path, mdata: MuData) -> ad.AnnData:
    known = motifs.read(folder / "motifs.txt")
    return motifs.scan(mdata, folder / "genome.fa", known, p_value=1e-3, progress="none")


def test_imputed_activity_is_the_definition_on_imputed_accessibility(
    folder: Path, mdata: MuData, matches: ad.AnnData
) -> None:
    model = sailerx.load(folder / "run")
    found = model.motif_activity(mdata, matches, n_background=4, seed=1, progress="none")
    imputed = model.impute(mdata)
    x, hits = imputed.X.astype(float), matches[imputed.var_names].X.toarray().astype(float)
    gc = matches[imputed.var_names].obs["gc"].to_numpy()
    background = MatchedPeaks.of(x.sum(axis=0), gc).draw(4, 1)
    expected = x.sum(axis=1, keepdims=True) * (x.sum(axis=0) / x.sum())
    y = [x[:, own] @ hits / (expected[:, own] @ hits) - 1 for own in (np.arange(600), *background)]
    d = y[0] - np.mean(y[1:], axis=0)
    np.testing.assert_allclose(found.layers["deviations"], d, atol=2e-5)
    np.testing.assert_allclose(found.X, d / np.std(y[1:], axis=0, ddof=1), rtol=0.02, atol=0.02)
    assert "cell_type" in found.obs
    from_file = model.motif_activity(folder / "cells.h5mu", matches, n_background=4, seed=1, progress="none")
    np.testing.assert_allclose(from_file.X, found.X, rtol=1e-4, atol=1e-4)


def test_command_gives_what_python_gives(
    folder: Path, mdata: MuData, matches: ad.AnnData, tmp_path: Path
) -> None:
    words = [
        "motifs",
        str(folder / "cells.h5mu"),
        "-o",
        str(tmp_path / "a.h5ad"),
        "--genome",
        str(folder / "genome.fa"),
    ]
    words += [
        "--motifs",
        str(folder / "motifs.txt"),
        "--p-value",
        "1e-3",
        "--n-background",
        "5",
        "--progress",
        "none",
    ]
    words += ["--save-matches", str(tmp_path / "m.h5ad"), "--differential", str(tmp_path / "d.csv")]
    assert main([*words, "--group-by", "cell_type", "--group1", "A1", "--batch-key", "batch"]) == 0
    activity = motifs.activity(mdata, matches, n_background=5, progress="none")
    written = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(written.X, activity.X)
    np.testing.assert_array_equal(ad.read_h5ad(tmp_path / "m.h5ad").X.toarray(), matches.X.toarray())
    table = pd.read_csv(tmp_path / "d.csv", index_col="motif")
    expected = motifs.differential(activity, "cell_type", "A1", batch_key="batch")
    np.testing.assert_allclose(table["p_value"], expected["p_value"])
    again = [
        "motifs",
        str(folder / "cells.h5mu"),
        "-o",
        str(tmp_path / "b.h5ad"),
        "--matches",
        str(tmp_path / "m.h5ad"),
    ]
    assert main([*again, "--model", str(folder / "run"), "--n-background", "5", "--progress", "none"]) == 0
    imputed = sailerx.load(folder / "run").motif_activity(mdata, matches, n_background=5, progress="none")
    np.testing.assert_allclose(ad.read_h5ad(tmp_path / "b.h5ad").X, imputed.X, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--genome", "none.fa"], "no such file"),
        (["--genome", "genome.fa", "--taxon", "mice"], "vertebrates"),
        (["--matches", "matches.h5ad", "--differential", "d.csv"], "--group-by and --group1"),
        (
            [
                "--matches",
                "matches.h5ad",
                "--differential",
                "d.csv",
                "--group-by",
                "cell_type",
                "--group1",
                "Z",
            ],
            "no cell of group 'Z'",
        ),
        (["--matches", "matches.h5ad", "--model", "run", "--layer", "counts"], "Leave one"),
        ([], "required"),
    ],
)
def test_command_stops_with_a_sentence_and_writes_nothing(
    words: list[str],
    message: str,
    folder: Path,
    matches: ad.AnnData,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matches.write_h5ad(tmp_path / "matches.h5ad")
    for name in ("genome.fa", "run"):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert main(["motifs", str(folder / "cells.h5mu"), "-o", "out.h5ad", *words]) == 2
    assert message in capfd.readouterr().err
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "genome.fa.fai"}


def _renamed(text: str) -> str:
    return text.replace(">chr", ">")


def _cut(text: str) -> str:
    """The genome whose first contig has lost its second half."""
    first, rest = text.split("\n>", 1)
    return first[: len(first) // 2] + "\n>" + rest


def _unknown(text: str) -> str:
    return "\n".join(line if line.startswith(">") else "N" * len(line) for line in text.splitlines()) + "\n"


HOMER = ">GATAAG\tGATA(Zf)\t6.1\n" + "0.97\t0.01\t0.01\t0.01\n" * 4
TRANSFAC = "ID  any\nBF  species\nP0 A C G T\n01 1 2 2 0\n//\n"


@pytest.mark.parametrize(
    ("change", "files", "words", "message"),
    [
        (_renamed, {}, [], "The names differ by the prefix 'chr' ('chr1' and '1')"),
        (_cut, {}, [], "every peak must lie within its contig"),
        (_unknown, {}, [], "none of 3 motifs has a hit in 600 peaks"),
        (None, {"other.txt": TRANSFAC}, ["--motifs", "other.txt"], "JASPAR's format"),
        (None, {"other.txt": HOMER}, ["--motifs", "other.txt"], "HOMER's format"),
        (None, {}, ["--group1", "single"], "each group needs at least 2 cells, but 'single' has 1"),
    ],
    ids=["contigs", "beyond the end", "no hit", "transfac", "homer", "one cell"],
)
def test_bad_input_is_told_in_a_sentence_and_leaves_no_file(
    change: Any,
    files: dict[str, str],
    words: list[str],
    message: str,
    folder: Path,
    mdata: MuData,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (folder / "genome.fa").read_text()
    files = {"genome.fa": change(text) if change else text} | files
    for name, content in files.items():
        Path(name).write_text(content)
    alone = mdata["atac"].copy()
    alone.obs["group"] = np.where(np.arange(alone.n_obs) == 0, "single", "others")
    alone.write_h5ad("cells.h5ad")
    before = {path.name for path in tmp_path.iterdir()}
    command = [
        "motifs",
        "cells.h5ad",
        "-o",
        "out.h5ad",
        "--genome",
        "genome.fa",
        "--save-matches",
        "hits.h5ad",
    ]
    command += [
        "--differential",
        "table.csv",
        "--group-by",
        "group",
        "--n-background",
        "3",
        "--progress",
        "none",
    ]
    command += [] if "--motifs" in words else ["--motifs", str(folder / "motifs.txt")]
    command += [] if "--group1" in words else ["--group1", "others"]
    assert main([*command, *words]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert "Traceback" not in error
    left = {path.name for path in tmp_path.iterdir()} - before
    assert left <= {"genome.fa.fai", "genome.fa.sailerx"}  # the index, and a scan that succeeded


def test_a_short_motif_in_homers_format_is_not_taken_for_jaspars(tmp_path: Path) -> None:
    """Four rows of four: read as JASPAR's they would be turned on their side."""
    (tmp_path / "motifs.txt").write_text(HOMER)
    with pytest.raises(sailerx.InputError, match=r"a row per position.*Convert it"):
        motifs.read(tmp_path / "motifs.txt")
