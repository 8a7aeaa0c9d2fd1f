"""Errors that tell a user what must hold, what was found, and what to do."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what must hold, what was found and what to do."""
