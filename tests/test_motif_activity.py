"""Motif activity: chromVAR's definition against plain loops, tests between groups and of sets of peaks, error rates."""

from __future__ import annotations

from collections.abc import Iterator

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from mudata import MuData
from scipy.stats import fisher_exact, hypergeom, mannwhitneyu, ttest_ind

import sailerx
from sailerx import InputError, motifs
from sailerx.regulators.background import MatchedPeaks
from sailerx.regulators.deviations import Totals, deviations
from sailerx.regulators.enrichment import _null, upper_tail
from sailerx.regulators.statistics import false_discovery_rate

N_CELLS, N_PEAKS, N_MOTIFS = 150, 1100, 5  # more than one block of cells, and more than one piece of peaks


@pytest.fixture(scope="module")
def atac() -> ad.AnnData:
    mdata = sailerx.simulate(N_CELLS, 100, N_PEAKS, 3, seed=0, atac_depth=200.0)
    gc = np.random.default_rng(1).beta(5, 5, N_PEAKS)
    mdata["atac"].var["gc"] = gc
    return mdata["atac"]


@pytest.fixture(scope="module")
def matches(atac: ad.AnnData) -> pd.DataFrame:
    hits = np.random.default_rng(2).random((N_PEAKS, N_MOTIFS)) < [0.02, 0.1, 0.3, 0.5, 0.9]
    return pd.DataFrame(hits, atac.var_names, [f"M{i}" for i in range(N_MOTIFS)])


@pytest.fixture(scope="module")
def activity(atac: ad.AnnData, matches: pd.DataFrame) -> ad.AnnData:
    return motifs.activity(atac, matches, n_background=7, seed=3, threads=2, progress="none")


def plain_deviations(
    x: np.ndarray, hits: np.ndarray, background: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """D and Z by the definition, for one cell, motif and background after the other."""
    share = x.sum(axis=0) / x.sum()
    d, z = np.zeros((len(x), hits.shape[1])), np.zeros((len(x), hits.shape[1]))
    for i, cell in enumerate(x):
        for m in range(hits.shape[1]):
            own = np.flatnonzero(hits[:, m])
            y = cell[own].sum() / (share[own].sum() * cell.sum()) - 1
            y_b = []
            for row in background:
                other = row[own]
                y_b.append(sum(cell[p] for p in other) / (sum(share[p] for p in other) * cell.sum()) - 1)
            d[i, m] = y - np.mean(y_b)
            z[i, m] = d[i, m] / np.std(y_b, ddof=1)
    return d, z


def test_every_entry_is_that_of_the_definition(
    atac: ad.AnnData, matches: pd.DataFrame, activity: ad.AnnData
) -> None:
    x = atac.X.toarray()
    background = MatchedPeaks.of(x.sum(axis=0), atac.var["gc"].to_numpy()).draw(7, 3)
    d, z = plain_deviations(x.astype(float), matches.to_numpy(), background)
    np.testing.assert_allclose(activity.layers["deviations"], d, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(activity.X, z, rtol=1e-3, atol=1e-4)
    assert list(activity.obs_names) == list(atac.obs_names)
    np.testing.assert_array_equal(activity.var["n_peaks"], matches.sum())


def test_result_hangs_on_the_seed_alone(
    atac: ad.AnnData, matches: pd.DataFrame, activity: ad.AnnData
) -> None:
    again = motifs.activity(atac, matches, n_background=7, seed=3, threads=1, progress="none")
    np.testing.assert_array_equal(again.X, activity.X)
    other = motifs.activity(atac, matches, n_background=7, seed=4, threads=1, progress="none")
    assert not np.allclose(other.X, activity.X)


def test_dense_blocks_give_what_sparse_ones_give(atac: ad.AnnData, matches: pd.DataFrame) -> None:
    x, hits = sp.csr_matrix(atac.X), sp.csr_matrix(matches.to_numpy().astype(np.float32))

    def in_blocks() -> Iterator[np.ndarray]:
        for start in range(0, N_CELLS, 40):
            yield x[start : start + 40].toarray()

    background = MatchedPeaks.of(np.asarray(x.sum(axis=0)).ravel(), None).draw(3, 0)
    whole = deviations(lambda: iter([x]), Totals.of(lambda: iter([x])), hits, background)
    parts = deviations(in_blocks, Totals.of(in_blocks), hits, background, n_threads=2)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_peaks_are_matched_by_coordinates_in_any_order(
    atac: ad.AnnData, matches: pd.DataFrame, activity: ad.AnnData
) -> None:
    names = [f"{c}_{s}_{e}" for c, s, e in atac.var[["chrom", "start", "end"]].itertuples(index=False)]
    shuffled = matches.set_axis(pd.Index(names)).sample(frac=1, random_state=0)
    again = motifs.activity(atac, shuffled, n_background=7, seed=3, progress="none")
    np.testing.assert_array_equal(again.X, activity.X)
    as_anndata = ad.AnnData(
        sp.csr_matrix(matches.to_numpy(float)), obs=atac.var, var=pd.DataFrame(index=matches.columns)
    )
    again = motifs.activity(atac, as_anndata, n_background=7, seed=3, progress="none")
    np.testing.assert_array_equal(again.X, activity.X)


def test_peaks_and_motifs_without_counts_do_not_count(atac: ad.AnnData, matches: pd.DataFrame) -> None:
    empty = atac.copy()
    empty.X = sp.csr_matrix(empty.X.multiply(np.arange(N_PEAKS) >= 50))
    only_there = matches.assign(nowhere=np.arange(N_PEAKS) < 50)
    with pytest.warns(UserWarning, match="1 of 6 motifs are in no peak with counts"):
        found = motifs.activity(empty, only_there, n_background=5, progress="none")
    assert np.isfinite(found.X).all()
    background = MatchedPeaks.of(np.asarray(empty.X.sum(axis=0)).ravel(), None).draw(5, 0)
    assert not np.isin(background[:, 50:], np.arange(50)).any()


# Background


def test_background_is_alike_in_gc_and_accessibility() -> None:
    rng = np.random.default_rng(0)
    gc = rng.beta(5, 5, 20_000)
    total = np.exp(rng.normal(3 + 4 * gc, 1.0)).round()
    drawn = MatchedPeaks.of(total, gc).draw(50, 0)
    there = total > 0
    for trait, near in ((gc, 0.03), (np.log10(np.maximum(total, 1)), 0.12)):
        assert np.abs(trait[drawn][:, there] - trait[there]).mean() < near < trait.std() / 3
    assert (drawn == np.arange(20_000)).mean() < 0.05


def test_bins_are_drawn_with_the_probability_of_a_normal_density() -> None:
    total, gc = np.repeat([10.0, 10.0, 1000.0], [50, 100, 50]), np.repeat([0.4, 0.42, 0.6], [50, 100, 50])
    matched = MatchedPeaks.of(total, gc)
    drawn = matched.draw(4000, 0)[:, 0]
    of_bin = np.bincount(matched.bin_of[drawn], minlength=len(matched.near)) / 4000
    np.testing.assert_allclose(of_bin, matched.near[matched.bin_of[0]], atol=0.03)
    assert (np.bincount(drawn, minlength=200)[matched.bin_of == matched.bin_of[0]] > 0).all()


def test_peaks_that_are_all_alike_are_background_of_each_other() -> None:
    for gc in (None, np.full(9, 0.5), np.full(9, np.nan)):
        drawn = MatchedPeaks.of(np.full(9, 4.0), gc).draw(200, 0)
        assert (np.sort(np.unique(drawn)) == np.arange(9)).all()


# Between groups


def test_difference_and_auroc_are_those_of_scipy(activity: ad.AnnData) -> None:
    table = motifs.differential(activity, "cell_type", "A1", "B1").loc[activity.var_names]
    one, two = (np.asarray(activity[activity.obs["cell_type"] == name].X, float) for name in ("A1", "B1"))
    np.testing.assert_allclose(table["difference"], one.mean(axis=0) - two.mean(axis=0))
    np.testing.assert_allclose(table["p_value"], ttest_ind(one, two, equal_var=False).pvalue)
    auroc = mannwhitneyu(one, two).statistic / (len(one) * len(two))
    np.testing.assert_allclose(table["auroc"], auroc)
    np.testing.assert_allclose(
        table["fdr"].sort_values(), np.sort(false_discovery_rate(table["p_value"].to_numpy()))
    )


def test_batches_are_weighted_by_their_precision(activity: ad.AnnData) -> None:
    table = motifs.differential(activity, "cell_type", "A1", batch_key="batch").loc[activity.var_names]
    weights, parts = [], []
    for batch in activity.obs["batch"].cat.categories:
        own = activity[activity.obs["batch"] == batch]
        one, two = (
            np.asarray(own[mask].X, float)
            for mask in (own.obs["cell_type"] == "A1", own.obs["cell_type"] != "A1")
        )
        parts.append(one.mean(axis=0) - two.mean(axis=0))
        weights.append(1 / (one.var(axis=0, ddof=1) / len(one) + two.var(axis=0, ddof=1) / len(two)))
    expected = np.average(parts, axis=0, weights=weights)
    np.testing.assert_allclose(table["difference"], expected, rtol=1e-6)
    assert table["p_value"].between(0, 1).all()


def test_type_one_error_is_as_stated_when_groups_differ_in_depth() -> None:
    mdata = sailerx.simulate(1200, 100, 3000, 1, seed=4, atac_depth=150.0, atac_batch=0.0, n_programs=0)
    rng = np.random.default_rng(0)
    atac = mdata["atac"]
    deep = np.diff(atac.X.indptr) > np.median(np.diff(atac.X.indptr))
    atac.obs["half"] = np.where(rng.random(1200) < np.where(deep, 0.8, 0.2), "deep", "shallow")
    hits = pd.DataFrame(rng.random((3000, 200)) < rng.uniform(0.01, 0.3, 200), atac.var_names).assign(gc=0.5)
    hits.columns = hits.columns.astype(str)
    activity = motifs.activity(atac, hits, n_background=25, progress="none")
    table = motifs.differential(activity, "half", "deep", "shallow")
    assert 0.01 < (table["p_value"] < 0.05).mean() < 0.09
    assert table["differential"].sum() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", "A1"), "'nothing' is none of"),
        (("cell_type", "Z"), "no cell of group 'Z'. It has: A1, A2, B1"),
        (("alone", "x"), "at least 2 cells, but 'x' has 1"),
        (("batch", "batch1", "batch2", "batch"), "share no batch"),
        (("cell_type", "A1", "B1", "nothing"), "`batch_key`"),
    ],
)
def test_groups_that_cannot_be_compared_are_refused(
    arguments: tuple[str, ...], message: str, activity: ad.AnnData
) -> None:
    activity = activity.copy()
    activity.obs["alone"] = np.where(np.arange(N_CELLS) == 0, "x", "y")
    group_by, group1, *rest = arguments
    with pytest.raises(InputError, match=message):
        motifs.differential(activity, group_by, group1, *rest[:1], batch_key=(rest[1:] or [None])[0])


def test_imputed_activity_has_no_p_values(activity: ad.AnnData) -> None:
    imputed = activity.copy()
    imputed.uns["sailerx"]["motifs"] = '{"imputed": true}'
    table = motifs.differential(imputed, "cell_type", "A1", "B1")
    assert table["p_value"].isna().all()
    assert not table["differential"].any()
    assert (table["auroc"] - 0.5).abs().is_monotonic_decreasing


# Sets of peaks


def test_enrichment_within_one_stratum_is_fishers(matches: pd.DataFrame) -> None:
    chosen = np.arange(N_PEAKS) % 9 == 0
    observed, mean, variance = _null(sp.csr_matrix(matches.to_numpy(float)), chosen, np.zeros(N_PEAKS, int))
    p = upper_tail(observed, mean, variance)
    for i, name in enumerate(matches):
        own = matches[name].to_numpy()
        exact = hypergeom(N_PEAKS, own.sum(), chosen.sum())
        assert mean[i] == pytest.approx(exact.mean())
        assert variance[i] == pytest.approx(exact.var())
        square = [
            [(own & chosen).sum(), (~own & chosen).sum()],
            [(own & ~chosen).sum(), (~own & ~chosen).sum()],
        ]
        assert p[i] == pytest.approx(fisher_exact(square, "greater").pvalue, rel=0.05)


def test_enrichment_finds_what_is_planted_and_no_gc(atac: ad.AnnData) -> None:
    rng = np.random.default_rng(0)
    gc = atac.var["gc"].to_numpy()
    chosen = rng.random(N_PEAKS) < np.where(gc > 0.5, 0.3, 0.05)
    hits = pd.DataFrame(rng.random((N_PEAKS, 400)) < 0.7 * gc[:, None] ** 2, atac.var_names)
    hits.columns = hits.columns.astype(str)
    hits["planted"] = rng.random(N_PEAKS) < np.where(chosen, 0.4, 0.15)
    table = motifs.enrichment(atac, hits, chosen)
    assert list(table.index[table["enriched"]]) == ["planted"]
    assert table.loc["planted", "fold"] == pytest.approx(0.4 / 0.2, rel=0.3)
    assert 0.02 < (table.drop("planted")["p_value"] < 0.05).mean() < 0.08
    blind = motifs.enrichment(atac[:, :].copy(), hits.assign(gc=0.5), atac.var_names[chosen])
    assert (blind["p_value"] < 0.05).mean() > 0.3  # GC alone makes motifs look enriched


@pytest.mark.parametrize(
    ("peaks", "message"),
    [
        (["chr1:1-2"], "1 of 1 are unknown"),
        ([], "are none"),
        (np.ones(N_PEAKS, bool), "are all"),
        (np.ones(3, bool), "got 3"),
    ],
)
def test_sets_that_cannot_be_tested_are_refused(
    peaks: list[str], message: str, atac: ad.AnnData, matches: pd.DataFrame
) -> None:
    with pytest.raises(InputError, match=message):
        motifs.enrichment(atac, matches, peaks)


# Bad input


def test_bad_input_of_activity_is_told(atac: ad.AnnData, matches: pd.DataFrame) -> None:
    def refused(message: str, atac: ad.AnnData = atac, matches: object = matches, **options: object) -> None:
        with pytest.raises(InputError, match=message):
            motifs.activity(atac, matches, progress="none", **options)  # type: ignore[arg-type]

    refused("lacks 1 of 1,100, first 'chr1", matches=matches[1:])
    refused("zero everywhere", matches=matches * 0)
    refused("must be AnnData or a data frame", matches=matches.to_numpy())
    refused("at least 2, got 1", n_background=1)
    refused("threads", threads=0)
    halved = atac.copy()
    halved.X = halved.X * 0.5
    refused("not whole numbers", atac=halved)
    empty = atac.copy()
    empty.X = sp.csr_matrix(empty.X.multiply(np.arange(N_CELLS)[:, None] != 4))
    refused("1 of 150 have none, the first is cell 5", atac=empty)


def test_without_gc_a_warning_says_so(atac: ad.AnnData, matches: pd.DataFrame) -> None:
    without = ad.AnnData(atac.X, obs=atac.obs, var=atac.var[["chrom", "start", "end"]])
    with pytest.warns(UserWarning, match="matched on accessibility alone"):
        motifs.activity(without, matches, n_background=3, progress="none")


# Known truth


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[MuData, ad.AnnData]:
    """Simulated data with a genome, and peaks × motifs: those planted and a hundred others."""
    genome = tmp_path_factory.mktemp("genome") / "genome.fa"
    mdata = sailerx.simulate(800, 200, 6000, 4, seed=0, genome=genome, atac_depth=300.0)
    of_types = list(mdata["atac"].uns["truth"]["motif"])
    known = motifs.jaspar()
    chosen = [m for i, m in enumerate(known) if m.id in of_types or i % 9 == 0]
    return mdata, motifs.scan(mdata, genome, chosen, progress="none", cache=False)


def test_planted_motifs_are_the_most_active_of_their_types(planted: tuple[MuData, ad.AnnData]) -> None:
    mdata, matches = planted
    activity = motifs.activity(mdata, matches, progress="none")
    for kind, own in zip(
        mdata.obs["cell_type"].cat.categories, mdata["atac"].uns["truth"]["motif"], strict=True
    ):
        table = motifs.differential(activity, "cell_type", kind).sort_values("difference", ascending=False)
        assert list(table.index).index(own) < 3
        assert table.loc[own, "auroc"] > 0.75
        assert table.loc[own, "differential"]


def test_planted_motifs_are_enriched_in_the_peaks_that_got_them(planted: tuple[MuData, ad.AnnData]) -> None:
    mdata, matches = planted
    truth = mdata["atac"].uns["truth"]
    for own, peaks in zip(truth["motif"], truth["motif_planted"], strict=True):
        assert matches[peaks.astype(bool), own].X.mean() > 0.4
        table = motifs.enrichment(mdata["atac"], matches, peaks.astype(bool))
        assert table.index[0] == own


def test_a_coin_within_a_type_has_the_stated_error_rate(planted: tuple[MuData, ad.AnnData]) -> None:
    mdata, matches = planted
    activity = motifs.activity(mdata, matches, progress="none")
    activity.obs["coin"] = np.random.default_rng(0).choice(["x", "y"], activity.n_obs)
    tables = [
        motifs.differential(activity[activity.obs["cell_type"] == kind], "coin", "x", batch_key="batch")
        for kind in ("A1", "A2", "B1")
    ]
    assert 0.02 < (pd.concat(tables)["p_value"] < 0.05).mean() < 0.08
    assert sum(table["differential"].sum() for table in tables) <= 1


def test_gc_bias_of_a_batch_is_corrected(planted: tuple[MuData, ad.AnnData]) -> None:
    mdata, matches = planted
    gc_of_motif = np.asarray((matches.obs["gc"].to_numpy() @ matches.X) / matches.X.sum(axis=0)).ravel()

    def dependence(gc: np.ndarray) -> float:
        told = motifs.activity(
            mdata, ad.AnnData(matches.X, matches.obs.assign(gc=gc), matches.var), progress="none"
        )
        table = motifs.differential(told, "batch", "batch1").loc[matches.var_names]
        return float(np.polyfit(gc_of_motif, table["difference"], 1)[0])

    assert abs(dependence(matches.obs["gc"].to_numpy())) < 0.3 * abs(dependence(np.full(6000, 0.5)))


def test_false_discovery_rate_is_the_least_share_of_false_calls_at_which_a_test_is_called() -> None:
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.5, 0.03])
    tested = p[~np.isnan(p)]
    expected = [
        min(min(t * len(tested) / (tested <= t).sum() for t in tested if t >= own), 1.0) for own in tested
    ]
    found = false_discovery_rate(p)
    np.testing.assert_allclose(found[~np.isnan(p)], expected)
    assert np.isnan(found[1])
    assert np.isnan(false_discovery_rate(np.full(3, np.nan))).all()
