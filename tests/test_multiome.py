"""From MuData to Multiome: sources of x, g, w and c, alignment by barcode, refused input."""

from __future__ import annotations

from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from data import dense, multiome, paired, tiny_settings, together, unit_rows, with_atac, with_part
from sailerx import InputError
from sailerx.data.alignment_weights import alignment_weights
from sailerx.data.rna_pca import rna_pca


@pytest.fixture
def mdata() -> mudata.MuData:
    """60 cells, with an embedding of the RNA that is not its PCA."""
    mdata = paired()
    mdata["rna"].obsm["X_given"] = np.random.default_rng(0).normal(size=(60, 7)) + 1
    return mdata


def with_column(mdata: mudata.MuData, name: str, values: Any, modality: str = "atac") -> mudata.MuData:
    part = mdata[modality].copy()
    part.obs[name] = values
    return with_part(mdata, **{modality: part})


# What is taken


def test_columns_of_x_are_sorted_by_block(mdata: mudata.MuData) -> None:
    data, a = multiome(mdata), mdata["atac"]
    expected = (a[:, data.peaks.index].X > 0).toarray()
    np.testing.assert_array_equal(dense(data.x), expected)
    assert data.barcodes.equals(a.obs_names)
    assert [set(data.peaks["chrom"].iloc[a:b]) for a, b in data.blocks] == [{"chr1"}, {"chr2"}, {"chr3"}]


def test_peaks_in_any_order_give_the_same_blocks(mdata: mudata.MuData) -> None:
    order = np.random.default_rng(0).permutation(90)
    data, shuffled = multiome(mdata), multiome(with_part(mdata, atac=mdata["atac"][:, order].copy()))
    assert data.blocks == shuffled.blocks
    columns = data.peaks.index.get_indexer(shuffled.peaks.index)
    np.testing.assert_array_equal(dense(data.x)[:, columns], dense(shuffled.x))


def test_one_block_needs_no_coordinates(mdata: mudata.MuData) -> None:
    a = mdata["atac"]
    named = ad.AnnData(a.X, a.obs, pd.DataFrame(index=[f"peak{i}" for i in range(90)]))
    data = multiome(with_part(mdata, atac=named), settings=tiny_settings(single_block=True))
    assert data.blocks == ((0, 90),)
    assert list(data.peaks.columns) == []
    with pytest.raises(
        InputError, match=r"'peak0' are not understood.*chr1:5-9, chr1-5-9 or chr1_5_9.*single_block"
    ):
        multiome(with_part(mdata, atac=named))


def test_cells_in_another_order_are_aligned_by_name(mdata: mudata.MuData) -> None:
    order = np.random.default_rng(1).permutation(60)
    plain = multiome(mdata, rna_embedding="X_given", batch_key=["batch"])
    shuffled = multiome(
        with_part(mdata, rna=mdata["rna"][order].copy()), rna_embedding="X_given", batch_key=["batch"]
    )
    for part in ("g", "w", "c"):
        np.testing.assert_array_equal(getattr(plain, part), getattr(shuffled, part))


def test_named_embedding_is_the_reference_at_unit_length(mdata: mudata.MuData) -> None:
    data = multiome(mdata, rna_embedding="X_given", settings=tiny_settings())
    given = mdata["rna"].obsm["X_given"]
    np.testing.assert_allclose(data.g, given / np.linalg.norm(given, axis=1, keepdims=True), rtol=1e-5)
    assert data.source == "obsm 'X_given'"


def test_pca_of_counts_is_the_reference_where_none_is_named(mdata: mudata.MuData) -> None:
    data = multiome(mdata, settings=tiny_settings(reference_rank=0))
    assert data.g.shape == (60, 50)
    assert unit_rows(data.g)
    assert data.source == "PCA of X"


def test_named_reference_is_reduced_to_its_leading_dimensions(mdata: mudata.MuData) -> None:
    rna = mdata["rna"].copy()
    rna.obsm["X_given"] = rna_pca(sp.csr_matrix(rna.X))
    given = with_part(mdata, rna=rna)
    first = multiome(given, rna_embedding="X_given", settings=tiny_settings(reference_rank=2)).g
    assert first.shape == (60, 2)
    expected = normalize(rna.obsm["X_given"][:, :2])
    np.testing.assert_allclose(first @ first.T, expected @ expected.T, atol=1e-4)


def test_rna_counts_come_from_the_named_layer(mdata: mudata.MuData) -> None:
    rna = mdata["rna"].copy()
    rna.layers["raw"] = rna.X
    rna.X = sp.csr_matrix(np.log1p(rna.X.toarray()))
    named = multiome(with_part(mdata, rna=rna), rna_layer="raw")
    np.testing.assert_array_equal(named.g, multiome(mdata).g)
    np.testing.assert_array_equal(named.w, multiome(mdata).w)
    assert named.source == "PCA of layer 'raw'"


def test_confounders_come_from_any_obs_by_barcode(mdata: mudata.MuData) -> None:
    mito = pd.Series(np.arange(60.0), index=mdata["rna"].obs_names)
    order = np.random.default_rng(2).permutation(60)
    changed = with_column(with_part(mdata, rna=mdata["rna"][order].copy()), "mito", mito, "rna")
    data = multiome(changed, batch_key=["batch"], continuous_key=["mito"])
    assert data.confounders.names[0] == "log_atac_depth"
    np.testing.assert_allclose(data.c[:, -1], (mito - mito.mean()) / mito.std(ddof=0), rtol=1e-5)
    one_hot = pd.get_dummies(mdata["atac"].obs["batch"].cat.remove_unused_categories()).to_numpy()
    np.testing.assert_array_equal(data.c[:, 1:-1], one_hot)


def test_first_confounder_is_standardised_log_number_of_open_peaks(mdata: mudata.MuData) -> None:
    depth = np.log((mdata["atac"].X > 0).sum(axis=1).A1)
    np.testing.assert_allclose(
        multiome(mdata).c[:, 0], (depth - depth.mean()) / depth.std(), rtol=1e-4, atol=1e-6
    )


# The alignment weight w


def test_weights_match_the_written_out_formula() -> None:
    rna, atac = np.array([100.0, 50.0, 400.0]), np.array([10.0, 20.0, 30.0])
    r = [np.log((a / 400) / (b / 30)) for a, b in zip(rna, atac, strict=True)]
    expected = [(value - min(r)) / (max(r) - min(r)) for value in r]
    np.testing.assert_allclose(alignment_weights(rna, atac), expected)


def test_shallow_atac_has_a_higher_weight() -> None:
    w = alignment_weights(np.full(5, 100.0), np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    assert (w[0], w[-1]) == (1, 0)
    assert (np.diff(w) < 0).all()


def test_clipping_frees_the_weights_from_two_outliers() -> None:
    rna = np.r_[1e-6, np.linspace(50, 200, 198), 1e9]
    plain, clipped = (alignment_weights(rna, np.full(200, 10.0), clip) for clip in (0.0, 0.02))
    assert np.ptp(plain[1:-1]) < 0.1
    assert np.ptp(clipped[1:-1]) == 1
    assert (clipped[0], clipped[-1]) == (0, 1)


def test_equal_depth_ratios_give_weight_one() -> None:
    np.testing.assert_array_equal(alignment_weights(np.array([2.0, 4.0]), np.array([1.0, 2.0])), [1, 1])


def test_paper_preset_weighs_by_the_two_extreme_cells(mdata: mudata.MuData) -> None:
    w = multiome(mdata, settings=tiny_settings("paper")).w
    rna, atac = mdata["rna"].X.sum(axis=1).A1, (mdata["atac"].X > 0).sum(axis=1).A1
    np.testing.assert_allclose(w, alignment_weights(rna, atac), rtol=1e-5)
    assert (w.min(), w.max()) == (0, 1)


def without_counts(mdata: mudata.MuData) -> ad.AnnData:
    given = {"X_given": mdata["rna"].obsm["X_given"]}
    return ad.AnnData(obs=pd.DataFrame(index=mdata["rna"].obs_names), obsm=given)


@pytest.mark.parametrize("column", ["nCount_RNA", "total_counts"])
def test_depth_column_stands_in_for_counts(mdata: mudata.MuData, column: str) -> None:
    rna = without_counts(mdata)
    rna.obs[column] = mdata["rna"].X.sum(axis=1).A1
    data = multiome(with_part(mdata, rna=rna), rna_embedding="X_given")
    np.testing.assert_allclose(data.w, multiome(mdata).w, rtol=1e-5)


def test_depth_column_of_the_global_obs_stands_in_for_counts(mdata: mudata.MuData) -> None:
    changed = with_part(mdata, rna=without_counts(mdata))
    changed.obs["nCount_RNA"] = pd.Series(mdata["rna"].X.sum(axis=1).A1, mdata["rna"].obs_names)
    np.testing.assert_allclose(multiome(changed, rna_embedding="X_given").w, multiome(mdata).w, rtol=1e-5)


def test_depths_are_kept_with_the_cells_and_missing_without_rna(mdata: mudata.MuData) -> None:
    with pytest.warns(UserWarning, match="are trained without alignment"):
        found = multiome(with_part(mdata, rna=mdata["rna"][10:].copy()))
    np.testing.assert_array_equal(found.depth, (mdata["atac"].X > 0).sum(axis=1).A1)
    assert np.isnan(found.rna_depth[:10]).all()
    np.testing.assert_array_equal(found.rna_depth[10:], mdata["rna"][10:].X.sum(axis=1).A1)


def test_no_rna_depth_at_all_warns_and_weighs_one(mdata: mudata.MuData) -> None:
    with pytest.warns(UserWarning, match="no RNA counts and no depth column .*all alignment weights w are 1"):
        data = multiome(with_part(mdata, rna=without_counts(mdata)), rna_embedding="X_given")
    assert (data.w == 1).all()


# Modalities with different cells


def test_cells_without_rna_are_kept_without_alignment(mdata: mudata.MuData) -> None:
    with pytest.warns(
        UserWarning, match="20 of 60 cells of 'atac' have no 'rna'; they are trained without alignment"
    ):
        data = multiome(with_part(mdata, rna=mdata["rna"][:40].copy()))
    assert data.n_cells == 60
    assert data.has_rna.sum() == 40
    assert (data.w[~data.has_rna] == 0).all()
    assert (data.g[~data.has_rna] == 0).all()
    assert any("paired" in name for name in data.confounders.names)


def test_cells_without_atac_are_not_used(mdata: mudata.MuData) -> None:
    with pytest.warns(UserWarning, match="20 of 60 cells of 'rna' have no 'atac' and are not used"):
        data = multiome(with_part(mdata, atac=mdata["atac"][:40].copy()))
    assert data.n_cells == 40
    assert data.has_rna.all()


def test_no_shared_barcode_is_refused_naming_one_of_each_modality(mdata: mudata.MuData) -> None:
    rna = mdata["rna"].copy()
    rna.obs_names = [f"{name}-rna" for name in rna.obs_names]
    with pytest.raises(InputError, match=r"must share barcodes, found none.*-rna.*Check for suffixes"):
        multiome(with_part(mdata, rna=rna))


# What is refused


@pytest.mark.parametrize("modality", ["rna", "atac"])
def test_missing_modality_is_refused_listing_the_present_ones(mdata: mudata.MuData, modality: str) -> None:
    with pytest.raises(InputError, match="must have a modality 'other'; it has: rna, atac. Name yours"):
        multiome(mdata, **{modality: "other"})


def test_other_objects_are_refused(mdata: mudata.MuData) -> None:
    with pytest.raises(InputError, match="must be a MuData object, got ndarray"):
        multiome(mdata["atac"].X.toarray())


def test_atac_alone_has_no_reference(mdata: mudata.MuData) -> None:
    data = multiome(mdata["atac"])
    assert data.reference is None
    assert data.source == "none, ATAC alone"
    assert not data.has_rna.any()
    np.testing.assert_array_equal(dense(data.x), dense(multiome(mdata).x))


def test_missing_embedding_is_refused_listing_the_present_ones(mdata: mudata.MuData) -> None:
    with pytest.raises(InputError, match=r"modality 'rna' has no obsm 'X_pca'. It has: X_given"):
        multiome(mdata, rna_embedding="X_pca")


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda g: np.ones_like(g), "all its rows are the same"),
        (lambda g: np.where(np.arange(60)[:, None] == 3, np.nan, g), "missing or infinite values"),
        (lambda g: np.where(np.arange(60)[:, None] == 3, 0, g), "rows of zeros"),
    ],
)
def test_unusable_embedding_is_refused(mdata: mudata.MuData, spoil: Any, found: str) -> None:
    mdata["rna"].obsm["X_given"] = spoil(mdata["rna"].obsm["X_given"])
    with pytest.raises(InputError, match=f"obsm 'X_given' .*{found}"):
        multiome(mdata, rna_embedding="X_given")


def test_missing_column_is_refused_listing_the_present_ones(mdata: mudata.MuData) -> None:
    with pytest.raises(InputError, match=r"no obs column 'donor'. There are: .*batch.*cell_type"):
        multiome(mdata, batch_key=["donor"])


def test_batch_column_with_na_is_refused(mdata: mudata.MuData) -> None:
    changed = with_column(mdata, "donor", pd.Categorical(["x", None, "y"] * 20))
    with pytest.raises(InputError, match="'donor' must have a value for every cell: 20 of 60 are missing"):
        multiome(changed, batch_key=["donor"])


def test_normalised_rna_without_embedding_is_refused(mdata: mudata.MuData) -> None:
    rna = mdata["rna"].copy()
    rna.X = sp.csr_matrix(np.log1p(rna.X.toarray()))
    with pytest.raises(
        InputError, match=r"'rna' holds values that are not whole.*there are: X_given.*`rna_layer`"
    ):
        multiome(with_part(mdata, rna=rna))


def test_rna_without_counts_is_refused(mdata: mudata.MuData) -> None:
    x = mdata["rna"].X.toarray()
    x[4] = 0
    rna = ad.AnnData(sp.csr_matrix(x), mdata["rna"].obs.copy(), mdata["rna"].var.copy())
    with pytest.raises(InputError, match=rf"1 of 60 have depth 0, first '{rna.obs_names[4]}'. Drop"):
        multiome(with_part(mdata, rna=rna))


@pytest.mark.filterwarnings("ignore:.*names are not unique:UserWarning")
def test_duplicated_rna_barcodes_are_refused(mdata: mudata.MuData) -> None:
    rna = mdata["rna"].copy()
    changed = together(rna=rna, atac=mdata["atac"])
    rna.obs_names = [rna.obs_names[0], *rna.obs_names[:-1]]
    with pytest.raises(InputError, match="barcodes of modality 'rna' must be unique: 1 occur again"):
        multiome(changed)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda x: x * 0.5, r"X of modality 'atac' holds values that are not whole numbers"),
        (lambda x: -x, "negative values"),
        (lambda x: np.where(np.arange(60)[:, None] == 3, np.nan, x), "missing or infinite values"),
        (lambda x: np.where(np.arange(60)[:, None] == 3, 0, x), "at least one open peak: 1 of 60 have none"),
    ],
)
def test_atac_that_is_no_counts_is_refused(mdata: mudata.MuData, spoil: Any, found: str) -> None:
    with pytest.raises(InputError, match=found):
        multiome(with_atac(mdata, spoil(mdata["atac"].X.toarray())))


def test_frequency_counts_the_cells_in_which_a_peak_is_open(mdata: mudata.MuData) -> None:
    data = multiome(mdata)
    expected = ((dense(data.x) > 0).sum(axis=0) + 0.5) / 61
    np.testing.assert_allclose(data.frequency, expected, rtol=1e-6)
