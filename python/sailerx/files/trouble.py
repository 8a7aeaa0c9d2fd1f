"""Say in one sentence why a file or folder cannot be read or written, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sailerx.errors import FileError, InputError

#: errors of a program, not of its files
_OURS = (InputError, MemoryError)
#: errno → what is wrong and what to do, of reading and of writing
_WHY_UNREAD = {
    errno.ENOENT: "there is no such file. Check the path.",
    errno.EACCES: "you have no permission to read it. Ask its owner for permission, or for a copy.",
    errno.EPERM: "you have no permission to read it. Ask its owner for permission, or for a copy.",
    errno.EAGAIN: "another program has it open for writing. Close it there, then try again.",
    errno.ENOLCK: "its file system cannot lock files. Set the environment variable HDF5_USE_FILE_LOCKING=FALSE, or copy it to "
    "a local disk.",
    errno.EISDIR: "it is a folder. Name a file, or a .zarr folder.",
    errno.EIO: "the disk or network drive fails. Copy the file to another disk.",
}
_WHY_UNWRITTEN = {
    errno.ENOENT: "its folder does not exist. Make it first, or choose another place.",
    errno.ENOTDIR: "what should be its folder is a file. Choose another place.",
    errno.EACCES: "you have no permission to write there. Choose another folder.",
    errno.EPERM: "you have no permission to write there. Choose another folder.",
    errno.EROFS: "that disk can only be read. Choose another folder.",
    errno.ENOSPC: "the disk is full. Free some space, or choose another disk.",
    errno.EDQUOT: "your disk quota is used up. Free some space, or choose another disk.",
    errno.EAGAIN: "another program has it open. Close it there, or choose another name.",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one.",
}


def unreadable(path: object, error: BaseException) -> FileError:
    """Make the error that says why ``path`` cannot be read."""
    number = getattr(error, "errno", None)
    why = _WHY_UNREAD.get(number) if isinstance(number, int) else None
    if why is None:
        why = f"it was cut short or is damaged ({first_line(error)}). Copy or write it again."
    return FileError(f"{os.fspath(path)} cannot be read: {why}")  # type: ignore[call-overload]


def unwritable(path: object, error: OSError) -> FileError:
    """Make the error that says why ``path`` cannot be written."""
    why = (
        _WHY_UNWRITTEN.get(error.errno or 0) or "nothing was left behind. Try again, or choose another place."
    )
    return FileError(f"{os.fspath(path)} cannot be written ({first_line(error)}): {why}")  # type: ignore[call-overload]


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn every failure of a library that reads ``path`` in the ``with`` body into one sentence.

    Raises
    ------
    FileError
        With the path, what is wrong and what to do.
    """
    try:
        yield
    except _OURS:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn every failure of the system that keeps ``path`` from being written into one sentence.

    Raises
    ------
    FileError
        With the path, what is wrong and what to do.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error


def first_line(error: BaseException) -> str:
    """Take the first line of an error's message, at most 200 characters; its type if there is no message."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
