"""Motifs in peaks: sets of motifs, genomes, and the scan, each against a plain route."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import sailerx
from data import together
from sailerx import InputError, motifs
from sailerx.motifs import Motif
from sailerx.regulators.genome import gc_content, peak_sequences
from sailerx.regulators.scores import base_shares, log_odds, threshold

RNG = np.random.default_rng(0)
SHARES = np.array([0.3, 0.2, 0.2, 0.3])
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def random_motif(length: int, name: str = "M1", seed: int = 0) -> Motif:
    return Motif(name, name.lower(), np.random.default_rng(seed).multinomial(50, [0.7, 0.1, 0.1, 0.1], length).T[
        np.random.default_rng(seed + 1).permutation(4)
    ].astype(float))  # fmt: skip


def random_sequence(n: int, letters: str = "ACGT", seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list(letters), n))


def table(rows: list[tuple[str, int, int]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["chrom", "start", "end"])
    return frame.set_index(pd.Index([f"{c}:{s}-{e}" for c, s, e in rows], dtype=object))


GENOME = {"chr1": random_sequence(900, "ACGTN"), "chr2": random_sequence(700, seed=1)}
PEAKS = table(
    [("chr1", 0, 300), ("chr1", 300, 420), ("chr1", 500, 900), ("chr2", 100, 130), ("chr2", 130, 700)]
)


# Sets of motifs


def test_jaspar_has_the_groups_by_name() -> None:
    found = {taxon: motifs.jaspar(taxon) for taxon in ("vertebrates", "insects", "plants", "fungi")}
    assert {taxon: len(of_taxon) for taxon, of_taxon in found.items()} == {
        "vertebrates": 879, "insects": 286, "plants": 805, "fungi": 178
    }  # fmt: skip
    mef2c = next(motif for motif in found["vertebrates"] if motif.name == "MEF2C")
    assert mef2c.id.startswith("MA0497.")
    assert mef2c.counts.shape == (4, len(mef2c))
    assert len(motifs.jaspar(["insects", "fungi"])) == 286 + 178


@pytest.mark.parametrize(("arguments", "message"), [(("mice",), "vertebrates"), ((), "nothing")])
def test_an_unknown_group_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        motifs.jaspar(list(arguments))
    with pytest.raises(InputError, match="JASPAR2024"):
        motifs.jaspar(release="JASPAR1999")


def test_files_in_either_format_hold_the_same_motif(tmp_path: Path) -> None:
    counts = random_motif(7).counts
    rows = "\n".join(
        f"{b} [ {' '.join(f'{x:g}' for x in row)} ]" for b, row in zip("ACGT", counts, strict=True)
    )
    bare = "\n".join(" ".join(f"{x:g}" for x in row) for row in counts)
    (tmp_path / "one.jaspar").write_text(f">MA1.1 FOX\n{rows}\n\n>MA2.1\n{bare}\n")
    shares = "\n".join(" ".join(f"{x:.8f}" for x in column / column.sum()) for column in counts.T)
    head = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF MA1.1 FOX\nletter-probability matrix: alength= 4 w= 7 nsites= 50 E= 0\n"
    meme = f"{head}{shares}\n"
    (tmp_path / "two.meme").write_text(meme)
    one, two = motifs.read(tmp_path / "one.jaspar"), motifs.read(tmp_path / "two.meme")
    assert [(m.id, m.name) for m in (*one, *two)] == [("MA1.1", "FOX"), ("MA2.1", "MA2.1"), ("MA1.1", "FOX")]
    for motif in (*one, *two):
        np.testing.assert_allclose(motif.counts, counts, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("XX\nID  M1\n", "JASPAR's format .* 'XX'"),
        ("", "begins with ''"),
        (">M1 a\nA [1 2]\nC [1 2]\nG [1 2]\n", "4 rows .* found 3"),
        (">M1 a\n1 2\n1 2\n1 2\n1\n", "of lengths 2, 2, 2, 1"),
        (">M1 a\n1 x\n1 2\n1 2\n1 2\n", "must be numbers, found '1 x'"),
        (">M1 a\n1 -2\n1 2\n1 2\n1 2\n", "not log-odds"),
        (">M1 a\n1\n1\n1\n1\n>M1 b\n1\n1\n1\n1\n", "unique, but 'M1'"),
        ("MEME version 5\n", "at least one motif"),
    ],
)
def test_another_motif_file_is_refused_with_what_was_found(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "motifs.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        motifs.read(tmp_path / "motifs.txt")
    with pytest.raises(InputError, match="must exist"):
        motifs.read(tmp_path / "none.txt")


# Genomes


def write_fasta(path: Path) -> Path:
    text = "".join(
        f">{name} described\n" + "\n".join(s[i : i + 60].lower() for i in range(0, len(s), 60)) + "\n"
        for name, s in GENOME.items()
    )
    if path.suffix == ".gz":
        from Bio.bgzf import BgzfWriter

        with BgzfWriter(str(path)) as file:
            file.write(text.encode())
    else:
        path.write_text(text)
    return path


def write_two_bit(path: Path) -> Path:
    """A 2bit file by the format's definition: magic, index, then packed bases (T C A G = 0 to 3) and blocks of N."""
    head = np.array([0x1A412743, 0, len(GENOME), 0], "<u4").tobytes()
    bodies, offset = [], len(head) + sum(5 + len(name) for name in GENOME)
    index = b""
    for name, sequence in GENOME.items():
        unknown = [i for i, base in enumerate(sequence) if base == "N"]
        code = ["TCAG".index(base) if base in "TCAG" else 0 for base in sequence] + [0] * (-len(sequence) % 4)
        packed = bytes(64 * a + 16 * b + 4 * c + d for a, b, c, d in np.reshape(code, (-1, 4)).tolist())
        numbers = [len(sequence), len(unknown), *unknown, *[1] * len(unknown), 0, 0]
        bodies.append(np.array(numbers, "<u4").tobytes() + packed)
        index += bytes([len(name)]) + name.encode() + np.array([offset], "<u4").tobytes()
        offset += len(bodies[-1])
    path.write_bytes(head + index + b"".join(bodies))
    return path


def test_every_kind_of_genome_gives_the_same_sequences(tmp_path: Path) -> None:
    expected = [GENOME[c][s:e] for c, s, e in PEAKS.itertuples(index=False)]
    files = [
        write_fasta(tmp_path / "g.fa"),
        write_fasta(tmp_path / "g.fa.gz"),
        write_two_bit(tmp_path / "g.2bit"),
    ]
    for genome in (GENOME, *files):
        assert peak_sequences(PEAKS, genome) == expected


def test_contigs_and_ends_must_fit_and_names_are_compared(tmp_path: Path) -> None:
    ensembl = {name.removeprefix("chr"): s for name, s in GENOME.items()}
    with pytest.raises(
        InputError, match=r"lacks 2 of 2 \(chr1, chr2\).*it has 1, 2.*prefix 'chr' \('chr1' and '1'\)"
    ):
        peak_sequences(PEAKS, ensembl)
    with pytest.raises(InputError, match=r"lacks 1 of 2 \(chr2\), on which 2 of 5 peaks.*called on"):
        peak_sequences(PEAKS, {"chr1": GENOME["chr1"]})
    with pytest.raises(
        InputError, match=r"1 of 5 do not, first chr2:130-700, where the genome's chr2 has 600 bases"
    ):
        peak_sequences(PEAKS, GENOME | {"chr2": GENOME["chr2"][:600]})
    with pytest.raises(InputError, match="no such file"):
        peak_sequences(PEAKS, tmp_path / "none.fa")
    (tmp_path / "plain.fa.gz").write_bytes(gzip.compress(b">chr1\nACGT\n"))
    with pytest.raises(InputError, match="bgzip"):
        peak_sequences(PEAKS, tmp_path / "plain.fa.gz")
    (tmp_path / "not.2bit").write_bytes(b"text")
    with pytest.raises(InputError, match="2bit file"):
        peak_sequences(PEAKS, tmp_path / "not.2bit")


def test_gc_content_is_of_known_bases() -> None:
    np.testing.assert_array_equal(gc_content(["GCAT", "GGNN", "NN"]), [0.5, 1.0, np.nan])


# Thresholds and scan


@pytest.mark.parametrize("p_value", [0.5, 1e-2, 1e-3, 1e-5])
def test_threshold_is_the_lowest_score_of_at_most_that_probability(p_value: float) -> None:
    for length in (1, 4, 7):
        scores = log_odds(random_motif(length, seed=length), SHARES)
        words = np.array(list(itertools.product(range(4), repeat=length)))
        reached, p = scores[words, np.arange(length)].sum(axis=1), SHARES[words].prod(axis=1)
        tail = {score: p[reached >= score].sum() for score in np.unique(reached)}
        found = threshold(scores, SHARES, p_value)
        above = [score for score, chance in tail.items() if chance <= p_value * (1 + 1e-9)]
        if above:
            assert p[reached >= found].sum() == pytest.approx(tail[min(above)])
        else:
            assert found == reached.max()


def plain_scan(sequence: str, motif: Motif, shares: np.ndarray, p_value: float) -> bool:
    """Whether a word of either strand reaches the threshold, word by word."""
    scores, length = log_odds(motif, shares), len(motif)
    lowest = threshold(scores, shares, p_value)
    for strand in (sequence, sequence.translate(COMPLEMENT)[::-1]):
        for start in range(len(strand) - length + 1):
            word = strand[start : start + length]
            if (
                set(word) <= set("ACGT")
                and sum(scores["ACGT".index(b), i] for i, b in enumerate(word)) >= lowest
            ):
                return True
    return False


def test_scan_finds_what_a_plain_search_of_each_word_finds() -> None:
    asked = [random_motif(length, f"M{length}", length) for length in (4, 6, 9, 14, 31)]
    asked.append(Motif("long", "long", np.tile([[9.0], [1], [1], [1]], 35)))  # longer than a peak
    sequences = peak_sequences(PEAKS, GENOME)
    shares = base_shares(sequences)
    for p_value in (1e-2, 1e-3, 1e-4):
        expected = [[plain_scan(s, m, shares, p_value) for m in asked] for s in sequences]
        kept = np.any(expected, axis=0)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = motifs.scan(PEAKS, GENOME, asked, p_value=p_value, progress="none", threads=2)
        assert ["have no hit" in str(one.message) for one in told] == [True] * (not kept.all())
        np.testing.assert_array_equal(found.X.toarray(), np.array(expected)[:, kept])
        assert list(found.var_names) == [m.id for m, k in zip(asked, kept, strict=True) if k]
    np.testing.assert_allclose(found.obs["gc"], gc_content(sequences))
    assert 0 < found.X.nnz < found.X.shape[0] * found.X.shape[1]


def test_scan_is_kept_beside_the_genome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genome, asked = write_fasta(tmp_path / "g.fa"), [random_motif(5)]
    first = motifs.scan(PEAKS, genome, asked, p_value=0.01, progress="none")
    with monkeypatch.context() as patch:
        patch.setattr("sailerx.regulators.scan._hits", None)
        again = motifs.scan(PEAKS, genome, asked, p_value=0.01, progress="none")
    np.testing.assert_array_equal(first.X.toarray(), again.X.toarray())
    pd.testing.assert_frame_equal(first.obs, again.obs)
    assert len(list((tmp_path / "g.fa.sailerx").iterdir())) == 1
    motifs.scan(PEAKS[:3], genome, asked, p_value=0.01, progress="none")
    assert len(list((tmp_path / "g.fa.sailerx").iterdir())) == 2
    motifs.scan(PEAKS[:2], genome, asked, p_value=0.01, progress="none", cache=False)
    assert len(list((tmp_path / "g.fa.sailerx").iterdir())) == 2


def test_bad_input_of_a_scan_is_told() -> None:
    with pytest.raises(InputError, match="none of 1 motifs has a hit in 1 peaks"):
        motifs.scan(table([("n", 0, 50)]), {"n": "N" * 50}, [random_motif(5)], progress="none")
    with pytest.raises(InputError, match="coordinates"):
        motifs.scan(pd.DataFrame(index=["a", "b"]), GENOME, [random_motif(5)])
    with pytest.raises(InputError, match="`p_value`"):
        motifs.scan(PEAKS, GENOME, [random_motif(5)], p_value=0.0)
    with pytest.raises(InputError, match="at least one motif"):
        motifs.scan(PEAKS, GENOME, [])
    with pytest.raises(InputError, match="coordinates"):
        motifs.scan(sailerx.simulate(60, 100, 90, 3)["rna"], GENOME, [random_motif(5)])
    with pytest.raises(InputError, match="modality 'atac'"):
        motifs.scan(together(rna=sailerx.simulate(60, 100, 90, 3)["rna"]), GENOME, [random_motif(5)])


def test_a_missing_package_is_told_with_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['lightmotif'] = None\n"
        "import numpy as np, pandas as pd, sailerx\n"
        "peaks = pd.DataFrame({'chrom': ['a'], 'start': [0], 'end': [9]})\n"
        "sailerx.motifs.scan(peaks, {'a': 'ACGTACGTA'}, [sailerx.motifs.Motif('m', 'm', np.ones((4, 3)))])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'sailerx[motifs]'" in answer.stderr


def test_matches_are_a_file_like_any_other(tmp_path: Path) -> None:
    found = motifs.scan(PEAKS, GENOME, [random_motif(5)], p_value=0.01, progress="none")
    found.write_h5ad(tmp_path / "matches.h5ad")
    assert ad.read_h5ad(tmp_path / "matches.h5ad").shape == found.shape
