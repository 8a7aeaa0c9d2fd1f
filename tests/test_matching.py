"""Transfer of counts to other peaks, against a loop over all pairs of peaks."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sailerx
from data import paired
from sailerx import InputError, match_peaks


def peaks(rng: np.random.Generator, n: int) -> pd.DataFrame:
    start = rng.integers(0, 400, n)
    table = pd.DataFrame(
        {"chrom": rng.choice(["chr1", "chr2"], n), "start": start, "end": start + rng.integers(1, 80, n)}
    )
    return table.drop_duplicates().pipe(lambda t: t.set_axis([f"peak{i}" for i in range(len(t))]))


def accessibility(rng: np.random.Generator, table: pd.DataFrame, n_cells: int = 7) -> ad.AnnData:
    counts = rng.poisson(1.0, (n_cells, len(table))).astype(np.float32)
    return ad.AnnData(
        sp.csr_matrix(counts), var=table, obs=pd.DataFrame(index=[f"c{i}" for i in range(n_cells)])
    )


def by_brute_force(atac: ad.AnnData, reference: pd.DataFrame, min_overlap: int) -> np.ndarray:
    out, x = np.zeros((atac.n_obs, len(reference))), atac.X.toarray()
    for i, peak in enumerate(atac.var.itertuples()):
        shared = [
            min(peak.end, other.end) - max(peak.start, other.start) if peak.chrom == other.chrom else -1
            for other in reference.itertuples()
        ]
        if shared and max(shared) >= min_overlap:
            out[:, int(np.argmax(shared))] += x[:, i]
    return out


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 10]))
def test_each_peak_goes_to_the_peak_with_the_longest_overlap(
    seed: int, n: int, m: int, min_overlap: int
) -> None:
    rng = np.random.default_rng(seed)
    atac, reference = accessibility(rng, peaks(rng, n)), peaks(rng, m)
    expected = by_brute_force(atac, reference, min_overlap)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if not expected.any():
            return
        found = match_peaks(atac, reference, min_overlap=min_overlap)
    np.testing.assert_array_equal(found.X.toarray(), expected)
    report = found.uns["matched_peaks"]
    assert report["counts"] == atac.X.sum()
    assert report["counts_kept"] == expected.sum()
    assert report["cells_left_empty"] == ((expected.sum(1) == 0) & (atac.X.toarray().sum(1) > 0)).sum()


def test_result_has_the_references_peaks_and_the_cells_own_columns() -> None:
    mdata = paired()
    atac = mdata["atac"].copy()
    atac.var[["start", "end"]] += 3
    atac.var_names = [f"p{i}" for i in range(atac.n_vars)]
    found = match_peaks(atac, mdata)
    assert found.var_names.tolist() == mdata["atac"].var_names.tolist()
    pd.testing.assert_frame_equal(found.obs, atac.obs)
    np.testing.assert_array_equal(found.X.toarray(), mdata["atac"].X.toarray())
    assert (
        found.uns["matched_peaks"]["peaks_kept"]
        == found.uns["matched_peaks"]["reference_peaks_reached"]
        == 90
    )


def test_peaks_of_a_model_are_a_reference() -> None:
    mdata = paired()
    model = sailerx.fit(mdata, max_epochs=1, progress="none", n_hidden=4, n_chrom=2)
    found = match_peaks(mdata["atac"], model.peaks)
    assert found.var_names.tolist() == model.peaks.index.tolist()
    np.testing.assert_allclose(model.embed(found), model.embed(mdata["atac"]), atol=1e-5)


def test_loss_of_more_than_half_of_the_counts_warns() -> None:
    mdata = paired()
    with pytest.warns(
        UserWarning, match=r"\d+% of the counts are in peaks without counterpart and are lost; \d+"
    ):
        match_peaks(mdata["atac"], mdata["atac"].var.iloc[:5])


def test_other_names_of_chromosomes_are_refused() -> None:
    mdata = paired()
    other = mdata["atac"].var.assign(
        chrom=mdata["atac"].var["chrom"].astype(str).str.replace("chr", "scaffold")
    )
    other.index = other.index.str.replace("chr", "scaffold")
    with pytest.raises(
        InputError,
        match=r"no peak overlaps.*chr1, chr2, chr3, … and scaffold1, scaffold2, scaffold3, ….*name chromosomes alike",
    ):
        match_peaks(mdata["atac"], other)


def test_normalised_values_are_refused() -> None:
    atac = paired()["atac"].copy()
    atac.X = atac.X * 0.5
    with pytest.raises(InputError, match="must hold counts, but X holds values that are not whole"):
        match_peaks(atac, atac)


def test_peaks_without_coordinates_are_refused() -> None:
    atac = paired()["atac"].copy()
    atac.var = pd.DataFrame(index=[f"p{i}" for i in range(90)])
    with pytest.raises(InputError, match="peaks need coordinates, found names such as 'p0'"):
        match_peaks(atac, paired())
