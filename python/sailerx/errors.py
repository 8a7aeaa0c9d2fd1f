"""Exceptions of sailerx; their messages say what must hold, what was found and what to do."""


class InputError(ValueError):
    """Invalid input: an argument, a file or data that cannot be used."""


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
