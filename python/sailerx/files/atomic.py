"""Write files and folders atomically: under a temporary name, renamed once complete."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sailerx.errors import InputError
from sailerx.files.trouble import writing

#: a folder with this file is a model folder; only a model folder may be replaced
MODEL_FILE = "model.json"


def refuse_overwriting(written: object, *read: object) -> None:
    """Refuse to write a result to the place of something that is read for it; what is no path is ignored.

    Raises
    ------
    InputError
        If ``written`` is the same file or folder as one of ``read``, whatever it is called.
    """
    for path in read:
        if _is_same(written, path):
            raise InputError(
                f"{written} is read for this result, which would replace it. Nothing was written; choose another name for the result."
            )


def refuse_one_place(*written: object) -> None:
    """Raise `InputError` if two results are to be written to one place; what is no path is ignored."""
    for i, path in enumerate(written):
        if any(_is_same(path, other) for other in written[:i]):
            raise InputError(
                f"two results cannot be written to one place, {path}. Give each a name of its own."
            )


def _is_same(one: object, other: object) -> bool:
    if not (isinstance(one, str | os.PathLike) and isinstance(other, str | os.PathLike)):
        return False
    try:
        return os.path.realpath(one) == os.path.realpath(other) or os.path.samefile(one, other)
    except (OSError, ValueError):  # one of them does not exist, or cannot be a path
        return False


@contextmanager
def new_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder; rename it to ``path`` if the ``with`` body succeeds, remove it otherwise.

    Missing parents of ``path`` are made.

    Raises
    ------
    InputError
        If ``path`` exists, and ``overwrite`` is false or ``path`` is not a model folder.
    """
    target = Path(path)
    with writing(target):
        if target.exists() and not overwrite:
            raise InputError(
                f"{target} exists already. Choose another folder, or allow replacing it (`overwrite=True`, --overwrite)."
            )
        if target.exists() and not (target / MODEL_FILE).exists():
            raise InputError(f"{target} is not a model folder, so it is not replaced. Choose another folder.")
        near = next(parent for parent in target.absolute().parents if parent.exists())
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=near))
    try:
        with writing(target):
            (temporary / "new").mkdir()
            yield temporary / "new"
            target.parent.mkdir(parents=True, exist_ok=True)
            _put(temporary / "new", target, temporary / "old")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(new: Path, target: Path, old: Path) -> None:
    """Rename a folder to its final name; what is there comes under the name ``old`` or ``new``."""
    if not target.exists():
        new.rename(target)
    elif not _exchange(new, target):
        target.rename(old)
        try:
            new.rename(target)
        except OSError:
            old.rename(target)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step, so that neither name is ever free; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    at_working_folder, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    names = at_working_folder, os.fsencode(one), at_working_folder, os.fsencode(other)
    return rename(*names, exchange) == 0


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary file; rename it to ``path`` if the ``with`` body succeeds, remove it otherwise.

    An existing file is replaced.

    Raises
    ------
    InputError
        If the folder of ``path`` does not exist, or ``path`` is a folder.
    """
    target = Path(path)
    with writing(target):  # a folder above it may not be entered
        has_folder, is_folder = target.parent.is_dir(), target.is_dir()
    if not has_folder:
        raise InputError(f"the folder of {target} must exist. Make it first, or choose another file.")
    if is_folder:
        raise InputError(f"{target} must be a file, but is a folder. Choose another name.")
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        with writing(target):
            temporary.touch()  # says at once if the folder may not be written to
            temporary.unlink()
            yield temporary
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
