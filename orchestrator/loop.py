"""The impure loop around the machine: poll, journal, apply, execute, in that order.

A crash between any two of these is recovered by replaying the journal and polling again.
"""

import heapq
import logging
from collections.abc import Callable, Container, Iterable

from orchestrator import clock
from orchestrator.cluster import Cluster
from orchestrator.commands import LaunchAttempt, WakeAt
from orchestrator.events import Event, SpecLost, StopRequested, Woken
from orchestrator.journal import Journal
from orchestrator.machine import apply
from orchestrator.states import SweepState
from sweeps.contracts import RunKey

log = logging.getLogger(__name__)

_POLL_S = 1.0


class Loop:
    """Drives one sweep until nothing is left to do."""

    def __init__(
        self, state: SweepState, journal: Journal, cluster: Cluster, specs: Container[RunKey] | None = None
    ) -> None:
        """Set up.

        Args:
            specs: the runs that can be launched; None for any.
        """
        self._specs = specs
        self._state = state
        self._journal = journal
        self._cluster = cluster
        self._alarms = [run.retry_at for run in state.in_state("backing_off") if run.retry_at is not None]
        heapq.heapify(self._alarms)

    def handle(self, events: Iterable[Event]) -> None:
        """Journal events, fold them into the state, and execute what follows."""
        batch = list(events)
        self._journal.append(batch)  # write-ahead: what is not journaled did not happen
        lost: list[Event] = []
        for event in batch:
            for command in apply(self._state, event):
                if isinstance(command, WakeAt):
                    heapq.heappush(self._alarms, command.at)
                elif isinstance(command, LaunchAttempt) and not self._is_known(command.key):
                    lost.append(SpecLost(at=clock.now(), key=command.key, attempt=command.attempt))
                else:
                    self._cluster.execute(command)
        if lost:
            self.handle(lost)

    def _is_known(self, key: RunKey) -> bool:
        """Whether a run can be launched; one of an earlier launch cannot once its folder is gone."""
        if self._specs is None or key in self._specs:
            return True
        log.warning(
            "%s is not part of this launch, and its run.json is gone: it is left out. "
            "Launch the sweep that has it to make it anew.",
            key,
        )
        return False

    def run(self, *, should_stop: Callable[[], bool], each_round: Callable[[], None]) -> None:
        """Go on until the sweep is finished, or stopped and nothing is in flight.

        Args:
            should_stop: asked every round; once true, attempts are stopped with their grace period.
            each_round: called every round, for what people look at.
        """
        while not self._state.is_finished():
            if should_stop() and not self._state.is_stopping:
                self.handle([StopRequested(at=clock.now())])
                continue
            self.handle(self._cluster.poll(self._patience()))
            moment = clock.now()
            if self._alarms and self._alarms[0] <= moment:
                while self._alarms and self._alarms[0] <= moment:
                    heapq.heappop(self._alarms)
                self.handle([Woken(at=moment)])
            each_round()

    def _patience(self) -> float:
        if not self._alarms:
            return _POLL_S
        return max(0.01, min(_POLL_S, self._alarms[0] - clock.now()))
