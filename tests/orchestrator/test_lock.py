"""The lock of a root, with real processes: one holder at a time, and no dead one keeps it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator import clock
from orchestrator.lock import RootLock, process_start
from sweeps.errors import RootError, RootLockedError

HOLD = """
import sys, time
from pathlib import Path
from orchestrator.lock import RootLock
with RootLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
RACE = """
import os, random, sys, time
from pathlib import Path
from orchestrator.lock import RootLock
from sweeps.errors import RootLockedError
lock, start, dies, turns = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "dies", 0
inside = lock.with_name("inside")
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
while turns < (1 if dies else 3):
    try:
        with RootLock(lock):
            own = os.open(inside, os.O_CREAT | os.O_EXCL)
            time.sleep(0.01 * random.random())
            inside.unlink()
            turns += 1
            if dies:
                os._exit(0)
    except RootLockedError:
        time.sleep(0.002 * random.random())
"""
Starter = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.lock"


@pytest.fixture
def start() -> Iterator[Starter]:
    """Starts Python programs and leaves none behind."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *map(str, words)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def hold(start: Starter, path: Path) -> "subprocess.Popen[str]":
    process = start(HOLD, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def record(path: Path, **changes: object) -> None:
    """Write a lock file as a holder would that is not this process."""
    values = {"host": socket.gethostname(), "pid": 1, "started": "tick 0", "since": "2026-01-01 00:00:00 UTC"}
    path.write_text(json.dumps({**values, **changes}))


def test_the_lock_is_there_while_it_is_held(path: Path) -> None:
    """The file names its holder, and goes with it; nothing else is left in the root."""
    with RootLock(path):
        holder = json.loads(path.read_text())

        assert (holder["host"], holder["pid"]) == (socket.gethostname(), os.getpid())
    assert list(path.parent.iterdir()) == []


def test_a_second_orchestrator_is_refused_by_name(path: Path, start: Starter) -> None:
    """The refusal tells which process holds the root, where, and since when."""
    holder = hold(start, path)
    since = json.loads(path.read_text())["since"]

    with pytest.raises(RootLockedError) as refusal, RootLock(path):
        pass

    assert str(refusal.value) == (
        f"Another orchestrator holds {path.parent}: process {holder.pid} on {socket.gethostname()}, since {since}. "
        f"Wait for it, stop it, or give this sweep another root=."
    )
    assert json.loads(path.read_text())["pid"] == holder.pid


def test_the_lock_is_free_after_its_holder_ended(path: Path, start: Starter) -> None:
    """A holder that ends well gives the root back."""
    holder = hold(start, path)
    holder.communicate("")

    with RootLock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_killed_holder_does_not_keep_the_lock(path: Path, start: Starter) -> None:
    """Nobody has to remove a file by hand after a crash."""
    holder = hold(start, path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    with RootLock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_reused_process_id_is_not_the_holder(path: Path) -> None:
    """Process ids come around; the start of the process does not."""
    record(path, pid=os.getpid(), started="tick 1")

    with RootLock(path):
        assert json.loads(path.read_text())["started"] == process_start(os.getpid())


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", '{"host": 3}', "\x00\x00"])
def test_an_unreadable_lock_is_taken_over(path: Path, content: str) -> None:
    """What a crashed machine left of a lock file names nobody."""
    path.write_text(content)

    with RootLock(path, watch_s=0.1):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_holder_on_another_host_that_gives_no_sign_is_dead(path: Path) -> None:
    """It is watched for a while, by no clock but ours."""
    record(path, host="elsewhere")
    os.utime(path, (2e9, 2e9))
    began = time.monotonic()

    with RootLock(path, watch_s=0.4):
        assert json.loads(path.read_text())["host"] == socket.gethostname()
    assert time.monotonic() - began > 0.4


def test_a_holder_on_another_host_that_touches_its_lock_lives(path: Path) -> None:
    """Its sign of life ends the watch at once, however wrong its clock is."""
    record(path, host="elsewhere", pid=77)
    touch = threading.Timer(0.3, os.utime, [path, (1.0, 1.0)])
    touch.start()
    began = time.monotonic()

    with pytest.raises(RootLockedError, match="process 77 on elsewhere, since 2026-01-01"), RootLock(path, watch_s=30):
        pass

    touch.join()
    assert time.monotonic() - began < 10


def test_a_holder_shows_signs_of_life(path: Path) -> None:
    """The file is touched every few seconds for as long as it is held."""
    with RootLock(path):
        os.utime(path, (1.0, 1.0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < 2.0 and time.monotonic() < deadline:
            time.sleep(0.05)

        assert path.stat().st_mtime > 2.0


def test_a_holder_that_was_taken_for_dead_leaves_its_heir_alone(path: Path) -> None:
    """A machine that slept through its takeover must not remove the lock of the one that took over."""
    with RootLock(path):
        record(path, host="heir")

    assert json.loads(path.read_text())["host"] == "heir"


def test_a_holder_that_was_taken_for_dead_finds_out(path: Path) -> None:
    """A laptop that wakes up in the morning must not drive what another orchestrator has driven since."""
    with RootLock(path) as lock:
        lock.check()
        record(path, host="heir", pid=77)

        with pytest.raises(
            RootLockedError, match=r"taken .* over from this one.* process 77 on heir, since 2026-01-01"
        ):
            lock.check()


def test_a_lock_that_was_removed_is_put_back(path: Path) -> None:
    """Somebody cleared up by hand; without it the next orchestrator would begin beside this one."""
    with RootLock(path) as lock:
        before = path.read_text()
        path.unlink()
        lock.check()

        assert path.read_text() == before
    lock.check()
    assert not path.exists()


def test_a_lock_that_went_while_its_holder_slept_is_not_put_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another orchestrator may have taken it over, driven the root, and gone."""
    with RootLock(path) as lock:
        path.unlink()
        now = clock.boottime()
        monkeypatch.setattr(clock, "boottime", lambda: now + 60.0)
        with pytest.raises(RootLockedError, match=r"gone, after 60 s in which .* no sign of life"):
            lock.check()

        assert not path.exists()


def test_a_lock_whose_root_is_gone_is_not_put_back(path: Path) -> None:
    """Nor is its root."""
    with RootLock(path) as lock:
        path.unlink()
        path.parent.rename(path.parent.with_name("moved"))
        lock.check()

        assert not path.parent.exists()


def test_a_lock_that_cannot_be_read_is_not_lost(path: Path) -> None:
    """A file system may be away for a moment: nobody else has it."""
    with RootLock(path) as lock:
        path.unlink()
        path.mkdir()
        lock.check()
        path.rmdir()


def test_a_holder_in_another_container_is_watched(path: Path) -> None:
    """It may have the name of this host, and its process ids mean nothing here."""
    record(path, process_ids="pid:[1]", pid=77)
    touch = threading.Timer(0.3, os.utime, [path, (1.0, 1.0)])
    touch.start()

    with pytest.raises(RootLockedError, match="process 77"), RootLock(path, watch_s=30):
        pass
    touch.join()


@pytest.mark.parametrize("ending", ["releases", "dies"])
def test_of_ten_that_race_one_holds_at_a_time(path: Path, start: Starter, ending: str) -> None:
    """Ten processes take turns, from a dead holder's lock on; each that gets in finds nobody else inside.

    A contender that judges the old holder dead may be overtaken by another one, and must not remove its fresh lock.
    """
    record(path, pid=0, started="")
    go = path.with_name("go")
    racers = [start(RACE, path, go, ending) for _ in range(10)]
    for racer in racers:
        assert racer.stdout is not None
        racer.stdout.readline()
    go.touch()

    errors = [racer.communicate(timeout=60)[1] for racer in racers]

    assert errors == [""] * 10
    assert [racer.returncode for racer in racers] == [0] * 10


def test_a_root_that_cannot_be_written_is_said_to_be(tmp_path: Path) -> None:
    """A folder that is not there cannot hold a lock."""
    with pytest.raises(RootError, match="cannot be written: No such file or directory"):
        RootLock(tmp_path / "absent" / "orchestrator.lock").__enter__()
