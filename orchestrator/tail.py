"""Follows a growing log file, whole lines at a time."""

from pathlib import Path

_MOST_BYTES = 1024 * 1024


class LogTail:
    """Reads what a log has gained since the last look."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._offset = offset

    def read(self) -> str:
        """The whole lines that are new; of a very large gain only the end. A file that shrank is read anew."""
        try:
            size = self._path.stat().st_size
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
