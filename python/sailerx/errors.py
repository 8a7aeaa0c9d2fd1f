"""Errors that tell a user what must hold, what was found, and what to do."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what must hold, what was found and what to do."""


class ProcessLostError(RuntimeError):
    """Another process of the same run is gone, so this one cannot go on."""


class FirstProcessError(RuntimeError):
    """The first process of the run has stopped, and has said why."""


class LaunchError(RuntimeError):
    """The processes of a run have ended before it was done; `status` is the exit status to hand on."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
