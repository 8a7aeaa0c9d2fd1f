"""`python -m sailerx`."""

from sailerx.cli import process

process()
