"""The worker's end of `storage=ship`: what an attempt has written on its local disk and the root does not have yet."""

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from getpass import getuser
from pathlib import Path

from orchestrator.attempts.shipping import Carried, Chunk, Handover, Parcel, beginning, cut_at_line, rescued
from sweeps.contracts import Attempt
from sweeps.errors import StorageError
from sweeps.layout import RunDir
from sweeps.settings import StorageSettings

#: Of one log in one parcel.
_MOST_BYTES = 2 * 1024 * 1024


class Outbox:
    """Packs parcels of one attempt. Used from several threads."""

    def __init__(self, run_dir: RunDir, handover: Handover, attempt: int, small_files: Sequence[str]) -> None:
        """Set up.

        Args:
            small_files: what the trainer rewrites and the root shall have too, by name.
        """
        self._dir = run_dir
        self._handover = handover
        self._attempt = attempt
        self._small = small_files
        self._lock = threading.Lock()
        self._logs: tuple[str, ...] = ()
        self._sent: dict[str, tuple[int, int]] = {}
        #: By log, how much of it the root has for certain.
        self._confirmed: dict[str, int] = {}
        self._is_over = False
        #: Of earlier attempts, whose bytes are sent first and of which the root has never heard.
        self._earlier: tuple[Attempt, ...] = ()
        self.started: Attempt | None = None
        self.ended: Attempt | None = None
        self.checkpoint = ""
        self.trouble = ""

    def begin(self, logs: Sequence[str], carried: Carried | None) -> dict[str, int]:
        """Write what each log begins with; returns where on the root the attempt's own bytes begin, by log."""
        seams = {}
        is_rescued = False
        for log in logs:
            first, seams[log] = beginning(self._handover, carried, log)
            is_rescued = is_rescued or bool(rescued(self._handover, carried, log))
            path = self._dir.path / log
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(first)
        if carried is not None and is_rescued:
            known = self._handover.seams
            self._earlier = tuple(record for record in carried.records if record.attempt not in known)
        self._logs = tuple(logs)
        return seams

    def close(self) -> None:
        """The attempt is over: nothing grows any more."""
        self._is_over = True

    def parcel(self, have: Mapping[str, int], *, is_anew: bool) -> Parcel:
        """What the root lacks, as far as one parcel holds.

        Args:
            have: bytes on the root, by log.
            is_anew: the answer to an earlier question may be lost.
        """
        with self._lock:
            is_over = self._is_over
            if is_anew:
                self._sent.clear()
            chunks = []
            has_more = False
            # No byte goes before the line that says whose it is.
            for log in self._logs if self.started is not None else ():
                base = self._handover.sizes.get(log, 0)
                self._confirmed[log] = max(self._confirmed.get(log, base), have.get(log, 0))
                chunk, is_rest = self._chunk(log, base, max(base, have.get(log, 0)), is_over=is_over)
                has_more = has_more or not is_rest
                if chunk.data:
                    chunks.append(chunk)
            is_all = is_over and not has_more
            return Parcel(
                files=self._changed_files(),
                earlier=self._earlier,
                record=self.ended if is_all and self.ended else self.started,
                chunks=tuple(chunks),
                exit_status=_content(self._dir.exit_status(self._attempt)) if is_all else None,
                checkpoint=self.checkpoint,
                trouble=self.trouble,
                has_more=has_more,
                is_all=is_all,
            )

    def unconfirmed(self) -> Carried:
        """The end of every log that the root may not have, as it is now."""
        with self._lock:
            ends = {}
            for log in self._logs:
                base = self._handover.sizes.get(log, 0)
                start = self._confirmed.get(log, base)
                ends[log] = (start, _content(self._dir.path / log, start - base) or b"")
            records = self._earlier if self.started is None else (*self._earlier, self.started)
            return Carried(attempt=self._attempt, ends=ends, records=records)

    def _chunk(self, log: str, base: int, start: int, *, is_over: bool) -> tuple[Chunk, bool]:
        """The bytes from an offset on the root, and whether they are all that there are."""
        data = _content(self._dir.path / log, start - base, _MOST_BYTES + 1) or b""
        is_full = len(data) > _MOST_BYTES
        data = data[:_MOST_BYTES]
        return Chunk(log, start, cut_at_line(data, is_over=is_over, is_full=is_full)), not is_full

    def _changed_files(self) -> dict[str, bytes]:
        files = {}
        for path in (self._dir.spec, *(self._dir.path / name for name in self._small)):
            try:
                stat = path.stat()
                stamp = (stat.st_size, stat.st_mtime_ns)
                name = path.relative_to(self._dir.path).as_posix()
                if self._sent.get(name) != stamp:
                    files[name] = path.read_bytes()
                    self._sent[name] = stamp
            except FileNotFoundError:
                continue
        return files


def local_folder(handover: Handover, attempt: int) -> Path:
    """Where on this node an attempt writes: a folder of its own, as no two attempts may ever share one."""
    return _local_top(handover.storage) / handover.folder / str(attempt)


def check_local(storage: StorageSettings) -> None:
    """See that attempts can write where they are to write on this node.

    Raises:
        StorageError: they cannot.
    """
    top = _local_top(storage)
    try:
        if "$" in str(top):
            raise StorageError(
                f"storage.local_dir={storage.local_dir!r} names a variable that is not set on {socket.gethostname()}. "
                f"Expected a folder on a disk of each node."
            )
        top.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=top) as file:
            file.write(b"x")
    except OSError as error:
        raise StorageError(
            f"storage.local_dir={storage.local_dir!r} cannot be written on {socket.gethostname()}: {error.strerror}. "
            f"Expected a folder on a disk of each node."
        ) from None


def _local_top(storage: StorageSettings) -> Path:
    if storage.local_dir is None:
        return Path(tempfile.gettempdir()) / f"dreamsweep-{getuser()}"
    return Path(os.path.expandvars(storage.local_dir)).expanduser().absolute()


def make_local_folder(path: Path) -> None:
    """Make an attempt's folder, empty; those of earlier attempts, which are over for certain, go."""
    shutil.rmtree(path.parent, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True)


def _content(path: Path, start: int = 0, most: int = -1) -> bytes | None:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(most)
    except FileNotFoundError:
        return None
