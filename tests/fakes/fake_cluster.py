"""A cluster in memory: attempts end as their run's mode says, at the next poll, and nothing real is started."""

from collections.abc import Mapping, Sequence

from orchestrator import clock
from orchestrator.attempts.watch import Progress
from orchestrator.attempts.worker import AttemptReport
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import AttemptEnded, AttemptStarted, Event, NodeJoined
from orchestrator.outcomes import Outcome
from sweeps.contracts import RunKey, RunSpec
from sweeps.layout import SweepRoot

_ENDINGS: Mapping[object, tuple[Outcome, int | None]] = {
    "train": ("succeeded", 0),
    "fail": ("crashed", 1),
    "full": ("disk_full", 1),
}


class FakeCluster:
    """Implements the Cluster seam; a mode that is not listed above goes on until it is stopped."""

    def __init__(self, *, cpus: float = 4.0) -> None:
        self._cpus = cpus
        self._flights: dict[tuple[RunKey, int], AttemptReport] = {}
        self._pending: list[Event] = []
        #: Every command, in order, repeated ones too.
        self.commands: list[LaunchAttempt | StopAttempt] = []
        self.is_open = False

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:  # noqa: ARG002
        self._specs = specs
        self.is_open = True
        self._pending.append(NodeJoined(at=clock.now(), node="fake", cpus=self._cpus, memory_bytes=2**40, host="fake"))

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        for key, attempt in attempts:
            self._end(key, attempt, "worker_lost", None)

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        self.commands.append(command)
        name = (command.key, command.attempt)
        if isinstance(command, StopAttempt):
            if self._flights.pop(name, None):
                self._end(*name, "cancelled", None)
        elif name not in self._flights:
            spec = self._specs[command.key]
            self._flights[name] = AttemptReport(host="fake", pid=1, progress=Progress(step=spec.schedule.frames))
            self._pending.append(AttemptStarted(at=clock.now(), key=name[0], attempt=name[1], host="fake", pid=1))
            ending = _ENDINGS.get(spec.flags.get("mode"))
            if ending:
                self._end(*name, *ending)

    def poll(self, timeout_s: float) -> list[Event]:
        if not self._pending:
            clock.sleep(min(timeout_s, 0.01))
        events, self._pending = self._pending, []
        for event in events:
            if isinstance(event, AttemptEnded):
                self._flights.pop((event.key, event.attempt), None)
        return events

    def reports(self) -> Mapping[RunKey, AttemptReport]:
        return {key: report for (key, _), report in self._flights.items()}

    def close(self) -> None:
        self._flights.clear()
        self.is_open = False

    def _end(self, key: RunKey, attempt: int, outcome: Outcome, exit_code: int | None) -> None:
        cause = "" if outcome == "succeeded" else f"the fake {outcome}"
        self._pending.append(
            AttemptEnded(at=clock.now(), key=key, attempt=attempt, outcome=outcome, exit_code=exit_code, cause=cause)
        )
