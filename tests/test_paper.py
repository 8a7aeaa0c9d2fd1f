"""The paper's experiments on little data: page, verdicts, what is missing, and the public files."""

from __future__ import annotations

import gzip
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import paper_claims
import paper_clustering
import paper_motifs
import paper_public
import paper_sets
import pytest
import scipy.sparse as sp
from paper_steps import NotRunError, Plan, attempt, kept, need
from scipy.io import mmwrite

import sailerx
from test_benchmarks import run_in_process, script


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paper")


@pytest.fixture(scope="module")
def quick(out: Path) -> str:
    """What a quick run prints; all that it starts runs in this process."""
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        return script("paper", "--quick", "--out", out)


# The run


@pytest.mark.full
def test_quick_run_has_a_verdict_on_every_claim(quick: str, out: Path) -> None:
    for claim in paper_claims.CLAIMS:
        assert claim.text in quick
    rows = pd.read_csv(out / "paper.csv", keep_default_na=False)
    ran = rows[rows["not_run"] == ""]
    assert set(ran["experiment"]) == {
        *("clustering", "reference", "hybrid", "motifs", "imputation", "imputed motifs")
    }
    assert set(ran["data"]) == {"simulated"}
    assert ran["value"].astype(float).notna().all()
    missing = rows[rows["data"] == "snareseq_cortex"]
    assert set(missing["not_run"]) == {"file missing: snareseq_cortex.h5mu"}


@pytest.mark.full
def test_page_shows_figures_and_where_the_data_are_from_and_loads_nothing(quick: str, out: Path) -> None:
    page = (out / "paper.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") >= 7
    assert "GSE126074" in page
    assert "GSE140203" in page
    assert not any(f'{attribute}="http' in page for attribute in ("src", "href"))
    assert len(page) < 1_500_000


@pytest.mark.full
def test_a_second_run_computes_nothing_again(quick: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    for module, name in ((sailerx, "fit"), (paper_clustering, "taught"), (paper_motifs, "activity")):
        monkeypatch.setattr(module, name, refuse)
    before = (out / "paper.csv").read_bytes()
    assert script("paper", "--quick", "--out", out) == quick
    assert (out / "paper.csv").read_bytes() == before


@pytest.mark.full
def test_planted_motifs_become_a_table(quick: str, out: Path) -> None:
    table = script("paper", "--table", out / "paper.csv")
    assert "| simulated | counts, clusters by | **sailerx** |" in table
    assert "| simulated | cell types, accessibility | raw |" in table


def test_a_folder_that_is_not_there_stops_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pytest.fail.Exception):
        script("paper", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert "Give the path of a folder or file that exists" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_embedding_without_training_is_that_of_fit(tmp_path: Path) -> None:
    case = paper_sets.simulated(Plan(tmp_path, quick=True))
    model = sailerx.fit(case.read(), batch_key="batch", seed=0, max_epochs=1, progress="none")
    np.testing.assert_allclose(
        paper_clustering.taught(case, None, 0), model.embed(case.read()), rtol=1e-5, atol=1e-5
    )


# Steps


def test_steps_are_kept_and_what_is_missing_is_told(tmp_path: Path) -> None:
    calls = []
    for about in ("a", "a", "b"):
        kept(tmp_path, "step", lambda: calls.append(1) or [{"value": 1.0}], about=about)
    assert len(calls) == 2
    with pytest.raises(NotRunError, match="package missing: no_such_package"):
        need(Plan(tmp_path).peers, ["numpy", "no_such_package"])

    def stop() -> list[dict[str, object]]:
        raise NotRunError("file missing: x")

    (row,) = attempt("motifs", "data", "method", stop)
    assert (row["not_run"], row["value"]) == ("file missing: x", "")


def test_methods_are_left_out_everywhere_or_of_one_data_set(tmp_path: Path) -> None:
    plan = Plan(tmp_path, without=("wnn", "lsi_49@simulated"))
    plan.refuse("lsi_49", "snareseq_cortex")
    for method, data in (("wnn", "snareseq_cortex"), ("lsi_49", "simulated")):
        with pytest.raises(NotRunError, match="left out on request"):
            plan.refuse(method, data)


def test_verdicts_compare_every_measure() -> None:
    scores = {"sailerx": (0.6, 0.5), "rna_pca": (0.5, 0.4), "lsi_49": (0.5, 0.6)}
    rows = [
        {"experiment": "clustering", "data": "d", "method": m, "about": "", "measure": s, "value": v, "not_run": ""}
        for m, pair in scores.items()
        for s, v in zip(("nmi", "ari"), pair, strict=True)
    ]  # fmt: skip
    others = set(paper_clustering.TITLES) - set(scores)
    rows += [
        rows[0] | {"method": m, "measure": "", "value": "", "not_run": "package missing: x"} for m in others
    ]
    table = paper_claims.verdicts(pd.DataFrame(rows), {"d": "Data"}).set_index("against")
    assert table.loc["RNA PCA", "verdict"] == "holds"
    assert table.loc["RNA PCA", "numbers"] == "NMI 0.600 against 0.500; ARI 0.500 against 0.400"
    assert table.loc["ATAC LSI", "verdict"] == "does not hold"
    told = table[table["verdict"] == "not run: package missing: x"].index
    assert list(told) == ["WNN, MOFA+, Schema, MultiVI, PeakVI"]


def test_groups_that_share_a_cluster_are_not_told_apart() -> None:
    labels = np.repeat(["a", "b", "c"], 10)
    z = ad.AnnData(np.repeat([[2.0], [0.0], [0.0]], 10, axis=0).astype("float32"))
    z.X += np.random.default_rng(0).normal(0, 0.1, (30, 1)).astype("float32")
    z.var["name"] = "MEF2C"
    expected = paper_sets.Expected("a", "b", ("mef2",))
    apart = paper_motifs.between(z, np.repeat([0, 1, 2], 10), labels, expected)
    assert apart["difference"] == pytest.approx(2.0, abs=0.2)
    assert apart["auroc"] == 1.0
    together = paper_motifs.between(z, np.repeat([0, 0, 2], 10), labels, expected)
    assert together == {"difference": 0.0, "auroc": 0.5}
    only_first = paper_sets.Expected("a", None, ("mef2",))
    assert paper_motifs.between(z, np.repeat([0, -1, 2], 10), labels, only_first)["auroc"] == 1.0
    with pytest.raises(NotRunError, match="no motif of POU"):
        paper_motifs.matching(z, paper_sets.Expected("a", None, ("POU",)))


# The public files


def _lines(path: Path, lines: list[str]) -> None:
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


def _matrix(path: Path, x: np.ndarray) -> None:
    with gzip.open(path, "wb") as file:
        mmwrite(file, sp.coo_matrix(x))


def test_snareseq_is_read_from_its_public_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rna, atac = rng.poisson(1.0, (4, 3)), rng.poisson(1.0, (5, 3))  # features × cells
    start = tmp_path / "GSE126074_AdBrainCortex_SNAREseq_"
    peaks = [f"chr1:{i}00-{i}50" for i in range(1, 6)]
    for kind, x, what, names in (
        ("cDNA", rna, "genes", ["A", "B", "C", "D"]),
        ("chromatin", atac, "peaks", peaks),
    ):
        _matrix(Path(f"{start}{kind}.counts.mtx.gz"), x)
        _lines(Path(f"{start}{kind}.{what}.tsv.gz"), names)
        _lines(Path(f"{start}{kind}.barcodes.tsv.gz"), ["c1", "c2", "c3"])
    mdata = paper_public.snareseq(tmp_path)
    np.testing.assert_array_equal(mdata["rna"].X.toarray(), rna.T)
    np.testing.assert_array_equal(mdata["atac"].X.toarray(), atac.T)
    assert list(mdata["atac"].var_names) == peaks
    which = next(one for one in paper_sets.SETS if one.name == "snareseq_cortex")
    Path(f"{start}cDNA.genes.tsv.gz").unlink()
    with pytest.raises(
        NotRunError, match=r"file missing: GSE126074_AdBrainCortex_SNAREseq_cDNA.genes.tsv.gz"
    ):
        paper_sets.case_of(which, tmp_path, [], Plan(tmp_path / "work"))


def test_shareseq_cells_are_matched_by_their_two_barcodes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rna, atac = rng.poisson(1.0, (3, 4)), rng.poisson(1.0, (2, 3))
    (tmp_path / "celltype_skin.txt").write_text("atac.bc\trna.bc\tcelltype\na1\tr2\tHF\na2\tr1\tBasal\n")
    start = tmp_path / "GSM4156597_skin.late.anagen"
    _matrix(Path(f"{start}.counts.txt.gz"), atac)
    _lines(Path(f"{start}.peaks.bed.gz"), ["chr1\t10\t310", "chr2\t20\t320"])
    _lines(Path(f"{start}.barcodes.txt.gz"), ["a3", "a2", "a1"])
    table = pd.DataFrame(rna, ["A", "B", "C"], ["r1", "r2", "r3", "r4"])
    table.to_csv(tmp_path / "GSM4156608_skin.late.anagen.rna.counts.txt.gz", sep="\t")
    mdata = paper_public.shareseq(tmp_path)
    assert list(mdata["atac"].obs["cell_type"]) == ["HF", "Basal"]
    np.testing.assert_array_equal(mdata["atac"].X.toarray(), atac.T[[2, 1]])
    np.testing.assert_array_equal(mdata["rna"].X.toarray(), rna.T[[1, 0]])
    assert list(mdata["atac"].var_names) == ["chr1:10-310", "chr2:20-320"]


def test_cells_of_two_sets_are_put_on_the_peaks_of_the_first() -> None:
    mdata = sailerx.simulate(80, 60, 90, 3, seed=0)
    with paper_sets.mudata.set_options(pull_on_update=False):
        first, other = mdata[:50].copy(), mdata[50:].copy()
    other.mod["atac"] = other["atac"][:, ::2].copy()
    joined = paper_public.stacked(first, other)
    assert joined["atac"].shape == (80, 90)
    assert joined["atac"].obs["set"].value_counts().to_dict() == {"pbmc10k": 50, "pbmc3k": 30}
    assert "chrom" in joined["atac"].var
    assert joined["atac"].X[50:].sum() == other["atac"].X.sum()
