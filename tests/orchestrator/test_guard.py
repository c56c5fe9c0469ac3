"""The guard, with real processes: whatever happens to the owner or the program, nothing of it is left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_runs import is_alive, wait_until

from orchestrator import clock
from orchestrator.attempts.process import ExitStatus, GuardedProcess

# Writes its process ids to the file `pids`: a child, a grandchild that forked twice, and one in a session of its own,
# all deaf to SIGTERM. Then does what `then` says.
TREE = """
import os, signal, sys, time
def note():
    with open("pids", "a") as file: file.write(f"{os.getpid()}\\n")
note()
if "polite" not in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for leaves in (False, True):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if leaves:
            os.setsid()
            if os.fork(): os._exit(0)
        if os.fork() == 0:
            os.setsid()
        note()
        time.sleep(600)
while open("pids").read().count("\\n") < 5: time.sleep(0.01)
if "ends" not in sys.argv: time.sleep(600)
"""
TREE_SIZE = 5
#: An owner in a process of its own; it does what it reads.
OWNER = """
import json, os, sys
from pathlib import Path
from orchestrator import clock
from orchestrator.attempts.process import GuardedProcess
words = json.loads(sys.argv[1])
process = GuardedProcess(words["argv"], environ=dict(os.environ), cwd=Path.cwd(), output=Path("out"), header="",
                         exit_path=Path.cwd() / "exit.json", orphan_grace_s=0.3)
print("started", flush=True)
if sys.stdin.readline() == "close\\n":
    process.close()
    print("closed", flush=True)
    sys.stdin.read()
"""
Start = Callable[..., GuardedProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python programs under a guard, and lets go of them at the end."""
    started: list[GuardedProcess] = []

    def start(program: str, *words: str, argv: list[str] | None = None, **options: Any) -> GuardedProcess:
        process = GuardedProcess(
            argv or [sys.executable, "-c", program, *words],
            environ=options.pop("environ", dict(os.environ)),
            cwd=tmp_path,
            output=tmp_path / "out",
            header=options.pop("header", "=== header\n"),
            exit_path=tmp_path / "attempts" / "1.exit.json",
            orphan_grace_s=options.pop("orphan_grace_s", 0.3),
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


def ending(process: GuardedProcess, *, limit_s: float = 20.0) -> ExitStatus:
    deadline = time.monotonic() + limit_s
    while (status := process.wait(deadline - time.monotonic())) is None:
        assert time.monotonic() < deadline, "it did not end"
        assert not process.is_guard_lost, "the guard was lost"
    return status


def pids(folder: Path) -> list[int]:
    """The processes of a TREE, once all are there."""
    path = folder / "pids"
    wait_until(lambda: path.exists() and path.read_text().count("\n") == TREE_SIZE)
    return [int(line) for line in path.read_text().split()]


def wait_until_gone(processes: list[int], *, limit_s: float = 20.0) -> None:
    wait_until(lambda: not any(map(is_alive, processes)), limit_s=limit_s)


# --- how a program ends


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_exit_codes_are_told(start: Start, code: int) -> None:
    """The program's own exit code arrives, and no signal."""
    status = ending(start(f"import sys; sys.exit({code})"))

    assert (status.exit_code, status.signal, status.stopped) == (code, None, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_signals_are_told(start: Start, number: int) -> None:
    """A program that dies by a signal has no exit code."""
    status = ending(start(f"import os; os.kill(os.getpid(), {int(number)})"))

    assert (status.exit_code, status.signal, status.stopped) == (None, int(number), "")


def test_the_exit_is_kept_in_a_file(start: Start, tmp_path: Path) -> None:
    """Whoever comes after a crash of everything else finds how the program ended."""
    process = start("import sys; sys.exit(4)")
    ending(process)

    record = json.loads((tmp_path / "attempts/1.exit.json").read_text())

    assert {name: record[name] for name in ("event", "pid", "exit_code", "signal", "stopped")} == {
        "event": "ended",
        "pid": process.pid,
        "exit_code": 4,
        "signal": None,
        "stopped": "",
    }
    assert 0 <= record["ended_at"] - record["started_at"] < 20


def test_output_is_appended_under_the_header(start: Start, tmp_path: Path) -> None:
    """Both streams of all attempts stand in one file, each attempt under its own line."""
    program = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    for attempt in (1, 2):
        ending(start(program, header=f"=== attempt {attempt}\n"))

    assert (tmp_path / "out").read_text() == "=== attempt 1\nout\nerr\n=== attempt 2\nout\nerr\n"


def test_a_missing_program_is_said_to_be(start: Start, tmp_path: Path) -> None:
    """As in a shell: code 127, and a line in the log."""
    status = ending(start("", argv=["no-such-program", "--task", "x"]))

    assert status.exit_code == 127
    assert (
        (tmp_path / "out")
        .read_text()
        .endswith(f"cannot start 'no-such-program' in '{tmp_path}': No such file or directory\n")
    )


def test_words_are_not_read_by_a_shell(start: Start, tmp_path: Path) -> None:
    """Spaces, quotes, dollars and line breaks arrive as they are."""
    words = ["a b", "'", '"', "$HOME", "`id`", "x\ny", "*", "ü", ""]
    ending(start("import json, sys; print(json.dumps(sys.argv[1:]))", *words))

    assert json.loads((tmp_path / "out").read_text().splitlines()[-1]) == words


# --- what the program inherits


def test_the_program_gets_a_clean_signal_mask(start: Start, tmp_path: Path) -> None:
    """Ray's workers block SIGINT and hand that down; a trainer must be able to hear it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1})
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start(
            "import signal\n"
            "blocked = sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, [])))\n"
            "print(blocked, signal.getsignal(signal.SIGINT) is signal.default_int_handler,\n"
            "      signal.getsignal(signal.SIGTERM).name, signal.getsignal(signal.SIGHUP).name)"
        )
        ending(process)
    finally:
        signal.signal(signal.SIGINT, ignored)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    assert (tmp_path / "out").read_text().splitlines()[-1] == "[] True SIG_DFL SIG_DFL"


def test_the_program_gets_its_own_environment_and_folder(start: Start, tmp_path: Path) -> None:
    """Nothing of the owner's environment leaks in, and the standard input is empty."""
    program = "import os, sys; print(os.getcwd(), sorted(set(os.environ) - {'LC_CTYPE'}), repr(sys.stdin.read()))"
    ending(start(program, environ={"ONLY": "this"}))

    assert (tmp_path / "out").read_text().splitlines()[-1] == f"{tmp_path} ['ONLY'] ''"


def test_the_program_holds_none_of_our_files(start: Start, tmp_path: Path) -> None:
    """A descriptor that leaks would keep the pipe open by which the guard knows that its owner is gone."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    try:
        ending(start("import os; print(sorted(set(map(int, os.listdir('/proc/self/fd'))) - {3}))"))
    finally:
        os.close(reading)
        os.close(writing)

    assert (tmp_path / "out").read_text().splitlines()[-1] == "[0, 1, 2]"


# --- stopping


def test_stop_lets_the_program_save(start: Start, tmp_path: Path) -> None:
    """SIGTERM comes first, and what the program does with it within the grace period counts."""
    process = start(
        "import signal, sys, time\n"
        "def save(*_): open('saved', 'w').close(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "open('ready', 'w').close()\n"
        "time.sleep(600)"
    )
    wait_until((tmp_path / "ready").exists)
    process.stop(10.0)
    status = ending(process)

    assert (status.exit_code, status.signal, status.stopped) == (0, None, "it was asked to stop")
    assert (tmp_path / "saved").exists()


def test_stop_kills_what_is_deaf(start: Start, tmp_path: Path) -> None:
    """After the grace period SIGKILL ends the whole tree, sessions of their own and orphans included."""
    process = start(TREE)
    tree = pids(tmp_path)
    began = time.monotonic()
    process.stop(0.4)
    status = ending(process)

    assert (status.exit_code, status.signal, status.stopped) == (None, signal.SIGKILL, "it was asked to stop")
    assert time.monotonic() - began >= 0.4
    assert not any(map(is_alive, tree))


def test_a_second_stop_can_only_shorten_the_grace(start: Start, tmp_path: Path) -> None:
    """Somebody in a hurry does not wait for the patience of somebody else."""
    process = start(TREE)
    pids(tmp_path)
    process.stop(60.0)
    process.stop(0.1)

    assert ending(process).signal == signal.SIGKILL


@pytest.mark.parametrize("how", ["ends", "polite"])
def test_strays_go_with_the_program(start: Start, tmp_path: Path, how: str) -> None:
    """Once the program has exited, by itself or on SIGTERM, what it left running is killed before the end is told."""
    process = start(TREE, how)
    tree = pids(tmp_path)
    if how == "polite":
        process.stop(30.0)
    status = ending(process)

    assert (status.exit_code, status.signal) == ((0, None) if how == "ends" else (None, signal.SIGTERM))
    assert not any(map(is_alive, tree))


# --- an owner that is gone


def test_letting_go_ends_the_program(start: Start, tmp_path: Path) -> None:
    """A closed pipe means that nobody watches any more."""
    process = start(TREE)
    tree = pids(tmp_path)
    process.close()

    wait_until_gone(tree)
    wait_until((tmp_path / "attempts/1.exit.json").exists)
    record = json.loads((tmp_path / "attempts/1.exit.json").read_text())
    assert (record["signal"], record["stopped"]) == (signal.SIGKILL, "the attempt that watched over it is gone")


def test_what_is_told_after_letting_go_reaches_nobody(start: Start, tmp_path: Path) -> None:
    """A lease may be renewed in the moment in which the attempt ends; the descriptor may be another file's by then."""
    process = start("pass")
    ending(process)
    process.close()
    files = [(tmp_path / str(number)).open("wb") for number in range(8)]  # the lowest numbers that are free
    process.renew_lease(clock.boottime() + 60.0)
    process.stop(1.0)
    process.close()
    for file in files:
        file.close()

    assert [(tmp_path / str(number)).read_bytes() for number in range(8)] == [b""] * 8


def test_an_end_is_over_when_nothing_is_left(start: Start, tmp_path: Path) -> None:
    """What comes after it may begin at once."""
    process = start(TREE)
    tree = pids(tmp_path)
    process.end()

    assert not any(map(is_alive, tree))


def test_a_program_has_its_grace_when_the_owner_is_gone(start: Start, tmp_path: Path) -> None:
    """It can still save where it listens."""
    process = start(
        "import signal, sys, time\n"
        "def save(*_): open('saved', 'w').close(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "open('ready', 'w').close()\n"
        "time.sleep(600)",
        orphan_grace_s=10.0,
    )
    wait_until((tmp_path / "ready").exists)
    process.close()

    wait_until((tmp_path / "saved").exists)
    wait_until_gone([process.pid])


@pytest.mark.parametrize("how", ["kill", "close", "killpg"])
def test_nothing_survives_the_owner(tmp_path: Path, how: str) -> None:
    """The owner is killed, alone or with its process group, or lets go and stays: each time the tree is gone."""
    argv = [sys.executable, "-c", TREE]
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", OWNER, json.dumps({"argv": argv})]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=tmp_path, start_new_session=True) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        assert owner.stdout.readline() == "started\n"
        tree = pids(tmp_path)
        if how == "close":
            owner.stdin.write("close\n")
            owner.stdin.flush()
        elif how == "kill":
            owner.send_signal(signal.SIGKILL)
        else:
            os.killpg(owner.pid, signal.SIGKILL)

        wait_until_gone(tree)
        assert (owner.poll() is None) == (how == "close")


@pytest.mark.parametrize("is_early", [True, False])
def test_the_program_dies_with_its_guard(start: Start, tmp_path: Path, is_early: bool) -> None:
    """Whoever kills the guard itself takes the program with it, and the owner hears of it.

    A guard that died in the moment after it had forked once left its program running for ever: the program had not
    yet asked the kernel to be killed with its parent, and then asked too late.
    """
    process = start("import time; open('ready', 'w').close(); time.sleep(600)")
    if not is_early:
        wait_until((tmp_path / "ready").exists)
    guard = int(Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(guard, signal.SIGKILL)

    wait_until(lambda: process.wait(0.1) is None and process.is_guard_lost)
    wait_until_gone([process.pid])


# --- leases


def test_a_lease_that_runs_out_ends_the_tree(start: Start, tmp_path: Path) -> None:
    """Without a word there is no time for grace: another attempt may begin."""
    process = start(TREE, leased_until=clock.boottime() + 3.0)
    tree = pids(tmp_path)
    status = ending(process)

    assert (status.signal, status.stopped) == (signal.SIGKILL, "its lease ran out")
    assert not any(map(is_alive, tree))


def test_a_lease_that_runs_out_ends_a_grace_period(start: Start, tmp_path: Path) -> None:
    """However much grace a preemption gave: another attempt may begin when the lease is over."""
    process = start(TREE, leased_until=clock.boottime() + 3.0)
    processes = pids(tmp_path)
    process.stop(grace_s=600.0)
    status = ending(process)

    assert (status.signal, status.stopped) == (signal.SIGKILL, "it was asked to stop")
    wait_until_gone(processes)


def test_a_renewed_lease_lets_the_program_go_on(start: Start, tmp_path: Path) -> None:
    """Each renewal counts from the moment in which it arrives."""
    lease_s = 2.0
    process = start("import time; time.sleep(2.5); print('through')", leased_until=clock.boottime() + lease_s)
    while process.wait(0.1) is None and not process.is_guard_lost:
        process.renew_lease(clock.boottime() + lease_s)

    assert (ending(process).exit_code, (tmp_path / "out").read_text()) == (0, "=== header\nthrough\n")


def test_stopping_a_program_that_has_ended_is_harmless(start: Start) -> None:
    """Commands may cross with the end."""
    process = start("")
    status = ending(process)
    process.stop(1.0)
    process.renew_lease(clock.boottime() + 1.0)

    assert process.wait(0.0) == status
