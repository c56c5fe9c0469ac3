"""Runs one attempt of one run, on the machine where it executes: check, repair, train, judge, mark as done.

Writes in the run directory, as its only writer while the attempt lives:

    run.json         at the first attempt
    attempts.jsonl   a line at the start of each attempt, completed at its end
    done             last, and only after exit code 0

With `storage=ship` the folder is one of the attempt's own on local disk, and what must come to the root is told in
parcels (orchestrator/attempts/shipping.py).
"""

import errno
import json
import os
import platform
import shutil
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator import clock
from orchestrator.attempts.attempt_log import has_ended_well, write_attempt
from orchestrator.attempts.courier import Courier
from orchestrator.attempts.fresh_start import start_afresh
from orchestrator.attempts.guard import LEASE_RAN_OUT
from orchestrator.attempts.outbox import Outbox, check_local, local_folder, make_local_folder
from orchestrator.attempts.preemption_notice import PreemptionNotice
from orchestrator.attempts.process import ExitStatus, GuardedProcess
from orchestrator.attempts.shipping import Handover, Parcel
from orchestrator.attempts.trainer_environ import trainer_environ
from orchestrator.attempts.watch import Progress, Watch
from orchestrator.outcomes import Outcome, Verdict
from orchestrator.trainers.checkpoint import CheckpointBrokenError
from orchestrator.trainers.registry import trainer_of
from orchestrator.trainers.trainer import Ending, Trainer
from sweeps.contracts import Attempt, RunSpec
from sweeps.errors import DreamsweepError, StorageError
from sweeps.files import size_of, write_atomically
from sweeps.layout import RunDir

#: What a trainer without a lease gets to end itself when its orchestrator has gone, in seconds at most.
ORPHAN_GRACE_S = 2.0
_TICK_S = 1.0
#: Until it trains: others may wait for that.
_FIRST_TICKS_S = 0.2


@dataclass(frozen=True, slots=True)
class Terms:
    """What an attempt owes to its cluster."""

    #: The moment of `clock.boottime` at which the first lease runs out; None where the attempt cannot be cut off.
    leased_until: float | None = None
    #: A program that ends with 0 when this machine is about to be taken away.
    preemption_command: str | None = None
    #: The GPUs of an attempt that holds some, as in `CUDA_VISIBLE_DEVICES`; None where Ray has set that for the worker.
    visible_gpus: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """What a worker tells about its attempt. Once `verdict` is there, nothing of the attempt runs any more."""

    host: str
    #: 0 until the trainer was started.
    pid: int = 0
    started_at: float = 0.0
    resumed_step: int | None = None
    #: Whether it got as far as training.
    has_begun: bool = False
    progress: Progress = field(default_factory=Progress)
    verdict: Verdict | None = None
    exit_code: int | None = None
    ended_at: float = 0.0


class AttemptWorker:
    """One attempt. `start` returns at once; `wait` tells how it goes."""

    def __init__(
        self,
        spec: RunSpec,
        run_dir: RunDir,
        attempt: int,
        terms: Terms | None = None,
        *,
        handover: Handover | None = None,
        fresh_from: int = 0,
    ) -> None:
        """Set up; nothing is touched yet.

        Args:
            run_dir: where the root has the run; with a handover it is not looked at.
            handover: what is known of a root that this machine does not see.
            fresh_from: the first attempt that was to begin from nothing; 0 for none.
        """
        self._spec = spec
        self._terms = terms or Terms()
        self._handover = handover
        self._fresh_from = fresh_from
        #: A moment of `clock.boottime`, after which another attempt may run.
        self._leased_until = self._terms.leased_until
        self._dir = run_dir if handover is None else RunDir(local_folder(handover, attempt))
        self._attempt = attempt
        self._outbox: Outbox | None = None
        self._courier: Courier | None = None
        self._report = AttemptReport(host=socket.gethostname())
        self._changed = threading.Condition()
        self._stop: tuple[Outcome, str] | None = None
        self._process: GuardedProcess | None = None
        self._thread = threading.Thread(target=self._run, name=f"attempt-{spec.key}", daemon=True)

    def start(self) -> None:
        """Begin. May be called again: an attempt starts once."""
        if not self._thread.ident:
            self._thread.start()

    @property
    def is_apart(self) -> bool:
        """Whether what it writes has to be sent to a root that this machine does not see."""
        return self._handover is not None

    def report(self) -> AttemptReport:
        """How the attempt stands now."""
        return self._report

    def wait(self, timeout_s: float, *, is_begun_known: bool = True) -> AttemptReport:
        """Return as soon as the attempt has ended, at the latest after `timeout_s` seconds.

        Args:
            is_begun_known: False to return also as soon as it has begun to train.
        """

        def has_news() -> bool:
            return self._report.verdict is not None or (self._report.has_begun and not is_begun_known)

        with self._changed:
            self._changed.wait_for(has_news, timeout_s)
        return self._report

    def stop(self, outcome: Outcome = "cancelled", cause: str = "stopped on request") -> None:
        """End the attempt with its grace period. Returns at once."""
        self._stop = self._stop or (outcome, cause)

    def renew_lease(self, until: float) -> None:
        """Let the trainer go on until a moment of `clock.boottime`, whatever becomes of the connection to the head."""
        self._leased_until = until
        if self._process is not None:
            self._process.renew_lease(until)

    def parcel(self, have: Mapping[str, int], *, is_anew: bool) -> Parcel:
        """What the root lacks of the attempt; see Outbox.parcel."""
        is_over = self._report.verdict is not None  # read first: what is sent after the end is all
        if self._outbox is None:
            return Parcel(is_all=is_over)
        return self._outbox.parcel(have, is_anew=is_anew)

    def discard(self) -> None:
        """The root has everything of an attempt that is over: remove what it left on this machine."""
        verdict = self._report.verdict
        assert verdict is not None, "it is not over"
        if self._handover is not None:
            if self._courier is not None and verdict.outcome == "succeeded":
                self._courier.settle()
            shutil.rmtree(self._dir.path, ignore_errors=True)

    def _run(self) -> None:
        try:
            verdict, exit_code = self._execute()
        except (CheckpointBrokenError, StorageError) as error:
            verdict, exit_code = Verdict("crashed", str(error)), None
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
                self._process.end()  # after an error it may still run, and another attempt follows the verdict
            if self._courier is not None:
                self._courier.finish()
            if self._outbox is not None:
                self._outbox.close()
        with self._changed:
            self._report = replace(self._report, verdict=verdict, exit_code=exit_code, ended_at=clock.now())
            self._changed.notify_all()

    def _execute(self) -> tuple[Verdict, int | None]:
        if self._dir.done.exists():
            return Verdict("succeeded", "it was done before"), 0
        trainer = trainer_of(self._spec.trainer)
        if self._handover is not None:
            return self._execute_apart(trainer, self._handover)
        self._dir.path.mkdir(parents=True, exist_ok=True)
        self._write_spec()
        if has_ended_well(self._dir):
            # Its attempt was lost between the trainer's end and our marker; a second start would train it again.
            self._mark_done(trainer, clock.now())
            return Verdict("succeeded", "an earlier attempt had finished it"), 0
        set_aside = start_afresh(self._dir, self._fresh_from)
        resumed_step, repairs = trainer.repair(self._dir)
        sizes = self._log_bytes(trainer)
        return self._train(trainer, resumed_step, repairs, seams=sizes, starts=sizes, set_aside=set_aside)

    def _execute_apart(self, trainer: Trainer, handover: Handover) -> tuple[Verdict, int | None]:
        """Run where the root is not seen: begin with what the store has, and leave the rest to parcels."""
        if handover.is_over:
            return Verdict("succeeded", "an earlier attempt had finished it"), 0
        check_local(handover.storage)
        make_local_folder(self._dir.path)
        self._write_spec()
        outbox = Outbox(self._dir, handover, self._attempt, trainer.small_files)
        courier = Courier(trainer, self._dir, handover, outbox, self._attempt, is_leased=self._is_leased)
        carried, notes = courier.fetch(lambda: self._stop is not None)
        resumed_step, repairs = trainer.repair(self._dir)
        seams = outbox.begin([*self._log_bytes(trainer)], carried)
        self._outbox, self._courier = outbox, courier
        courier.start()
        return self._train(
            trainer,
            resumed_step,
            (*notes, *repairs),
            seams=seams,
            starts=self._log_bytes(trainer),
            set_aside=handover.set_aside,
        )

    def _train(
        self,
        trainer: Trainer,
        resumed_step: int | None,
        repairs: tuple[str, ...],
        *,
        seams: Mapping[str, int],
        starts: Mapping[str, int],
        set_aside: str,
    ) -> tuple[Verdict, int | None]:
        """Run the program, and judge how it ends.

        Args:
            seams: where the attempt's own bytes begin in the root's logs.
            starts: where they begin in the logs here.
        """
        launch = trainer.launch(self._spec, self._dir)
        started_at = clock.now()
        record = Attempt(
            attempt=self._attempt,
            host=socket.gethostname(),
            pid=0,
            started_at=started_at,
            resumed_step=resumed_step,
            log_bytes=dict(seams),
            repairs=repairs,
            set_aside=set_aside,
        )
        self._record(record)
        leased_until = self._leased_until
        if leased_until is not None and clock.boottime() >= leased_until:
            return Verdict("worker_lost", "its lease ran out before its trainer could be started"), None
        process = GuardedProcess(
            launch.argv,
            environ=trainer_environ(os.environ, launch.environ, self._spec, self._terms.visible_gpus),
            cwd=launch.cwd,
            output=self._dir.stdout,
            header=_header(self._attempt, started_at, launch.argv, repairs),
            exit_path=self._dir.exit_status(self._attempt),
            # Where a lease bounds it, another attempt waits for its end: a node that goes down is no reason for haste.
            orphan_grace_s=min(trainer.settings.grace_s, ORPHAN_GRACE_S if leased_until is None else float("inf")),
            leased_until=leased_until,
        )
        self._process = process
        record = replace(record, pid=process.pid)
        self._record(record)
        self._report = replace(self._report, pid=process.pid, started_at=started_at, resumed_step=resumed_step)
        watch = Watch(trainer, self._dir, started_at, starts)
        status = self._watch(process, watch, trainer.settings.grace_s)
        verdict = self._verdict(status, watch, trainer)
        ended_at = clock.now()
        record = replace(
            record,
            ended_at=ended_at,
            outcome=verdict.outcome,
            exit_code=status.exit_code if status else None,
            cause=verdict.cause,
            evidence=verdict.evidence,
        )
        self._record(record)
        if verdict.outcome == "succeeded" and self._outbox is None:
            self._mark_done(trainer, ended_at)
        return verdict, record.exit_code

    def _mark_done(self, trainer: Trainer, ended_at: float) -> None:
        record = {"attempt": self._attempt, "ended_at": ended_at}
        write_atomically(self._dir.done, json.dumps(record) + "\n")
        trainer.clean(self._dir)

    def _watch(self, process: GuardedProcess, watch: Watch, grace_s: float) -> ExitStatus | None:
        """Wait for the program's end; end it where it was asked for, or where it gives no sign of life."""
        is_told = False
        notice = PreemptionNotice(self._terms.preemption_command)
        while True:
            status = process.wait(_TICK_S if watch.has_begun and not self._stop else _FIRST_TICKS_S)
            progress = watch.progress()
            with self._changed:
                self._report = replace(self._report, progress=progress, has_begun=watch.has_begun)
                self._changed.notify_all()
            if status is not None or process.is_guard_lost:
                return status
            if self._stop is None and notice.is_given():
                self._stop = ("preempted", "the machine is about to be taken away")
            if self._stop is None:
                self._stop = watch.alarm(clock.monotonic(), process.cpu_seconds)
            if self._stop and not is_told:
                process.stop(grace_s)
                is_told = True

    def _verdict(self, status: ExitStatus | None, watch: Watch, trainer: Trainer) -> Verdict:
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
        if status.stopped == LEASE_RAN_OUT:
            return Verdict("worker_lost", f"{LEASE_RAN_OUT}: the head of its cluster did not answer in time")
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
        return {name: size_of(self._dir.path / name) for name in names}

    def _record(self, record: Attempt) -> None:
        if self._outbox is None:
            write_attempt(self._dir, record)
        elif record.outcome is None:
            self._outbox.started = record
        else:
            self._outbox.ended = record

    def _is_leased(self) -> bool:
        return self._leased_until is None or clock.boottime() < self._leased_until


def _verdict_of(error: OSError) -> Verdict:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Verdict("disk_full", "no space is left where the run is written; free some, then run again")
    if error.errno == errno.EROFS:
        return Verdict("disk_full", f"the file system is read-only: {error.filename}; mend that, then run again")
    return Verdict("crashed", f"the attempt cannot go on: {error.strerror or error} ({error.filename})")


def _header(attempt: int, started_at: float, argv: tuple[str, ...], repairs: tuple[str, ...]) -> str:
    lines = [
        f"=== attempt {attempt}, {clock.stamp(started_at)}: {' '.join(argv)}",
        *(f"=== {line}" for line in repairs),
    ]
    return "".join(f"{line}\n" for line in lines)
