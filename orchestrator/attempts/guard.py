"""Runs one program so that nothing of it outlives its attempt. Standard library only; started by its path.

The guard forks away from the process that starts it (Ray kills the direct children of a worker first), leads its
own session, and becomes the reaper of every orphan below it, so that no descendant can leave its sight by forking
twice or by opening a session of its own. Its standard input is a pipe whose other end only the attempt holds:

    first line    the program as JSON: argv, environ, cwd, output, header, exit_path, orphan_grace_s, lease_until
    `stop <s>`    SIGTERM, then SIGKILL after s seconds
    `lease <t>`   the lease is good until t, a moment of CLOCK_BOOTTIME: who wrote it may have been frozen since
    end of file   the attempt is gone: as `stop`, with orphan_grace_s

It answers with JSON lines on the file descriptor named by argv[1]: `started`, then `ended` with the exit status,
which also goes to exit_path. Once the program has exited, whatever it left running is killed.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time

#: What is told of a program whose lease was not renewed.
LEASE_RAN_OUT = "its lease ran out"
#: How long a trainer may live on after the machine was suspended for longer than the lease.
_LEASE_LOOK_S = 1.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> bool:
    """Linux's prctl; elsewhere there is none, and False."""
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _boottime() -> float:
    """As orchestrator/clock.py has it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def descendants(root: int) -> list[int]:
    """The live process ids below `root`, from /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    state, parent = file.read().rsplit(")", 1)[1].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


class _Guard:
    def __init__(self, status: int) -> None:
        self._status = status
        self._pid = 0
        self._exit: int | None = None
        self._kill_at: float | None = None
        self._lease_until: float | None = None
        self._reason = ""

    def run(self) -> None:
        buffer = self._read_first_line()
        line, _, rest = buffer.partition(b"\n")
        if not rest and not line:
            return  # the attempt died before it said what to run
        self._spec = json.loads(line)
        self._lease_until = self._spec["lease_until"]
        if self._lease_until is not None and _boottime() >= self._lease_until:
            return  # another attempt may run by now
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        started_at = time.time()
        self._pid = self._start()
        self._say({"event": "started", "pid": self._pid, "at": started_at})
        wakeup, wakeup_end = os.pipe()
        os.set_blocking(wakeup_end, False)
        signal.set_wakeup_fd(wakeup_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        watched = [0, wakeup]
        while self._exit is None:
            self._reap()
            if self._exit is not None:
                break
            ready, _, _ = select.select(watched, [], [], self._patience())
            if wakeup in ready:
                os.read(wakeup, 4096)
            if 0 in ready:
                data = os.read(0, 65536)
                if data:
                    *lines, rest = (rest + data).split(b"\n")
                    for command in lines:
                        self._obey(command.decode())
                else:
                    watched.remove(0)
                    self._stop(self._spec["orphan_grace_s"], "the attempt that watched over it is gone")
            self._enforce()
        self._kill_all()
        code = os.waitstatus_to_exitcode(self._exit)
        status = {
            "event": "ended",
            "pid": self._pid,
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "started_at": started_at,
            "ended_at": time.time(),
            "stopped": self._reason,
        }
        with contextlib.suppress(OSError):  # a full disk: the pipe still tells
            self._write_exit(status)
        self._say(status)

    def _read_first_line(self) -> bytes:
        buffer = b""
        while b"\n" not in buffer:
            data = os.read(0, 65536)
            if not data:
                return b""
            buffer += data
        return buffer

    def _start(self) -> int:
        spec = self._spec
        output = os.open(spec["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with contextlib.suppress(OSError):  # on a full disk the program itself shall say what it lacks
            os.write(output, spec["header"].encode())
        guard = os.getpid()
        pid = os.fork()
        if pid:
            os.close(output)
            return pid
        try:
            os.setsid()
            # The guard has one thread, so its death, and nothing else, is what this signal means.
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:
                os._exit(127)  # it died before this process could ask to follow it
            # Ray's workers block SIGINT and hand that down.
            signal.pthread_sigmask(signal.SIG_SETMASK, set())
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.closerange(3, 4096)
            os.chdir(spec["cwd"])
            os.execvpe(spec["argv"][0], spec["argv"], spec["environ"])
        except OSError as error:
            os.write(2, f"cannot start {spec['argv'][0]!r} in {spec['cwd']!r}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _obey(self, command: str) -> None:
        word, _, number = command.partition(" ")
        if word == "stop":
            self._stop(float(number), "it was asked to stop")
        elif word == "lease":
            self._lease_until = float(number)

    def _stop(self, grace_s: float, reason: str) -> None:
        if self._kill_at is None:
            self._reason = reason
            self._kill_at = time.monotonic() + grace_s
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGTERM)
        self._kill_at = min(self._kill_at, time.monotonic() + grace_s)

    def _enforce(self) -> None:
        """SIGKILL where a grace period or the lease has run out; there is no time for grace after a lease."""
        moment = time.monotonic()
        if self._lease_until is not None and _boottime() >= self._lease_until:
            self._reason = self._reason or LEASE_RAN_OUT
            self._kill_at = moment
        if self._kill_at is not None and moment >= self._kill_at:
            self._kill_all()

    def _patience(self) -> float:
        waits = [60.0]
        if self._kill_at is not None:
            waits.append(self._kill_at - time.monotonic())
        if self._lease_until is not None:
            # Waiting stands still while the machine is suspended, and the lease does not.
            waits += [self._lease_until - _boottime(), _LEASE_LOOK_S]
        return max(0.0, min(waits))

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    self._exit = status

    def _kill_all(self) -> None:
        """Kill every descendant; again and again, since some may be forking."""
        while found := descendants(os.getpid()):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            time.sleep(0.01)
        self._reap()

    def _write_exit(self, status: dict[str, object]) -> None:
        path = self._spec["exit_path"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            json.dump(status, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.tmp", path)

    def _say(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # the attempt may be gone
            os.write(self._status, json.dumps(message).encode() + b"\n")


def main() -> None:
    """Fork away from the starter, then guard."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # ended by its pipe, its lease, or SIGKILL
    _Guard(int(sys.argv[1])).run()


if __name__ == "__main__":
    main()
