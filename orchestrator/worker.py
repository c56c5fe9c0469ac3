"""Runs one attempt of one run, on the machine where it executes: check, repair, train, judge, mark as done.

Writes in the run directory, as its only writer while the attempt lives:

    run.json         at the first attempt
    attempts.jsonl   a line at the start of each attempt, completed at its end
    done             last, and only after exit code 0
"""

import errno
import json
import os
import platform
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator import clock
from orchestrator.outcomes import Outcome, Verdict
from orchestrator.process import ExitStatus, GuardedProcess
from orchestrator.tail import LogTail
from orchestrator.trainers.registry import trainer_of
from orchestrator.trainers.trainer import Ending, Trainer
from sweeps.contracts import Attempt, RunSpec
from sweeps.errors import DreamsweepError
from sweeps.files import read_records, write_atomically
from sweeps.layout import RunDir

_TICK_S = 1.0
#: How much of the output a verdict may be based on.
_JUDGED_BYTES = 64 * 1024
# Set by Ray or Kubernetes for their own workers; the trainer would take them for its own settings or for secrets.
_SCRUBBED_PREFIXES = ("RAY_",)
_SCRUBBED = ("JOB_COMPLETION_INDEX", "PYTHONBREAKPOINT", "OMP_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, as its log tells."""

    #: Environment frames of the last finished episode.
    step: int = 0
    #: Of the last finished episode.
    score: float | None = None
    #: When the log last grew; seconds since 1970.
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """What a worker tells about its attempt. Once `verdict` is there, nothing of the attempt runs any more."""

    host: str
    #: 0 until the trainer was started.
    pid: int = 0
    started_at: float = 0.0
    resumed_step: int | None = None
    progress: Progress = Progress()
    verdict: Verdict | None = None
    exit_code: int | None = None
    ended_at: float = 0.0


class AttemptWorker:
    """One attempt. `start` returns at once; `wait` tells how it goes."""

    def __init__(self, spec: RunSpec, run_dir: RunDir, attempt: int) -> None:
        self._spec = spec
        self._dir = run_dir
        self._attempt = attempt
        self._report = AttemptReport(host=socket.gethostname())
        self._changed = threading.Condition()
        self._stop: tuple[Outcome, str] | None = None
        self._process: GuardedProcess | None = None
        self._thread = threading.Thread(target=self._run, name=f"attempt-{spec.key}", daemon=True)

    def start(self) -> None:
        """Begin. May be called again: an attempt starts once."""
        if not self._thread.ident:
            self._thread.start()

    def report(self) -> AttemptReport:
        """How the attempt stands now."""
        return self._report

    def wait(self, timeout_s: float) -> AttemptReport:
        """Return as soon as the attempt has ended, at the latest after `timeout_s` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._report.verdict is not None, timeout_s)
        return self._report

    def stop(self, outcome: Outcome = "cancelled", cause: str = "stopped on request") -> None:
        """End the attempt with its grace period. Returns at once."""
        self._stop = self._stop or (outcome, cause)

    def _run(self) -> None:
        try:
            verdict, exit_code = self._execute()
        except DreamsweepError as error:
            verdict, exit_code = Verdict("misconfigured", str(error)), None
        except OSError as error:
            verdict, exit_code = _verdict_of(error), None
        except Exception as error:  # the orchestrator must hear of a mistake of ours like of any other failure
            verdict, exit_code = (
                Verdict("crashed", f"the attempt failed by itself: {type(error).__name__}: {error}"),
                None,
            )
        finally:
            if self._process is not None:
                self._process.close()
        with self._changed:
            self._report = replace(self._report, verdict=verdict, exit_code=exit_code, ended_at=clock.now())
            self._changed.notify_all()

    def _execute(self) -> tuple[Verdict, int | None]:
        if self._dir.done.exists():
            return Verdict("succeeded", "it was done before"), 0
        trainer = trainer_of(self._spec.trainer)
        self._dir.path.mkdir(parents=True, exist_ok=True)
        self._write_spec()
        resumed_step, repairs = trainer.repair(self._dir)
        launch = trainer.launch(self._spec, self._dir)
        started_at = clock.now()
        record = Attempt(
            attempt=self._attempt,
            host=socket.gethostname(),
            pid=0,
            started_at=started_at,
            resumed_step=resumed_step,
            log_bytes=self._log_bytes(trainer),
            repairs=repairs,
        )
        self._write_attempt(record)
        output_start = _size(self._dir.stdout)
        process = GuardedProcess(
            launch.argv,
            environ=trainer_environ(os.environ, launch.environ, self._spec),
            cwd=launch.cwd,
            output=self._dir.stdout,
            header=_header(self._attempt, started_at, launch.argv, repairs),
            exit_path=self._dir.exit_status(self._attempt),
            orphan_grace_s=min(2.0, trainer.settings.grace_s),
        )
        self._process = process
        record = replace(record, pid=process.pid)
        self._write_attempt(record)
        self._report = replace(self._report, pid=process.pid, started_at=started_at, resumed_step=resumed_step)
        watch = _Watch(trainer, self._dir, output_start, started_at, record.log_bytes)
        status = self._watch(process, watch, trainer.settings.grace_s)
        verdict = self._verdict(status, watch, trainer)
        record = replace(
            record,
            ended_at=clock.now(),
            outcome=verdict.outcome,
            exit_code=status.exit_code if status else None,
            cause=verdict.cause,
            evidence=verdict.evidence,
        )
        self._write_attempt(record)
        if verdict.outcome == "succeeded":
            write_atomically(self._dir.done, json.dumps({"attempt": self._attempt, "ended_at": record.ended_at}) + "\n")
            trainer.clean(self._dir)
        return verdict, record.exit_code

    def _watch(self, process: GuardedProcess, watch: "_Watch", grace_s: float) -> ExitStatus | None:
        """Wait for the program's end; end it where it was asked for, or where it gives no sign of life."""
        is_told = False
        while True:
            status = process.wait(0.2 if self._stop and not is_told else _TICK_S)
            if status is not None or process.is_guard_lost:
                self._report = replace(self._report, progress=watch.progress())
                return status
            self._report = replace(self._report, progress=watch.progress())
            if self._stop is None:
                self._stop = watch.alarm(clock.now())
            if self._stop and not is_told:
                process.stop(grace_s)
                is_told = True

    def _verdict(self, status: ExitStatus | None, watch: "_Watch", trainer: Trainer) -> Verdict:
        ending = Ending(
            exit_code=status.exit_code if status else None,
            signal=status.signal if status else None,
            text=watch.last_output(),
            has_started=watch.has_started,
            has_diverged=watch.has_diverged,
        )
        # It may have finished in the moment in which it was told to stop.
        if self._stop is not None and ending.exit_code != 0:
            return Verdict(self._stop[0], self._stop[1], tuple(ending.text.splitlines()[-3:]))
        if status is None:
            return Verdict("crashed", "its guard was killed, and the trainer with it")
        return trainer.verdict(ending)

    def _write_spec(self) -> None:
        if not self._dir.spec.exists():
            record = {
                **self._spec.to_json(),
                "host": socket.gethostname(),
                "versions": {"python": platform.python_version()},
            }
            write_atomically(self._dir.spec, json.dumps(record, indent=2) + "\n")

    def _log_bytes(self, trainer: Trainer) -> dict[str, int]:
        names = dict.fromkeys([trainer.score_log.file, self._dir.metrics.name, self._dir.stdout.name])
        return {name: _size(self._dir.path / name) for name in names}

    def _write_attempt(self, record: Attempt) -> None:
        earlier = [line for line in read_records(self._dir.attempts) if line.get("attempt") != self._attempt]
        lines = [*earlier, record.to_json()]
        write_atomically(self._dir.attempts, "".join(json.dumps(line) + "\n" for line in lines))


class _Watch:
    """Follows the files of a running attempt: progress, signs of life, and the alarms that end it."""

    def __init__(
        self, trainer: Trainer, run_dir: RunDir, output_start: int, started_at: float, log_bytes: Mapping[str, int]
    ) -> None:
        self._trainer = trainer
        self._started_at = started_at
        self._output_path = run_dir.stdout
        self._output_start = output_start
        log = trainer.score_log
        self._scores = LogTail(run_dir.path / log.file, log_bytes.get(log.file, 0))
        self._metrics = LogTail(run_dir.metrics, log_bytes.get(run_dir.metrics.name, 0))
        self._output = LogTail(run_dir.stdout, output_start)
        self._progress = Progress(at=started_at)
        self._alive_at = started_at
        self.has_started = False
        self.has_diverged = False

    def progress(self) -> Progress:
        """Read what is new in all the logs, and tell how far the run is."""
        moment = clock.now()
        scores, metrics, output = self._scores.read(), self._metrics.read(), self._output.read()
        if scores or metrics or output:
            self._alive_at = moment
        self.has_started = self.has_started or self._trainer.has_started(output)
        self.has_diverged = self.has_diverged or self._trainer.has_diverged(metrics)
        for line in reversed(scores.splitlines()):
            point = self._point(line)
            if point is not None:
                self._progress = Progress(point[0], point[1], moment)
                break
        return self._progress

    def _point(self, line: str) -> tuple[int, float] | None:
        log = self._trainer.score_log
        try:
            record: dict[str, Any] = json.loads(line)
            return int(record[log.step_key]), float(record[log.score_key])
        except (ValueError, KeyError, TypeError):
            return None

    def alarm(self, moment: float) -> tuple[Outcome, str] | None:
        """Why the attempt must be ended now, if it must."""
        settings = self._trainer.settings
        if self.has_diverged:
            return "diverged", "the losses are NaN"
        if settings.startup_deadline_s and not self.has_started:
            if moment - self._started_at > settings.startup_deadline_s:
                return "stalled", f"it did not begin to train within {settings.startup_deadline_s:g} s"
            return None
        if settings.heartbeat_s and moment - self._alive_at > settings.heartbeat_s:
            return "stalled", f"none of its logs grew for {settings.heartbeat_s:g} s"
        return None

    def last_output(self) -> str:
        with open(self._output_path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._output_start, end - _JUDGED_BYTES))
            return file.read().decode("utf-8", "replace")


def trainer_environ(own: Mapping[str, str], wanted: Mapping[str, str], spec: RunSpec) -> dict[str, str]:
    """The environment of a trainer: the worker's, without what Ray put there for itself.

    A run without GPUs must see none: Ray leaves every GPU of the node visible to it.
    """
    environ = {
        name: value for name, value in own.items() if name not in _SCRUBBED and not name.startswith(_SCRUBBED_PREFIXES)
    }
    environ["OMP_NUM_THREADS"] = str(max(1, int(spec.resources.cpus)))
    if spec.resources.gpus == 0:
        environ["CUDA_VISIBLE_DEVICES"] = ""
    elif spec.resources.gpus < 1:
        # Several trainers share the device; each leaves a tenth of its share for what JAX allocates beside its pool.
        environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * spec.resources.gpus:.3f}"
    return {**environ, **wanted}


def _verdict_of(error: OSError) -> Verdict:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Verdict("disk_full", "no space is left where the run is written; free some, then run again")
    return Verdict("crashed", f"the run directory cannot be used: {error.strerror} ({error.filename})")


def _header(attempt: int, started_at: float, argv: tuple[str, ...], repairs: tuple[str, ...]) -> str:
    lines = [
        f"=== attempt {attempt}, {clock.stamp(started_at)}: {' '.join(argv)}",
        *(f"=== {line}" for line in repairs),
    ]
    return "".join(f"{line}\n" for line in lines)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
