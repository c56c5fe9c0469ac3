"""The seam between deciding and doing: what the loop needs of whatever executes attempts."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.attempts.worker import AttemptReport
from orchestrator.commands import LaunchAttempt, StopAttempt
from orchestrator.events import Event
from sweeps.contracts import RunKey, RunSpec
from sweeps.layout import SweepRoot


class Cluster(Protocol):
    """Executes attempts on nodes, and reports what happened.

    An implementation is used by one thread. It never decides: it launches what it is told to launch, on the node
    that it is told, and reports an attempt as ended only when no process of it is left.
    """

    def open(self, root: SweepRoot, sweep_id: str, specs: Mapping[RunKey, RunSpec]) -> None:
        """Connect, for the runs of one sweep; `specs` may grow later.

        Raises:
            ClusterError: it cannot be started or joined.
        """
        ...

    def adopt(self, attempts: Sequence[tuple[RunKey, int]]) -> None:
        """Take over attempts that an earlier orchestrator launched.

        For each, `poll` will report that it goes on, or how it ended, or that it is lost.
        """
        ...

    def execute(self, command: LaunchAttempt | StopAttempt) -> None:
        """Do what the command says, without waiting for it. Repeating a command changes nothing."""
        ...

    def poll(self, timeout_s: float) -> list[Event]:
        """What happened since the last call; waits for something to happen, at most `timeout_s` seconds."""
        ...

    def reports(self) -> Mapping[RunKey, AttemptReport]:
        """The latest word from every attempt in flight. Advisory: for people, never for decisions."""
        ...

    def close(self) -> None:
        """Disconnect. Attempts that outlive the connection go on; the others are ended."""
        ...
