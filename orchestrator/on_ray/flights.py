"""Attempts in flight, as the driver sees them."""

from dataclasses import dataclass
from typing import Any

from orchestrator import clock
from orchestrator.attempts.worker import AttemptReport
from orchestrator.commands import LaunchAttempt
from orchestrator.outcomes import Outcome
from sweeps.contracts import RunKey

#: A node and resources on it, which another attempt may follow in.
Place = tuple[object, ...]


class Flight:
    """An attempt in flight as the driver sees it."""

    def __init__(self, key: RunKey, attempt: int, actor: Any, node: str | None, place: Place | None) -> None:
        self.key = key
        self.attempt = attempt
        #: None for an attempt of an earlier orchestrator that no actor owns up to.
        self.actor = actor
        #: Where its actor lives; None where it has none.
        self.node = node
        #: The node and the resources of its actor; None where an earlier orchestrator made it.
        self.place = place
        self.launched_at = clock.monotonic()
        #: When its actor last said anything, in seconds of listening.
        self.heard_at = 0.0
        self.report: AttemptReport | None = None
        self.is_started = False
        self.is_begun = False
        #: With storage=ship: whether it was asked for a parcel, when it is asked again, whether the last answer may be
        #: lost, and whether the root has everything of it.
        self.is_asked = False
        self.ask_at = self.launched_at
        self.is_anew = True
        self.is_in = False
        #: Whether it was told that its node is about to be taken away.
        self.is_warned = False
        #: Since when its actor has been dead or silent, and what that looks like; None while all is well.
        self.doubt: Doubt | None = None


@dataclass(slots=True)
class Doubt:
    """What is feared of an attempt."""

    since: float
    outcome: Outcome
    cause: str
    #: Whether Ray says that the actor is dead; a silent one may still speak.
    is_dead: bool
    #: Whether other runs are likely to end alike on its node.
    is_node_suspect: bool = False


def place_of(command: LaunchAttempt) -> Place:
    """The node and the resources of an actor: another attempt may follow in it that asks for the same."""
    resources = command.resources
    custom = tuple(sorted(resources.custom.items()))
    return command.node, resources.cpus, resources.gpus, resources.memory_bytes, custom
