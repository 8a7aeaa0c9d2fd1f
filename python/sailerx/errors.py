"""Exceptions of sailerx; their messages say what must hold, what was found and what to do."""

import re

#: words of a message that are longer, such as the names of damaged files, are cut
_LONG = re.compile(r"(\S{120})\S{280,}")


class InputError(ValueError):
    """Invalid input: an argument, a file or data that cannot be used."""

    def __init__(self, message: str = "") -> None:
        super().__init__(_LONG.sub(r"\1…", message))


class FileError(InputError, OSError):
    """A file that cannot be read or written: which, why, and what to do."""


class ProcessLostError(RuntimeError):
    """Another process of a distributed run has died or failed, so this one cannot continue."""


class FirstProcessError(RuntimeError):
    """The first process of a distributed run has stopped with an error, which it has reported itself."""


class LaunchError(RuntimeError):
    """The processes of a distributed run ended before it was complete; ``status`` is the exit status to pass on."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
