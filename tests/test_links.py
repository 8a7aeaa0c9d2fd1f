"""Peak-to-gene links: starts of genes, pairs, statistics against plain loops, and simulated truth."""

from __future__ import annotations

from pathlib import Path

import mudata
import numpy as np
import pandas as pd
import pytest
from links import few_patterns
from mudata import MuData
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

import sailerx
from sailerx import InputError
from sailerx.cli import main
from sailerx.regulators.annotation import gene_starts
from sailerx.regulators.background import MatchedPeaks
from sailerx.regulators.links import empirical_p, link_statistics, near_pairs, null_pairs
from sailerx.results.links import metacells

GTF = """#!genome
chr1\tx\tgene\t101\t200\t.\t+\t.\tgene_id "ENSG1"; gene_name "ABC";
chr1\tx\ttranscript\t101\t150\t.\t+\t.\tgene_id "ENSG1"; gene_name "ABC";
chr1\tx\tgene\t301\t320\t.\t-\t.\tgene_id "ENSG2"; gene_type "x"; gene_name "ABC";
chr2\tx\tgene\t1001\t2000\t.\t-\t.\tgene_id "ENSG3";
"""


@pytest.fixture(scope="module")
def mdata() -> MuData:
    return sailerx.simulate(
        700,
        200,
        1200,
        8,
        seed=3,
        n_links=100,
        rna_depth=1500.0,
        atac_depth=300.0,
        n_chroms=4,
        atac_signal=0.5,
    )


@pytest.fixture(scope="module")
def model(mdata: MuData) -> sailerx.Model:
    return sailerx.fit(
        mdata, batch_key="batch", max_epochs=40, progress="none", n_latent=15, n_hidden=16, minibatch_size=100
    )


# Starts of genes


def test_gtf_gives_the_start_of_the_longest_gene_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "genes.gtf").write_text(GTF)
    table = gene_starts(tmp_path / "genes.gtf")
    assert table.loc["ABC"].tolist() == ["chr1", 100, "+"]
    assert table.loc["ENSG3"].tolist() == ["chr2", 1999, "-"]
    assert len(table) == 2


def test_tables_give_the_same_starts(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"chrom": ["1", "2"], "start": [100, 1000], "end": [200, 2000], "strand": ["+", "-"]},
        index=["a", "b"],
    )
    table.to_csv(tmp_path / "genes.csv")
    table.to_csv(tmp_path / "genes.tsv", sep="\t")
    for given in (table, tmp_path / "genes.csv", tmp_path / "genes.tsv"):
        assert gene_starts(given)["tss"].tolist() == [100, 1999]
        assert gene_starts(given)["chrom"].tolist() == ["1", "2"]
    assert gene_starts(table.assign(tss=7))["tss"].tolist() == [7, 7]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.gtf", None, "no such file"),
        ("genes.bed", "chr1\t1\t2\n", r"\.gtf.*got genes.bed"),
        ("genes.gtf", "chr1\tx\texon\t1\t2\t.\t+\t.\tgene_id 'x'\n", "feature 'gene'"),
        ("genes.csv", "gene,chrom\nA,chr1\n", "chrom and tss.*but has chrom"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_told(
    name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        gene_starts(tmp_path / name)


# Statistics


def test_pairs_are_all_peaks_within_the_distance() -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 5000, 200)
    peaks = pd.DataFrame({"chrom": rng.choice(["a", "b"], 200), "start": start, "end": start + 50})
    genes = pd.DataFrame(
        {
            "chrom": rng.choice(["a", "b", "c"], 30),
            "tss": rng.integers(0, 5000, 30),
            "strand": rng.choice(["+", "-"], 30),
        }
    )
    pairs = near_pairs(peaks, genes, 300)
    expected = {
        (g, p): (peak.start + 25 - gene.tss) * (-1 if gene.strand == "-" else 1)
        for g, gene in enumerate(genes.itertuples())
        for p, peak in enumerate(peaks.itertuples())
        if gene.chrom == peak.chrom and abs(peak.start + 25 - gene.tss) <= 300
    }
    found = {(g, p): d for g, p, d in pairs.itertuples(index=False)}
    assert found == expected
    assert len(pairs) == len(expected) > 50


def test_statistics_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.gamma(2.0, 1.0, (30, 400)).astype(np.float32), rng.normal(size=(30, 200))
    y[:, 3] = 1.0  # does not vary
    chrom = rng.choice(["a", "b", "c"], 400)
    pairs = pd.DataFrame({"gene": rng.integers(0, 200, 80), "peak": rng.integers(0, 400, 80)})
    pairs.loc[0, "gene"] = 3
    table = link_statistics(pairs, y, x, chrom, None, n_background=60, seed=2)
    background = MatchedPeaks.of(x.sum(axis=0, dtype=float), None).draw(60, 2)
    for i, (gene, peak) in enumerate(pairs.itertuples(index=False)):
        if gene == 3:
            assert np.isnan(table.loc[i, "p_value"])
            continue
        r = np.corrcoef(x[:, peak], y[:, gene])[0, 1]
        others = [p for p in background[:, peak] if chrom[p] != chrom[peak]]
        if len(set(others)) < 10:
            assert np.isnan(table.loc[i, "z"])
            continue
        of_others = np.arctanh([np.corrcoef(x[:, p], y[:, gene])[0, 1] for p in others])
        z = (np.arctanh(r) - of_others.mean()) / of_others.std(ddof=1)
        assert table.loc[i, "correlation"] == pytest.approx(r, abs=1e-5)
        assert table.loc[i, "z"] == pytest.approx(z, rel=1e-3, abs=1e-4)
    assert table["z"].notna().sum() > 40


def test_null_pairs_are_on_different_chromosomes() -> None:
    chrom = np.repeat(["a", "b", "c"], 40)
    gene, peak = np.array([0, 0, 3, 7]), np.array([1, 2, 45, 110])
    genes, peaks = null_pairs(gene, peak, chrom, 0)
    own = {0: "a", 3: "b", 7: "c"}
    assert all(chrom[p] != own[g] for g, p in zip(genes, peaks, strict=True))
    assert len(set(zip(genes, peaks, strict=True))) == len(genes) == 3 * 80  # all there are
    few = null_pairs(np.repeat(np.arange(4000), 30), np.zeros(120_000, int), np.repeat(["a", "b"], 500), 0)
    assert len(few[0]) == pytest.approx(
        4 * 120_000 / 2, rel=0.01
    )  # half of the peaks drawn are on chromosome b


def test_p_values_are_the_share_of_null_scores_beyond() -> None:
    null = np.r_[np.arange(-4, 6), np.nan]
    p = empirical_p(np.array([5.0, 4.5, 0.5, -4.0, np.nan, 9.0]), null)
    np.testing.assert_allclose(p, [4 / 11, 4 / 11, 1, 4 / 11, np.nan, 2 / 11])
    uniform = empirical_p(
        np.random.default_rng(0).normal(size=5000), np.random.default_rng(1).normal(size=5000)
    )
    assert (uniform < 0.05).mean() == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("fdr", [0.01, 0.05, 0.1])
def test_the_share_of_false_calls_is_as_stated_where_tails_are_heavy(fdr: float) -> None:
    called = false = found = 0
    for seed in range(3):
        pairs, true, data = few_patterns(seed)
        table = link_statistics(pairs, *data, seed=seed)
        linked = (table["fdr"] <= fdr).to_numpy()
        called, false, found = (
            called + linked.sum(),
            false + (linked & ~true).sum(),
            found + (linked & true).sum(),
        )
    assert found > 100  # of 300
    assert false <= fdr * called + 3 * np.sqrt(fdr * called) + 1


def test_normal_p_values_would_be_too_small_there() -> None:
    """Why p-values are not taken from a distribution."""
    pairs, true, data = few_patterns(0)
    table = link_statistics(pairs, *data)
    normal = 2 * student.sf(table["z"].abs(), 199)
    assert (normal[~true] < 1e-3).mean() > 3e-3
    assert (table["p_value"][~true] < 1e-3).mean() < 3e-3


def test_metacells_are_groups_of_like_cells() -> None:
    z = np.random.default_rng(0).normal(size=(400, 3)) + 20 * np.repeat(np.eye(4)[:, :3], 100, axis=0)
    label = metacells(z, 12, 0)
    assert label.max() < 12
    for group in range(label.max() + 1):
        assert len(set(np.flatnonzero(label == group) // 100)) == 1
    assert metacells(z, None, 0).max() < 20
    for n in (2, 401):
        with pytest.raises(InputError, match=f"got {n}"):
            metacells(z, n, 0)


# Truth


def test_linked_pairs_stand_out_and_others_have_the_stated_error_rate(
    mdata: MuData, model: sailerx.Model
) -> None:
    genes = mdata["rna"].var
    table = model.links(mdata, genes, distance=100_000)
    true = (genes["linked_peak"].astype(str)[table["gene"]].to_numpy() == table["peak"]).to_numpy()
    assert true.sum() >= 99
    tested = table["z"].notna()
    assert tested.mean() > 0.9
    assert roc_auc_score(true[tested], table["z"][tested]) > 0.7
    assert table["correlation"][true].mean() > table["correlation"][~true].mean() + 0.2
    assert 0.02 < (table["p_value"][tested & ~true] < 0.05).mean() < 0.08
    assert (table["linked"] & ~true).sum() <= 0.1 * table["linked"].sum() + 3
    assert table["p_value"].dropna().is_monotonic_increasing
    assert (table["distance"].abs() <= 100_000).all()
    np.testing.assert_array_equal(table["linked"], table["fdr"] <= 0.05)


def test_links_do_not_hang_on_the_form_of_the_input(
    mdata: MuData, model: sailerx.Model, tmp_path: Path
) -> None:
    genes = mdata["rna"].var
    chosen = list(genes.index[:5])
    expected = model.links(mdata, genes, genes=chosen)
    assert set(expected["gene"]) == set(chosen)
    with mudata.set_options(pull_on_update=False):
        mdata.write(tmp_path / "cells.h5mu")
    model.save(tmp_path / "run")
    genes.to_csv(tmp_path / "genes.csv")
    words = [
        "links",
        tmp_path / "run",
        tmp_path / "cells.h5mu",
        tmp_path / "genes.csv",
        "-o",
        tmp_path / "out.csv",
    ]
    assert main([*map(str, words), "--genes", *chosen]) == 0
    written = pd.read_csv(tmp_path / "out.csv", dtype={"chrom": str})
    assert list(written.columns) == list(expected.columns)
    np.testing.assert_allclose(written["z"], expected["z"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genes": ["NOT"]}, "in the RNA: 1 of 1 are not, first 'NOT'"),
        ({"distance": 0}, "`distance`"),
        ({"n_metacells": 3}, "`n_metacells`"),
        ({"fdr": 2.0}, "`fdr`"),
    ],
)
def test_links_that_cannot_be_computed_are_told(
    options: dict[str, object], message: str, mdata: MuData, model: sailerx.Model
) -> None:
    with pytest.raises(InputError, match=message):
        model.links(mdata, mdata["rna"].var, **options)  # type: ignore[arg-type]
    far = mdata["rna"].var.assign(chrom="1")
    with pytest.raises(InputError, match="Peaks are on chr1, .* genes on 1: do their names agree"):
        model.links(mdata, far)
    with pytest.raises(InputError, match="names and the other identifiers"):
        model.links(mdata, far.set_axis([f"ENSG{i}" for i in range(200)]))
    with pytest.raises(InputError, match="need RNA and ATAC"):
        model.links(mdata["atac"], far)
