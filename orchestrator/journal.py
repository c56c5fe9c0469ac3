"""The append-only journal of a sweep root: every event, in order, one JSON object a line.

One writer (the holder of the root's lock) appends and fsyncs before an event takes effect. A crash can tear only
the last line; it is cut off when the journal is opened for writing again, since its event had no effect.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

from orchestrator.events import Event, event_from_json, event_to_json
from sweeps.errors import GridError, JournalError


def read_journal(path: Path) -> Iterator[Event]:
    """Every whole event of a journal; a torn last line is left out. An absent file holds none.

    Raises:
        JournalError: a line that is not the last cannot be read.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        number = 0
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield event_from_json(json.loads(line))
            except (ValueError, KeyError, TypeError, GridError) as error:
                raise JournalError(
                    f"{path}:{number} is no event of this version of dreamsweep ({type(error).__name__}: {error}). "
                    f"The journal is written by dreamsweep alone; restore it, or start from a new root= (finished "
                    f"runs can be copied over with their folders)."
                ) from None


class Journal:
    """The journal, opened by its one writer."""

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None) -> None:
        """Set up; nothing is opened yet.

        Args:
            check: called before anything is written; raises where another writer has taken over.
        """
        self._path = path
        self._check = check
        self._file: int | None = None
        #: Bytes of it, as long as nobody else writes.
        self._size = 0

    def __enter__(self) -> Self:
        self._cut_torn_end()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._size = os.fstat(self._file).st_size
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def append(self, events: Iterable[Event]) -> None:
        """Write events and wait until the disk has them.

        Raises:
            OSError: the disk is full or gone; none of the events is in the journal.
            JournalError: somebody else has written to it.
        """
        assert self._file is not None, "the journal is not open"
        data = "".join(json.dumps(event_to_json(event)) + "\n" for event in events).encode()
        if not data:
            return
        self._check()
        size = os.fstat(self._file).st_size
        if size != self._size:
            raise JournalError(
                f"{self._path} has {size:,} bytes, of which this orchestrator knows {self._size:,}: another one has "
                f"driven the root meanwhile. Run the same command again."
            )
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
            self._size = size + len(data)
        except BaseException as error:
            with contextlib.suppress(OSError):  # a torn end at most, which the next opening cuts off
                os.ftruncate(self._file, size)
            with contextlib.suppress(OSError):
                self._size = os.fstat(self._file).st_size
            if isinstance(error, OSError):
                error.filename = error.filename or str(self._path)
            raise

    def _cut_torn_end(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            end = size
            while end > 0:
                start = max(0, end - 65536)
                file.seek(start)
                found = file.read(end - start).rfind(b"\n")
                if found >= 0:
                    end = start + found + 1
                    break
                end = start
            if end < size:
                file.truncate(end)
                os.fsync(file.fileno())
