"""Coordinates of peaks from columns or names, and blocks by chromosome."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import named_peaks
from sailerx import InputError
from sailerx.data.peaks import blocks_by_chromosome, columns_in_order, peak_table, refuse_other_features

AWKWARD = [
    ("chr1-KI270706v1-random-100-149", "chr1-KI270706v1-random"),
    ("chr1_KI270706v1_random:100-149", "chr1_KI270706v1_random"),
    ("chr1_KI270706v1_random_100_149", "chr1_KI270706v1_random"),
    ("HLA-A*01:01:100-149", "HLA-A*01:01"),
    ("HLA-A*01:01-100-149", "HLA-A*01:01"),
    ("GL000205.2-100-149", "GL000205.2"),
    ("chrUn-JTFH01:100-149", "chrUn-JTFH01"),
    ("1:100-149", "1"),
    ("X_100_149", "X"),
]


@pytest.mark.parametrize(
    ("name", "start"),
    [("chr1:5-9", 5), ("chr1_5_9", 5), ("chr1:5_9", 5), ("chr1-5-9", 4), ("chr1-0-9", 0), ("chr1:5-9.1", 5)],
)
def test_each_form_of_name_is_understood_and_signacs_counts_from_one(name: str, start: int) -> None:
    table = peak_table(named_peaks([name]))
    assert table is not None
    assert list(table.index) == [name]
    assert table.iloc[0].to_dict() == {"chrom": "chr1", "start": start, "end": 9}


@pytest.mark.parametrize(("name", "chrom"), AWKWARD)
def test_awkward_contigs_are_parsed_from_the_right(name: str, chrom: str) -> None:
    table = peak_table(named_peaks([name]))
    assert table is not None
    start = 99 if name.endswith("-100-149") else 100
    assert table.iloc[0].to_dict() == {"chrom": chrom, "start": start, "end": 149}


@given(
    st.text("abcXYZ019:_-.*", min_size=1),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.sampled_from([":-", "--", "__"]),
)
def test_any_contig_name_survives_joining_and_parsing(
    chrom: str, start: int, end: int, separators: str
) -> None:
    table = peak_table(named_peaks([f"{chrom}{separators[0]}{start}{separators[1]}{end}"]))
    assert table is not None
    start = max(start - 1, 0) if separators == "--" else start
    assert table.iloc[0].to_dict() == {"chrom": chrom, "start": start, "end": end}


def test_forms_may_be_mixed_and_are_kept_in_order() -> None:
    table = peak_table(named_peaks(["chr2:1-2", "chr1-3-4", "chrX_5_6"]))
    assert table is not None
    assert table["chrom"].tolist() == ["chr2", "chr1", "chrX"]
    assert table["start"].tolist() == [1, 2, 5]
    assert table.dtypes[["start", "end"]].tolist() == [np.dtype("int64")] * 2


def test_columns_win_over_names() -> None:
    var = pd.DataFrame({"chrom": pd.Categorical(["chr7"]), "start": [1], "end": [3]}, index=["chr1:5-9"])
    table = peak_table(var)
    assert table is not None
    assert table.iloc[0].to_dict() == {"chrom": "chr7", "start": 1, "end": 3}


@pytest.mark.parametrize(
    "start",
    [
        ["1,000", "2,500,000"],
        [1000.0, 2.5e6],
        pd.Categorical(["1000", "2500000"]),
        np.array([1000, 2500000], "O"),
    ],
)
def test_positions_are_read_whatever_their_type(start: object) -> None:
    var = pd.DataFrame(
        {"chrom": ["chr1", "chr2"], "start": start, "end": [3_000_000, "3,000,000"]}, index=["a", "b"]
    )
    table = peak_table(var)
    assert table is not None
    assert table["start"].tolist() == [1000, 2500000]
    assert table["end"].tolist() == [3000000, 3000000]


def test_thousands_separators_in_names_are_no_part_of_the_numbers() -> None:
    table = peak_table(named_peaks(["chr1:1,000-1,300"]))
    assert table is not None
    assert table.iloc[0].to_dict() == {"chrom": "chr1", "start": 1000, "end": 1300}


@pytest.mark.parametrize("start", ["12a", "-5", "1.5", "99999999999999999999"])
def test_positions_that_are_no_whole_numbers_are_refused_with_the_peak(start: str) -> None:
    var = pd.DataFrame({"chrom": ["chr1"], "start": [start], "end": [9]}, index=["mine"])
    with pytest.raises(InputError, match=f"`start` .* whole number.*'{start}' of 'mine'"):
        peak_table(var)


def test_features_that_are_no_peaks_are_named_with_what_to_do() -> None:
    var = pd.DataFrame({"feature_types": ["Gene Expression", "Peaks"]}, index=["CD3E", "chr1:5-9"])
    with pytest.raises(
        InputError, match=r"'atac' must hold peaks alone.*1 of its 2.*'CD3E'.*feature_types'\] == 'Peaks'"
    ):
        refuse_other_features(var, "atac")
    refuse_other_features(var[1:], "atac")


TABLES = {
    "written by Signac": (["chr1-1000-1300", "chr2-7-9"], None, [0, 1]),
    "counted from one elsewhere": (["chr2:7-9", "chr1:1000-1300"], [6, 999], [1, 0]),
    "a contig rewritten by Seurat": (["chr-1:1000-1300", "chr2:7-9"], None, [-1, 1]),
    "other peaks": (["chr1:1001-1300", "chr3:7-9"], None, [-1, -1]),
}


@pytest.mark.parametrize("case", TABLES)
def test_peaks_of_one_name_are_the_same_where_coordinates_differ(case: str) -> None:
    names, start, expected = TABLES[case]
    known = peak_table(named_peaks(["chr1:1000-1300", "chr2:7-9"]))
    here = peak_table(named_peaks(names))
    assert known is not None
    assert here is not None
    here = here if start is None else here.assign(start=start)
    assert columns_in_order(here, known).tolist() == expected


def test_contigs_that_seurat_rewrote_are_known_by_name() -> None:
    known, here = peak_table(named_peaks(["NC_052532.1:5-9"])), peak_table(named_peaks(["NC-052532.1:5-9"]))
    assert known is not None
    assert here is not None
    assert columns_in_order(here, known).tolist() == [0]


def test_names_that_are_no_coordinates_do_not_overrule_coordinates() -> None:
    tables = [
        pd.DataFrame({"chrom": "chr1", "start": [start], "end": [start + 5]}, index=["peak1"])
        for start in (5, 50)
    ]
    assert columns_in_order(*tables).tolist() == [-1]


def test_peaks_that_occur_twice_are_told_apart_by_name() -> None:
    twice = pd.DataFrame({"chrom": "chr1", "start": [5, 5], "end": [9, 9]}, index=["chr1:5-9", "chr1:5-9.1"])
    assert columns_in_order(twice[::-1], twice).tolist() == [1, 0]


def test_names_without_coordinates_have_no_table() -> None:
    assert peak_table(named_peaks(["peak1", "peak2", "chr1:100"])) is None


def test_some_names_without_coordinates_are_refused_with_the_forms() -> None:
    with pytest.raises(InputError, match=r"1 of 3 are not, first 'promoter'.*chr1:5-9, chr1-5-9 or chr1_5_9"):
        peak_table(named_peaks(["chr1:5-9", "promoter", "chr1:7-9"]))


def test_missing_coordinates_are_refused_with_the_peak() -> None:
    var = pd.DataFrame({"chrom": ["chr1", None], "start": [1, 2], "end": [3, 4]}, index=["a", "b"])
    with pytest.raises(InputError, match=r"1 of 2 have a missing value, first 'b'"):
        peak_table(var)


def test_blocks_are_contiguous_whatever_the_order_of_the_peaks() -> None:
    chrom = np.array(["chr2", "chr1", "chr2", "chr1", "chr1"], dtype=object)
    order, blocks = blocks_by_chromosome(chrom, 0)
    assert blocks == ((0, 3), (3, 5))
    assert order.tolist() == [1, 3, 4, 0, 2]


def test_small_contigs_share_the_last_block() -> None:
    chrom = np.array(["chr1"] * 3 + ["alt1"] + ["chr2"] * 3 + ["alt2"] * 2, dtype=object)
    order, blocks = blocks_by_chromosome(chrom, 3)
    assert blocks == ((0, 3), (3, 6), (6, 9))
    assert chrom[order].tolist() == ["chr1"] * 3 + ["chr2"] * 3 + ["alt1", "alt2", "alt2"]


def test_only_small_contigs_make_one_block() -> None:
    _, blocks = blocks_by_chromosome(np.array(["a", "b", "c"], dtype=object), 20)
    assert blocks == ((0, 3),)


@given(st.lists(st.sampled_from(["chr1", "chr2", "alt1", "alt2"]), min_size=1), st.integers(0, 5))
def test_blocks_cover_every_peak_once_and_never_split_a_chromosome(chrom: list[str], min_peaks: int) -> None:
    order, blocks = blocks_by_chromosome(np.array(chrom, dtype=object), min_peaks)
    assert sorted(order) == list(range(len(chrom)))
    assert [a for a, _ in blocks] + [len(chrom)] == [0] + [b for _, b in blocks]
    inside = [{chrom[i] for i in order[a:b]} for a, b in blocks]
    assert sum(len(names) for names in inside) == len(set(chrom))
    assert all(len(names) == 1 for names in inside[:-1])
