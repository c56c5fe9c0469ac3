"""Consoles that suit where output goes."""

from typing import TextIO

from rich.console import Console

#: A piped table is as wide as its content needs.
_PIPED_WIDTH = 240


def console_for(stream: TextIO) -> Console:
    """A console as wide as the terminal, or wide enough where there is none."""
    console = Console(file=stream, highlight=False)
    return console if console.is_terminal else Console(file=stream, highlight=False, width=_PIPED_WIDTH)
