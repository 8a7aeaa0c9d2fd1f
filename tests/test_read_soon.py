"""Which parts of a file are announced to the operating system before they are read."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data import multiome, paired, write
from sailerx.data import accessibility, csr_on_disk, read_soon
from sailerx.data.accessibility import PeaksOnDisk
from sailerx.data.csr_on_disk import CsrOnDisk
from sailerx.data.read_soon import ReadSoon
from sailerx.data.reading import opened
from sailerx.minibatches.sampler import Sampler
from sailerx.minibatches.streaming import FileRows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be told what is read soon")
VALUES = np.arange(1000, dtype=np.int32) ** 2
LAYOUTS: list[dict[str, Any]] = [{}, {"chunks": (64,)}, {"chunks": (64,), "compression": "gzip"}]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The parts of a file, (first byte, bytes), that are announced."""
    parts: list[tuple[int, int]] = []

    def note(_: int, first: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        parts.append((first, size))

    monkeypatch.setattr(os, "posix_fadvise", note)
    return parts


@pytest.mark.parametrize("user_block", [0, 512])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_announced_parts_of_the_file_hold_the_entries(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[tuple[int, int]],
    layout: dict[str, Any],
    user_block: int,
) -> None:
    monkeypatch.setattr(read_soon, "_ENTRIES_PER_PIECE", 64)
    path = tmp_path / "values.h5"
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file.create_dataset("values", data=VALUES, **layout)
    raw = path.read_bytes()
    for start, end, first, last in ((130, 517, 128, 576), (960, 1000, 960, 1000), (7, 7, 0, 0)):
        del told[:]
        with h5py.File(path) as file:
            soon = ReadSoon.of(file["values"])
            assert soon is not None
            soon.announce(start, end)
        stored = [raw[place : place + size] for place, size in told]
        parts = [zlib.decompress(part) for part in stored] if "compression" in layout else stored
        found = np.frombuffer(b"".join(parts), np.int32)
        np.testing.assert_array_equal(found[: last - first], VALUES[first:last])
        assert not found[last - first :].any()  # the last chunk is padded


@pytest.mark.parametrize("layout", [{}, {"chunks": (64,)}])
def test_nothing_is_announced_where_nothing_is_stored(
    tmp_path: Path, told: list[tuple[int, int]], layout: dict[str, Any]
) -> None:
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        soon = ReadSoon.of(file.create_dataset("values", (1000,), np.int32, **layout))
        assert soon is not None
        soon.announce(0, 500)
    assert told == []


def test_chunks_of_cells_are_announced_one_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(csr_on_disk, "CELLS_PER_CHUNK", 4)
    matrix = sp.random(10, 30, 0.5, format="csr", rng=np.random.default_rng(0))
    with h5py.File(tmp_path / "matrix.h5", "w") as file:
        for name in ("data", "indices", "indptr"):
            file.create_dataset(name, data=getattr(matrix, name), chunks=(1,))
    with h5py.File(tmp_path / "matrix.h5") as file:
        stored = CsrOnDisk.in_group(file, matrix.shape)
        for values, copies in ((True, 2), (False, 1)):
            del told[:]
            stored.announce(4, 8, values=values)
            assert len(told) == copies * (matrix.indptr[8] - matrix.indptr[4])
        del told[:]
        for cells, rows in stored.chunks():
            assert len(told) == 2 * (matrix.indptr[min(cells.stop + 4, 10)] - matrix.indptr[4])
            np.testing.assert_array_equal(rows.toarray(), matrix[cells].toarray())


def test_other_stores_are_left_alone() -> None:
    with h5py.File("in-memory.h5", "w", driver="core", backing_store=False) as file:
        assert ReadSoon.of(file.create_dataset("values", data=VALUES)) is None
    assert ReadSoon.of(VALUES) is None


def test_chunks_of_coming_mini_batches_are_announced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csr_on_disk, "CELLS_PER_CHUNK", 4)
    monkeypatch.setattr(accessibility, "ONES_PER_BUFFER", 200)
    announced: list[int] = []
    monkeypatch.setattr(PeaksOnDisk, "announce_chunk", lambda _, i: announced.append(i))
    path = write(paired(), tmp_path / "cells.h5mu")
    with opened(path) as found:
        x = multiome(found).x
        assert isinstance(x, PeaksOnDisk)
        assert x.n_buffers > 3
        sampler = Sampler.of(torch.ones(60, dtype=torch.bool), 7, 0.5, n_buffers=x.n_buffers)
        batches = list(sampler.epoch(torch.Generator().manual_seed(0)))
        read = {int(row) // 4 for rows in batches for row in rows}
        at_first = {int(row) // 4 for row in torch.cat(batches[: 60 // x.n_buffers // 7 + 1])}
        for _ in FileRows(x, torch.device("cpu")).minibatches(batches):
            pass
    assert read - at_first <= set(announced) <= read
    assert len(announced) <= 1.2 * len(set(announced))
