"""A bar on standard error for whatever tells how far it is."""

import sys
from typing import Self

from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.consoles import console_for


class ProgressBar:
    """Shown where standard error is a terminal, and gone when it is left.

    Args:
        what: Is going on.
        is_bytes: Whether the amounts are bytes.
    """

    def __init__(self, what: str, *, is_bytes: bool) -> None:
        self._bar = Progress(
            TextColumn(what),
            BarColumn(),
            DownloadColumn() if is_bytes else MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console_for(sys.stderr),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(what, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)
