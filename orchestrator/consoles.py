"""Consoles that suit where output goes."""

import errno
import os
from typing import TextIO

from rich.console import Console, RenderableType
from rich.measure import Measurement

#: A piped table is as wide as its content needs.
_PIPED_WIDTH = 240
_UNBOUNDED = 100_000


class _PatientConsole(Console):
    """Falls silent where nobody reads any more (`| head -1`, a closed terminal): what a command does matters more."""

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError as error:
            if error.errno != errno.EIO:  # of a terminal that is gone
                raise
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # Python would complain about what is left in the buffer once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def console_for(stream: TextIO) -> Console:
    """A console as wide as the terminal, or wide enough where there is none."""
    console = _PatientConsole(file=stream, highlight=False)
    return console if console.is_terminal else _PatientConsole(file=stream, highlight=False, width=_PIPED_WIDTH)


def natural_width(console: Console, part: RenderableType) -> int:
    """How many columns it takes to show something with nothing cut off."""
    return Measurement.get(console, console.options.update(max_width=_UNBOUNDED), part).maximum


def print_whole(console: Console, part: RenderableType) -> None:
    """Print a table with nothing cut off: one that is wider than the terminal is the terminal's to wrap."""
    width = natural_width(console, part)
    if width > console.width:
        console = _PatientConsole(
            file=console.file,
            highlight=False,
            width=width,
            force_terminal=console.is_terminal,
            no_color=console.no_color,
        )
    console.print(part)
