"""Tell the operating system which parts of an HDF5 file are read soon: it fetches them while the processor does other work."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

#: entries per piece of a dataset that is stored in one piece
_ENTRIES_PER_PIECE = 2**17


@dataclass(frozen=True)
class ReadSoon:
    """Where in its file a one-dimensional dataset is stored, piece by piece."""

    #: file descriptor
    file: int
    #: entries per piece
    length: int
    #: first byte and bytes of each piece, pieces × 2, int64; no bytes: nothing is stored
    pieces: np.ndarray

    @classmethod
    def of(cls, values: Any) -> ReadSoon | None:
        """Look up the pieces; None for zarr arrays, files that are not opened by their name, and systems other than Linux."""
        if not (
            hasattr(os, "posix_fadvise") and isinstance(values, h5py.Dataset) and values.file.driver == "sec2"
        ):
            return None
        if values.chunks is not None and not hasattr(values.id, "chunk_iter"):  # HDF5 before 1.12.3
            return None
        length = _ENTRIES_PER_PIECE if values.chunks is None else values.chunks[0]
        pieces = np.zeros((-(-len(values) // length), 2), np.int64)
        if values.chunks is not None:

            def note(chunk: Any) -> None:
                pieces[chunk.chunk_offset[0] // length] = chunk.byte_offset, chunk.size

            values.id.chunk_iter(note)
        elif (offset := values.id.get_offset()) is not None:
            size = values.dtype.itemsize
            ends = np.minimum(length * np.arange(len(pieces) + 1), len(values)) * size
            pieces[:, 0], pieces[:, 1] = offset + ends[:-1], np.diff(ends)
        return cls(values.file.id.get_vfd_handle(), length, pieces)

    def announce(self, start: int, end: int) -> None:
        """Let the pieces with entries start to end (exclusive) be fetched from disk in the background."""
        if end > start:
            for offset, size in self.pieces[start // self.length : -(-end // self.length)].tolist():
                if size:
                    with suppress(OSError):  # it is advice: where it is not taken, reading takes longer
                        os.posix_fadvise(self.file, offset, size, os.POSIX_FADV_WILLNEED)
