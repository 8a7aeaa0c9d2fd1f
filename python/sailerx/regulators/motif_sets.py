"""Sets of motifs: from a release of JASPAR, or from a file in JASPAR's or MEME's format."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sailerx.errors import InputError
from sailerx.regulators.optional import required

#: order of the bases in a motif's matrix
BASES = "ACGT"
#: release that names fetch the same motifs from, whatever version of pyjaspar is installed
RELEASE = "JASPAR2024"
TAXA = ("vertebrates", "insects", "plants", "fungi", "nematodes", "urochordates")
#: sites that a MEME motif is taken to rest on if its file does not say; MEME's own tools assume as many
_SITES = 20.0


@dataclass(frozen=True, eq=False)
class Motif:
    """The binding motif of a transcription factor.

    Attributes
    ----------
    id
        Unique identifier, such as ``MA0497.1``.
    name
        Name of the factor, such as ``MEF2C``.
    counts
        Number of binding sites with each base at each position, 4 (A, C, G, T) × length.
    """

    id: str
    name: str
    counts: np.ndarray

    def __len__(self) -> int:
        return self.counts.shape[1]


def jaspar(taxon: str | Sequence[str] = "vertebrates", *, release: str = RELEASE) -> list[Motif]:
    """Fetch the core motifs of a taxonomic group from JASPAR; the matrices come with pyjaspar, nothing is downloaded.

    Parameters
    ----------
    taxon
        One or several of ``vertebrates``, ``insects``, ``plants``, ``fungi``, ``nematodes`` and ``urochordates``.
    release
        Release of JASPAR, such as ``JASPAR2024``.

    Returns
    -------
    The latest version of each motif, ordered by identifier.

    Raises
    ------
    InputError
        For an unknown group or release, or if pyjaspar is not installed.

    Examples
    --------
    >>> import sailerx
    >>> motifs = sailerx.motifs.jaspar("insects")
    >>> motifs[0].id[:2]
    'MA'
    """
    taxa = [taxon] if isinstance(taxon, str) else list(taxon)
    unknown = [name for name in taxa if name not in TAXA]
    if unknown or not taxa:
        raise InputError(f"`taxon` must be among {', '.join(TAXA)}, got {', '.join(unknown) or 'nothing'}.")
    pyjaspar = required("pyjaspar", "a motif set from JASPAR")
    if release not in pyjaspar.jaspar_releases:
        there = ", ".join(sorted(pyjaspar.jaspar_releases))
        raise InputError(f"`release` must be one that pyjaspar has ({there}), got {release!r}.")
    database = pyjaspar.jaspardb(release=release)
    try:
        found = database.fetch_motifs(collection="CORE", tax_group=taxa)
    finally:
        database.conn.close()
    motifs = [Motif(m.matrix_id, m.name, np.array([m.counts[base] for base in BASES], float)) for m in found]
    return sorted(motifs, key=lambda motif: motif.id)


def read_motifs(path: str | os.PathLike[str]) -> list[Motif]:
    r"""Read motifs from a file in JASPAR's or MEME's text format, which is recognised by its content.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        If the file is missing, of neither format, holds no motif, an identifier twice, or a matrix that is not one of counts.

    Examples
    --------
    >>> import pathlib, sailerx, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(f"{folder}/motifs.txt").write_text(">M1 MEF2\nA [0 9]\nC [9 0]\nG [0 0]\nT [0 0]\n")
    ...     sailerx.motifs.read(f"{folder}/motifs.txt")[0].name
    'MEF2'
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"the motif file {file} must exist, but does not. Check its path.")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    if _is_homer(first):
        raise InputError(
            f"a motif file must be in JASPAR's format or MEME's, but {file} is in HOMER's format, with a row per position. "
            "Convert it, for example by universalmotif's read_homer and write_jaspar."
        )
    if first.startswith(">"):
        motifs = list(_jaspar_blocks(lines, file))
    elif first.startswith("MEME version"):
        motifs = list(_meme_blocks(lines, file))
    else:
        raise InputError(
            f"a motif file must be in JASPAR's format (its first line begins with '>') or MEME's ('MEME version'), but {file} "
            f"begins with {first[:40]!r}. Convert it, for example by MEME's chen2meme, transfac2meme or uniprobe2meme."
        )
    refuse_motifs(motifs, str(file))
    return motifs


def _is_homer(header: str) -> bool:
    """Whether a header is ``>consensus name threshold``, separated by tabs."""
    fields = header.split("\t")
    return (
        header.startswith(">")
        and len(fields) > 2
        and re.fullmatch(r"-?[\d.]+", fields[2].strip()) is not None
    )


def refuse_motifs(motifs: Sequence[Motif], where: str) -> None:
    """Check a set of motifs: at least one, identifiers unique, matrices of counts.

    Raises
    ------
    InputError
        If any of these does not hold; ``where`` says in the message where the motifs are from.
    """
    if not motifs:
        raise InputError(f"{where} must hold at least one motif, but has none.")
    ids = [motif.id for motif in motifs]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise InputError(
            f"identifiers of motifs in {where} must be unique, but {twice!r} occurs again. Rename one."
        )
    for motif in motifs:
        if motif.counts.ndim != 2 or motif.counts.shape[0] != 4 or not len(motif) or not _are_counts(motif):
            raise InputError(
                f"motif {motif.id!r} of {where} must be a matrix of counts with 4 rows (A, C, G, T) and a site in every column, "
                f"found shape {' × '.join(map(str, motif.counts.shape))}. Give counts or probabilities, not log-odds."
            )


def _are_counts(motif: Motif) -> bool:
    return bool(
        np.isfinite(motif.counts).all() and motif.counts.min() >= 0 and motif.counts.sum(axis=0).min() > 0
    )


def _jaspar_blocks(lines: Sequence[str], file: Path) -> Iterator[Motif]:
    """Motifs of a file whose headers ``>identifier name`` are each followed by a row of counts per base."""
    starts = [i for i, line in enumerate(lines) if line.startswith(">")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        name = lines[start][1:].split(maxsplit=1) or [""]
        rows = [line for line in lines[start + 1 : end] if line.strip()]
        values = [_numbers(re.sub(r"^\s*[ACGTacgt]\b|[\[\]]", " ", row), name[0], file) for row in rows]
        yield Motif(name[0], name[-1].strip(), _matrix(values, name[0], file))


def _meme_blocks(lines: Sequence[str], file: Path) -> Iterator[Motif]:
    """Motifs of a file whose lines ``MOTIF identifier name`` are followed by a matrix of probabilities, a row per position."""
    name: list[str] = []
    for i, line in enumerate(lines):
        words = line.split()
        if words[:1] == ["MOTIF"]:
            name = words[1:3]
        elif line.strip().startswith("letter-probability matrix") and name:
            fields = dict(re.findall(r"(\w+)\s*=\s*(\S+)", line))
            length, sites = int(fields.get("w", 0)), float(fields.get("nsites", _SITES))
            rows = (
                [row for row in lines[i + 1 :] if row.strip()][:length]
                if length
                else _until_text(lines[i + 1 :])
            )
            values = [_numbers(row, name[0], file) for row in rows]
            yield Motif(
                name[0], name[-1], _matrix(list(map(list, zip(*values, strict=False))), name[0], file) * sites
            )


def _until_text(lines: Sequence[str]) -> list[str]:
    rows: list[str] = []
    for line in filter(str.strip, lines):
        if not re.match(r"^\s*[\d.]", line):
            break
        rows.append(line)
    return rows


def _numbers(row: str, motif: str, file: Path) -> list[float]:
    try:
        return [float(word) for word in row.split()]
    except ValueError as error:
        raise InputError(
            f"rows of motif {motif!r} in {file} must be numbers, found {row.strip()[:40]!r}. Repair the file."
        ) from error


def _matrix(rows: list[list[float]], motif: str, file: Path) -> np.ndarray:
    if len(rows) != 4 or len({len(row) for row in rows}) != 1:
        raise InputError(
            f"motif {motif!r} in {file} must have 4 rows (A, C, G, T) of equal length, found {len(rows)} of lengths "
            f"{', '.join(str(len(row)) for row in rows[:6])}. Repair the file."
        )
    return np.array(rows)
