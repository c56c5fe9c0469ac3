"""A Ray cluster on this machine for one sweep, in a process of its own, so that it outlives the orchestrator.

    <temporary folder>/dreamsweep-<user>/
        token                 Ray's authentication token of this user's local clusters, readable by nobody else
        <sweep id>/head.json  address, pid and start of the head, once it serves
        <sweep id>/head.lock  held by the head for as long as it lives: there is one at a time
        <sweep id>/head.log   what it printed
        <sweep id>/gcs/       what Ray's control service knows, so that it may die and come back

A head ends when the orchestrator tells it to, or by itself when for a while no attempt is alive and no orchestrator
has shown itself, or when Ray's node has died under it.
"""

import argparse
import contextlib
import fcntl
import getpass
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from orchestrator import clock
from orchestrator.lock import process_start
from sweeps.errors import ClusterError
from sweeps.files import read_records, write_atomically

_START_LIMIT_S = 120.0
_STOP_LIMIT_S = 30.0
#: After so long without attempts and without an orchestrator a head goes.
_IDLE_LIMIT_S = 120.0
_MEND_EVERY_S = 0.5

log = logging.getLogger(__name__)


def prepare_environ() -> None:
    """Set what Ray reads when it is imported: call this before anything imports it.

    Without a token Ray leaves its ports open to everybody, and it would write one of its own that all can read.
    """
    # Ray lowers the priority of its workers by default, and trainers inherit that.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(_token())}


class LocalHead:
    """The head of one sweep on this machine."""

    def __init__(self, sweep_id: str, *, cpus: float | None, gpus: float | None, namespace: str) -> None:
        self._folder = _home() / sweep_id
        self._cpus = cpus
        self._gpus = gpus
        self._namespace = namespace

    def address(self) -> str:
        """The address of the head, which is started if it does not serve already.

        Raises:
            ClusterError: it does not start.
        """
        record = self._live_record()
        return record["address"] if record else self._start()

    def is_alive(self) -> bool:
        """Whether the head serves."""
        return self._live_record() is not None

    def touch(self) -> None:
        """Tell the head that an orchestrator is there."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._folder)

    def stop(self) -> None:
        """End the head and its cluster, with everything that runs on it."""
        record = self._live_record()
        if record is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(record["pid"]), signal.SIGTERM)
        deadline = clock.monotonic() + _STOP_LIMIT_S
        while self._live_record() is not None and clock.monotonic() < deadline:
            clock.sleep(0.1)

    def _live_record(self) -> dict[str, str] | None:
        return _live_record(self._folder)

    def _start(self) -> str:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = [sys.executable, "-m", "orchestrator.local_head", str(self._folder), self._namespace]
        command += [f"--cpus={self._cpus}"] if self._cpus is not None else []
        command += [f"--gpus={self._gpus}"] if self._gpus is not None else []
        with (self._folder / "head.log").open("ab") as log:
            # Its own session: Ctrl-C in the terminal is for the orchestrator, not for the cluster.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self._folder
            )
        deadline = clock.monotonic() + _START_LIMIT_S
        while clock.monotonic() < deadline:
            record = self._live_record()
            if record is not None:
                return record["address"]
            if process.poll() not in (None, 0):  # with 0 where another one serves already
                break
            clock.sleep(0.05)
        process.kill()
        lines = (self._folder / "head.log").read_text(encoding="utf-8", errors="replace").splitlines()
        raise ClusterError(
            f"Ray does not start on this machine: {lines[-1] if lines else 'it printed nothing'} (all of it in "
            f"{self._folder / 'head.log'}). cluster=process does without Ray."
        )


def _live_record(folder: Path) -> dict[str, str] | None:
    for record in read_records(folder / "head.json"):
        if process_start(int(record["pid"])) == record["started"]:
            return record
    return None


def _home() -> Path:
    home = Path(tempfile.gettempdir()) / f"dreamsweep-{getpass.getuser()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        raise ClusterError(f"{home} belongs to somebody else; set TMPDIR to a folder of your own.")
    return home


def _token() -> Path:
    path = _home() / "token"
    if not path.exists():
        own = path.with_name(f"token.{os.getpid()}")
        own.touch(mode=0o600)
        own.write_text(secrets.token_hex(32), encoding="utf-8")
        with contextlib.suppress(FileExistsError):  # another orchestrator was faster; its token serves as well
            os.link(own, path)
        own.unlink()
    return path


def main() -> None:
    """Serve one head until it is told to stop or nobody needs it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("namespace")
    parser.add_argument("--cpus", type=float)
    parser.add_argument("--gpus", type=float)
    arguments = parser.parse_args()
    prepare_environ()
    lock = (arguments.folder / "head.lock").open("w")
    if not _is_alone(lock, arguments.folder):
        return
    store = arguments.folder / "gcs"
    shutil.rmtree(store, ignore_errors=True)  # of an earlier head, whose nodes and actors went with it
    store.mkdir()
    os.environ |= {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(store)}
    from orchestrator.on_ray import head  # reads the environment that was just prepared

    address = head.serve(cpus=arguments.cpus, gpus=arguments.gpus)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    ending = threading.Event()
    is_beyond_mending = threading.Event()
    # A thread of its own: whoever asks a dead control service something waits until it is back.
    mender = threading.Thread(target=_mend, args=(head.mend, ending, is_beyond_mending), daemon=True)
    mender.start()
    record = {"address": address, "pid": os.getpid(), "started": process_start(os.getpid())}
    write_atomically(arguments.folder / "head.json", json.dumps(record) + "\n")
    # The orchestrator touches the folder; no clock is compared with the file system's.
    touched, idle_since = arguments.folder.stat().st_mtime_ns, clock.monotonic()
    while not stopping and not is_beyond_mending.is_set() and clock.monotonic() - idle_since < _IDLE_LIMIT_S:
        clock.sleep(1.0)
        now_touched = arguments.folder.stat().st_mtime_ns
        if now_touched != touched or head.has_attempts(arguments.namespace):
            touched, idle_since = now_touched, clock.monotonic()
    ending.set()
    (arguments.folder / "head.json").unlink(missing_ok=True)


def _is_alone(lock: TextIO, folder: Path) -> bool:
    """Take the lock of the heads of one sweep; False where another one serves, or none of the others comes to an end.

    An orchestrator may have been killed while its head was starting, or a head that ends may take a while to do so.
    """
    deadline = clock.monotonic() + _START_LIMIT_S
    while clock.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if _live_record(folder) is not None:
            return False
        clock.sleep(0.1)
    return False


def _mend(mend_head: Callable[[], bool], ending: threading.Event, is_beyond_mending: threading.Event) -> None:
    while not ending.wait(_MEND_EVERY_S):
        try:
            if not mend_head():
                log.warning("Ray's node has died, and everything on it.")
                is_beyond_mending.set()
                break
        except Exception:  # whatever it was, the next try may go well, and without one the cluster is lost
            log.exception("Ray's control service could not be started; it is tried again.")
    # What this thread has started ends with it, and Ray shuts down in order only with its control service.
    threading.Event().wait()


if __name__ == "__main__":
    main()
