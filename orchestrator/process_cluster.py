"""A cluster of one machine without Ray: attempts are guarded processes of the orchestrator itself."""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator import clock
from orchestrator.attempts.attempt_log import ended_at
from orchestrator.attempts.checkpoint_store import probe
from orchestrator.attempts.dock import Dock, check_storage
from orchestrator.attempts.outbox import check_local
from orchestrator.attempts.worker import ORPHAN_GRACE_S, AttemptReport, AttemptWorker, Terms
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import UNCOUNTED_BYTES, AttemptEnded, AttemptStarted, Event, NodeJoined, TrainingBegan
from orchestrator.host_gpus import CUDA_VISIBLE_DEVICES, names_of, visible_gpus
from sweeps.contracts import RunKey, RunSpec
from sweeps.errors import ClusterError
from sweeps.files import read_records
from sweeps.layout import SweepRoot
from sweeps.settings import StorageSettings

log = logging.getLogger(__name__)

_NODE = "this machine"
_LOOK_EVERY_S = 0.05
_CLOSE_LIMIT_S = 3.0
#: After so long the guard of an attempt has ended it, should it have written nothing.
_GUARD_LIMIT_S = ORPHAN_GRACE_S + 3.0


class ProcessCluster:
    """Runs attempts here. They end with the orchestrator; another one continues from their checkpoints."""

    def __init__(
        self,
        *,
        cpus: float | None = None,
        gpus: float | None = None,
        preemption_command: str | None = None,
        storage: StorageSettings | None = None,
    ) -> None:
        self._storage = storage or StorageSettings()
        self._dock: Dock | None = None
        #: With storage=ship, when an attempt that runs is to be asked for its next parcel.
        self._ask_at: dict[tuple[RunKey, int], float] = {}
        #: Attempts whose last parcel could not be taken in.
        self._refused: set[tuple[RunKey, int]] = set()
        self._terms = Terms(preemption_command=preemption_command)
        self._cpus = float(os.cpu_count() or 1) if cpus is None else cpus
        self._gpus = float(len(visible_gpus(os.environ))) if gpus is None else gpus
        self._workers: dict[tuple[RunKey, int], AttemptWorker] = {}
        self._started: set[tuple[RunKey, int]] = set()
        self._begun: set[tuple[RunKey, int]] = set()
        #: Attempts of an earlier orchestrator that their guards are about to end, if they have not done so.
        self._lost: list[tuple[RunKey, int]] = []
        self._adopted_at = 0.0
        self._is_announced = False

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:
        _check_gpus(self._gpus)
        self._root = root
        self._specs = specs
        check_storage(root, specs, self._storage)
        if self._storage.kind == "ship":
            self._dock = Dock(root, sweep_id, self._storage)
            probe(self._dock.store)
            check_local(self._storage)

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        self._lost.extend(attempts)
        self._adopted_at = clock.monotonic()

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        name = (command.key, command.attempt)
        if isinstance(command, StopAttempt):
            if name in self._workers:
                self._workers[name].stop()
        elif name not in self._workers:
            spec = self._specs[command.key]
            dock = self._dock
            handover = None if dock is None else dock.hand_over(spec, command.attempt, command.fresh_from)
            worker = AttemptWorker(
                spec,
                self._root.run_dir(command.key),
                command.attempt,
                replace(self._terms, visible_gpus=names_of(command.gpus, os.environ)) if command.gpus else self._terms,
                handover=handover,
                fresh_from=command.fresh_from,
            )
            self._workers[name] = worker
            worker.start()

    def poll(self, timeout_s: float) -> list[Event]:
        deadline = clock.monotonic() + timeout_s
        while not (events := self._new_events()) and clock.monotonic() < deadline:
            clock.sleep(min(_LOOK_EVERY_S, timeout_s))
        return events

    def _new_events(self) -> list[Event]:
        at = clock.now()
        events: list[Event] = []
        if not self._is_announced:
            self._is_announced = True
            events.append(
                NodeJoined(
                    at=at,
                    node=_NODE,
                    cpus=self._cpus,
                    gpus=self._gpus,
                    memory_bytes=UNCOUNTED_BYTES,
                    host=_host(),
                )
            )
        for key, attempt in [name for name in self._lost if self._is_gone(*name)]:
            self._lost.remove((key, attempt))
            cause = "the orchestrator that ran it is gone"
            lost = AttemptEnded(at=at, key=key, attempt=attempt, outcome="worker_lost", cause=cause)
            events.append(replace(lost, ended_at=ended_at(self._root.run_dir(key), attempt)))
        for name, worker in list(self._workers.items()):
            report = worker.report()
            if report.pid and name not in self._started:
                self._started.add(name)
                events.append(started_event(*name, report, at))
            if report.has_begun and name not in self._begun:
                self._begun.add(name)
                events.append(TrainingBegan(at=at, key=name[0], attempt=name[1]))
            has_arrived = self._dock is None or self._has_arrived(name, worker, report, self._dock)
            if report.verdict is not None and has_arrived:
                del self._workers[name]
                events.append(ended_event(*name, report, at))
        return events

    def _is_gone(self, key: RunKey, attempt: int) -> bool:
        """Whether the guard of an attempt has ended it, or must have, or there was none."""
        run_dir = self._root.run_dir(key)
        if run_dir.exit_status(attempt).exists() or clock.monotonic() - self._adopted_at > _GUARD_LIMIT_S:
            return True
        if self._dock is not None:
            return not self._dock.was_handed_over(key, attempt)
        return all(line.get("attempt") != attempt for line in read_records(run_dir.attempts))

    def _has_arrived(self, name: tuple[RunKey, int], worker: AttemptWorker, report: AttemptReport, dock: Dock) -> bool:
        """Take in what an attempt has to send, now and then; whether all of one that is over is in."""
        is_over = report.verdict is not None
        moment = clock.monotonic()
        if moment < self._ask_at.get(name, 0.0) and not (is_over and name not in self._refused):
            return False
        self._ask_at[name] = moment + dock.interval_s
        spec = self._specs[name[0]]
        try:
            parcel = worker.parcel(dock.have(spec), is_anew=name in self._refused)
            dock.take(spec.key, name[1], parcel)
            while parcel.has_more:
                parcel = worker.parcel(dock.have(spec), is_anew=False)
                dock.take(spec.key, name[1], parcel)
        except OSError as error:
            # The attempt keeps what the root does not take.
            if name not in self._refused:
                log.warning("%s: the root does not take its logs: %s", spec.key, error)
            self._refused.add(name)
            return False
        self._refused.discard(name)
        if is_over and parcel.is_all:
            worker.discard()
            return True
        return False

    def reports(self) -> Mapping[RunKey, AttemptReport]:
        return {key: worker.report() for (key, _), worker in self._workers.items()}

    def close(self) -> None:
        for worker in self._workers.values():
            worker.stop()
        # Only after an error or a second Ctrl-C is anything left here; what is deaf is ended by its guard.
        deadline = clock.monotonic() + _CLOSE_LIMIT_S
        for worker in self._workers.values():
            worker.wait(timeout_s=max(0.0, deadline - clock.monotonic()))
        self._workers.clear()


def started_event(key: RunKey, attempt: int, report: AttemptReport, at: float) -> AttemptStarted:
    """The event for a report that names a process."""
    return AttemptStarted(
        at=at, key=key, attempt=attempt, host=report.host, pid=report.pid, resumed_step=report.resumed_step
    )


def ended_event(key: RunKey, attempt: int, report: AttemptReport, at: float) -> AttemptEnded:
    """The event for a report that holds a verdict."""
    assert report.verdict is not None, report
    return AttemptEnded(
        at=at,
        key=key,
        attempt=attempt,
        outcome=report.verdict.outcome,
        exit_code=report.exit_code,
        cause=report.verdict.cause,
        evidence=report.verdict.evidence,
        is_node_suspect=report.verdict.is_node_suspect,
        ended_at=report.ended_at,
    )


def _check_gpus(wanted: float) -> None:
    """See that the GPUs which the sweep shall use are among those that this process may use.

    Raises:
        ClusterError: there are more of them.
    """
    if CUDA_VISIBLE_DEVICES in os.environ and wanted > len(visible_gpus(os.environ)):
        raise ClusterError(
            f"cluster.gpus is {wanted:g}, but {CUDA_VISIBLE_DEVICES}={os.environ[CUDA_VISIBLE_DEVICES]!r} leaves "
            f"{len(visible_gpus(os.environ))} of this machine's GPUs to dreamsweep. Name more there, or lower "
            f"cluster.gpus."
        )


def _host() -> str:
    return socket.gethostname()
