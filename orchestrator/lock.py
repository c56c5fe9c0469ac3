"""Holds a sweep root for one orchestrator: a lock file that names its holder and that a dead holder does not keep.

The holder touches the file every few seconds. On the holder's own host its process is looked up; on another host, or in
another container, the file is watched for a while, and a holder that does not touch it any more is dead. No clock is
compared between hosts. A holder that was only asleep finds out before it writes anything more.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any, Self

from orchestrator import clock
from sweeps.errors import RootError, RootLockedError

_TOUCH_EVERY_S = 2.0
#: Less than others watch a holder for before they take it for dead.
_SILENT_S = 3.0 * _TOUCH_EVERY_S


class RootLock:
    """The lock of one root, for use in a `with` statement.

    Raises (on entering):
        RootLockedError: a live orchestrator holds the root.
        RootError: the root cannot be written.
    """

    def __init__(self, path: Path, *, watch_s: float = 10.0) -> None:
        self._path = path
        #: How long a holder on another host is watched for a sign of life.
        self._watch_s = watch_s
        self._released = threading.Event()
        #: A lock that is let go of is not put back by the thread that touches it.
        self._changing = threading.Lock()
        #: The moment of `clock.boottime` of the last sign of life.
        self._touched_at = 0.0
        self._record: dict[str, Any] = {}

    def __enter__(self) -> Self:
        for _ in range(3):
            if self._create():
                threading.Thread(target=self._keep_touching, name="root-lock", daemon=True).start()
                return self
            holder = self._holder()
            if holder is None:
                continue
            if self._is_alive(holder):
                raise RootLockedError(
                    f"Another orchestrator holds {self._path.parent}: process {holder['pid']} on {holder['host']}, "
                    f"since {holder['since']}. Wait for it, stop it, or give this sweep another root=."
                )
            self._discard(holder)
        raise RootLockedError(f"Cannot take {self._path}: others take it at the same time. Try again.")

    def __exit__(self, *exception: object) -> None:
        with self._changing:
            self._released.set()
            if self._holder() == self._record:  # else another orchestrator took this one for dead
                self._path.unlink(missing_ok=True)

    def check(self) -> None:
        """See that nobody took the holder for dead while its machine was asleep, or its file system away.

        A lock that somebody has removed is put back, unless others may have held it and gone since.

        Raises:
            RootLockedError: another orchestrator has the root now, or may have had it.
        """
        try:
            with self._changing:
                holder = self._holder()
                if holder is None and not self._released.is_set() and self._path.parent.is_dir():
                    silent_s = clock.boottime() - self._touched_at
                    if silent_s > _SILENT_S:
                        raise RootLockedError(
                            f"The lock of {self._path.parent} is gone, after {silent_s:.0f} s in which this "
                            f"orchestrator gave no sign of life: another one may have held the root. Run the same "
                            f"command again."
                        )
                    self._link()
                    holder = self._holder()
        except OSError:
            return  # nothing can be told, nor written
        if holder is not None and holder["pid"] and holder != self._record:
            raise RootLockedError(
                f"Another orchestrator has taken {self._path.parent} over from this one, which gave no sign of life: "
                f"process {holder['pid']} on {holder['host']}, since {holder['since']}. `dreamsweep attach "
                f"{self._path.parent}` shows it."
            )

    def holder(self) -> str | None:
        """Who holds the root, in words; None where nobody alive does."""
        record = self._holder()
        if record is None or not self._is_alive(record):
            return None
        return f"process {record['pid']} on {record['host']}, since {record['since']}"

    def _create(self) -> bool:
        self._record = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": process_start(os.getpid()),
            "process_ids": _process_ids(),
            "since": clock.stamp(clock.now()),
        }
        try:
            return self._link()
        except OSError as error:
            raise RootError(
                f"The root {self._path.parent} cannot be written: {error.strerror}. Give another root=."
            ) from None

    def _link(self) -> bool:
        """Put the record under the lock's name; whether nobody else had one there."""
        own = self._path.with_name(f"{self._path.name}.{self._record['host']}.{self._record['pid']}")
        own.write_text(json.dumps(self._record), encoding="utf-8")
        try:
            # A hard link appears with its content, all at once, and fails where the name is taken: also on NFS.
            os.link(own, self._path)
        except FileExistsError:
            return False
        finally:
            own.unlink(missing_ok=True)
        self._touched_at = clock.boottime()
        return True

    def _holder(self) -> dict[str, Any] | None:
        unknown = {"host": socket.gethostname(), "pid": 0, "started": "", "since": "an unknown time"}
        try:
            record = json.loads(self._path.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return None
        except ValueError:
            return unknown
        return record if isinstance(record, dict) and record.keys() >= unknown.keys() else unknown

    def _is_alive(self, holder: dict[str, Any]) -> bool:
        if holder["host"] == socket.gethostname() and holder.get("process_ids", _process_ids()) == _process_ids():
            return bool(holder["started"]) and process_start(int(holder["pid"])) == str(holder["started"])
        before = self._touched()
        deadline = clock.monotonic() + self._watch_s
        while clock.monotonic() < deadline:
            clock.sleep(0.2)
            if self._touched() != before:
                return True
        return False

    def _touched(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _discard(self, holder: dict[str, Any]) -> None:
        """Remove the lock of a dead holder, and never that of another contender who was faster."""
        try:
            file = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            with contextlib.suppress(OSError):  # a file system without locks leaves a window of microseconds
                fcntl.flock(file, fcntl.LOCK_EX)
            # Only who holds the lock of the very file that still has the name may remove the name.
            if self._is_at_path(file) and self._holder() == holder:
                self._path.unlink(missing_ok=True)
        finally:
            os.close(file)

    def _is_at_path(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False

    def _keep_touching(self) -> None:
        while not self._released.wait(_TOUCH_EVERY_S):
            try:
                self.check()
                os.utime(self._path)
                self._touched_at = clock.boottime()
            except OSError:
                continue
            except RootLockedError:
                return  # an heir gives its own signs of life


def live_holder(path: Path) -> str | None:
    """Who holds a root's lock, in words; None where nobody alive does."""
    return RootLock(path, watch_s=3.0 * _TOUCH_EVERY_S).holder()


def _process_ids() -> str:
    """Names the space in which this process has its id: a container has its own, perhaps under its host's name."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """When a process of this host started, as a text that no later process with its id has; empty if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = stat.rsplit(")", 1)[1].split()
    return "" if fields[0] == "Z" else f"tick {fields[19]}"
