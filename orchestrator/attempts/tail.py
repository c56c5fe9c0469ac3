"""Follows a growing log file, whole lines at a time, and tells the last ones of any."""

import json
import os
from pathlib import Path

_MOST_BYTES = 1024 * 1024
_LAST_BYTES = 4096
_READ_BYTES = 16 * 1024


class LogTail:
    """Reads what a log has gained since the last look."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._offset = offset
        self._size = offset
        #: Whether the last look found another size than the one before: a sign of life, whole lines or not.
        self.has_grown = False

    def read(self) -> str:
        """The whole lines that are new; of a very large gain only the end. A file that shrank is read anew."""
        self.has_grown = False
        try:
            size = self._path.stat().st_size
            self.has_grown, self._size = size != self._size, size
            if size < self._offset:
                self._offset = 0
            if size == self._offset:
                return ""
            with self._path.open("rb") as file:
                start = max(self._offset, size - _MOST_BYTES)
                file.seek(start)
                data = file.read(size - start)
        except FileNotFoundError:
            return ""
        end = data.rfind(b"\n") + 1
        if end:
            self._offset = start + end
        elif len(data) == _MOST_BYTES:
            self._offset = size
        return data[:end].decode("utf-8", "replace")


def point_of(line: str, step_key: str, score_key: str) -> tuple[int, float] | None:
    """Step and score of a line of a score log, or None where it holds none."""
    try:
        record = json.loads(line)
        return int(record[step_key]), float(record[score_key])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def last_score(path: Path, step_key: str, score_key: str) -> tuple[int | None, float | None]:
    """Step and score of the last whole line of a score log; None for both where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LAST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None, None
    for line in reversed(text.splitlines()):
        point = point_of(line, step_key, score_key)
        if point is not None:
            return point
    return None, None


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log that are not blank; none where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
