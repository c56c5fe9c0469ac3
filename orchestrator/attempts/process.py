"""A program under its guard, as the attempt that owns it sees it (see orchestrator/attempts/guard.py)."""

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.attempts.guard import descendants

_GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How the program ended; exactly one of `exit_code` and `signal` is None."""

    exit_code: int | None
    signal: int | None
    #: Seconds since 1970.
    ended_at: float
    #: Why the guard stopped it, in words; empty where it ended by itself.
    stopped: str


class GuardedProcess:
    """Starts a program under a guard and hears how it ends. The program dies with the owner of this object."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        cwd: Path,
        output: Path,
        header: str,
        exit_path: Path,
        orphan_grace_s: float,
        leased_until: float | None = None,
    ) -> None:
        #: Leases are renewed from a thread of their own, perhaps in the moment in which the program is let go of.
        self._lock = threading.Lock()
        self._is_closed = False
        self._orphan_grace_s = orphan_grace_s
        control, self._control = os.pipe()
        self._status, status = os.pipe()
        try:
            # -I -S: the guard needs nothing but the standard library, and must start in milliseconds.
            starter = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), str(status)],
                stdin=control,
                stdout=subprocess.DEVNULL,
                pass_fds=[status],
            )
            starter.wait()
        except OSError:
            os.close(self._control)
            os.close(self._status)
            raise
        finally:
            os.close(control)
            os.close(status)
        spec = {
            "argv": list(argv),
            "environ": dict(environ),
            "cwd": str(cwd),
            "output": str(output),
            "header": header,
            "exit_path": str(exit_path),
            "orphan_grace_s": orphan_grace_s,
            "lease_until": leased_until,
        }
        self._tell(json.dumps(spec))
        self._buffer = b""
        self._exit: ExitStatus | None = None
        self.pid = 0
        #: Whether the guard itself died (by SIGKILL); then the program went with it.
        self.is_guard_lost = False
        while not self.pid and not self.is_guard_lost:
            self.wait(timeout_s=60.0)

    def wait(self, timeout_s: float) -> ExitStatus | None:
        """Wait for the end of the program, at most so long; None while it runs."""
        if self._exit is not None or self.is_guard_lost:
            return self._exit
        poll = select.poll()  # select() knows no descriptor beyond 1023, and a large machine has more in flight
        poll.register(self._status, select.POLLIN)
        if poll.poll(1000 * max(0.0, timeout_s)):
            data = os.read(self._status, 65536)
            if not data:
                self.is_guard_lost = True
                return None
            *lines, self._buffer = (self._buffer + data).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
        return self._exit

    def stop(self, grace_s: float) -> None:
        """SIGTERM now, SIGKILL for all that is left after `grace_s` seconds. Returns at once."""
        self._tell(f"stop {grace_s}")

    def renew_lease(self, until: float) -> None:
        """Let the program run until a moment of `clock.boottime`, if nothing else is heard."""
        self._tell(f"lease {until}")

    def cpu_seconds(self) -> float:
        """CPU time of the program and everything below it that is alive; 0 where it cannot be told."""
        ticks = 0
        for pid in [self.pid, *descendants(self.pid)]:
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
                fields = stat.rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Let go of the program, and return when nothing of it is left: at once where its end was told."""
        self.stop(self._orphan_grace_s)
        while self.wait(60.0) is None and not self.is_guard_lost:
            continue
        self.close()

    def close(self) -> None:
        """Let go of the program: if it still runs, its guard ends it. What is told afterwards goes nowhere."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._control)
                os.close(self._status)

    def _tell(self, line: str) -> None:
        data = memoryview(line.encode() + b"\n")
        # A descriptor that was closed may be another file's by now.
        with self._lock, contextlib.suppress(BrokenPipeError):  # the guard has ended; wait() says how
            while data and not self._is_closed:
                data = data[os.write(self._control, data) :]

    def _hear(self, message: dict[str, object]) -> None:
        if message["event"] == "started":
            self.pid = int(str(message["pid"]))
        else:
            self._exit = ExitStatus(
                exit_code=None if message["exit_code"] is None else int(str(message["exit_code"])),
                signal=None if message["signal"] is None else int(str(message["signal"])),
                ended_at=float(str(message["ended_at"])),
                stopped=str(message["stopped"]),
            )
