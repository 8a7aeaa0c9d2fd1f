"""Find damaged global heaps of an HDF5 file, in which text lies: the HDF5 library (1.14 and before) would read one for ever.

Source: HDF5 File Format Specification, III.E "Global Heap". A free object of size 0 makes the library's loop over the objects of a
heap stand still, and no signal can end it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from functools import lru_cache

#: larger files are not searched, because that would read them whole once more
MAX_BYTES = 2**31

_SIGNATURE, _ALIGNMENT = b"GCOL\x01\0\0\0", 8
#: bytes that are searched at a time, a multiple of the size of a page
_WINDOW = 2**24
_HEADER = 16  # bytes: of a heap, its signature and size; of an object, its number, references and size


def has_endless_heap(path: str | os.PathLike[str]) -> bool:
    """Whether the HDF5 library would never return from reading a text of this file."""
    found = os.stat(path)
    if not 0 < found.st_size <= MAX_BYTES:
        return False
    return _searched(os.fspath(path), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache
def _searched(path: str, _state: tuple[int, ...]) -> bool:
    """Search a file once per state; one command opens the same file several times."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(_is_endless(data, start) for start in _heaps(data))


def _heaps(data: mmap.mmap) -> Iterator[int]:
    """Yield where a heap may start. What has been searched leaves the memory of the process."""
    for window in range(0, len(data), _WINDOW):
        last = min(window + _WINDOW + len(_SIGNATURE) - 1, len(data))
        start = data.find(_SIGNATURE, window, last)
        while start >= 0:
            if start % _ALIGNMENT == 0:
                yield start
            start = data.find(_SIGNATURE, start + 1, last)
        if hasattr(mmap, "MADV_DONTNEED"):
            data.madvise(mmap.MADV_DONTNEED, window, min(_WINDOW, len(data) - window))


def _is_endless(data: mmap.mmap, start: int) -> bool:
    """Walk over the objects of a heap as the library does."""
    end = start + _number(data, start + 8, 8)
    at = start + _HEADER
    while at + _HEADER <= min(end, len(data)):
        number, size = _number(data, at, 2), _number(data, at + 8, 8)
        if number == 0 and size == 0:
            return True
        at += size if number == 0 else _HEADER + -(-size // _ALIGNMENT) * _ALIGNMENT
    return False


def _number(data: mmap.mmap, at: int, n_bytes: int) -> int:
    return int.from_bytes(data[at : at + n_bytes], "little")
