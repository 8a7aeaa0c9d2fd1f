"""Damaged global heaps, which the HDF5 library would read for ever."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

import sailerx
from data import paired, write
from sailerx import InputError
from sailerx.files import global_heaps
from sailerx.files.global_heaps import has_endless_heap


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(paired(), tmp_path / "m.h5mu")


def test_whole_files_have_no_endless_heap(file: Path) -> None:
    assert b"GCOL" in file.read_bytes()
    assert not has_endless_heap(file)


def test_a_heap_with_zeros_is_refused_and_not_read(file: Path) -> None:
    data = bytearray(file.read_bytes())
    start = data.index(b"GCOL\x01")
    data[start + 16 : start + 512] = bytes(496)
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"m\.h5mu cannot be read: the part with its texts is damaged"):
        sailerx.check(file)


def test_the_letters_of_a_signature_in_data_are_no_heap(tmp_path: Path) -> None:
    for text in (b"GCOL" * 100, b"x" * 3 + b"GCOL\x01\0\0\0" + bytes(100), b"GCOL\x01\0\0\0"):
        (tmp_path / "data").write_bytes(text)
        assert not has_endless_heap(tmp_path / "data")


@pytest.mark.parametrize("offset", [-8, 0, 8])
def test_a_heap_is_found_wherever_windows_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    monkeypatch.setattr(global_heaps, "_WINDOW", mmap.PAGESIZE)
    text = bytearray(b"x" * 4 * mmap.PAGESIZE)
    start = 2 * mmap.PAGESIZE + offset
    text[start : start + 300] = b"GCOL\x01\0\0\0" + (300).to_bytes(8, "little") + bytes(284)
    (tmp_path / "data").write_bytes(text)
    assert has_endless_heap(tmp_path / "data")
    (tmp_path / "data").write_bytes(text.replace(b"GCOL", b"gcol"))
    assert not has_endless_heap(tmp_path / "data")


def test_larger_files_are_not_searched(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(global_heaps, "MAX_BYTES", 10)
    assert not has_endless_heap(file)
