"""What happened, in the past tense. The journal holds these, and nothing else changes the state.

Every event carries `at`, seconds since 1970: decisions never read a clock.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.outcomes import Outcome
from orchestrator.policy import Limits
from sweeps.contracts import Resources, RunKey

#: The memory of a node where nobody counts it: room for everything.
UNCOUNTED_BYTES = 2**60


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOpened:
    """An orchestrator took the root: a fresh one, or one that continues."""

    at: float
    #: Stays the same for the life of the root; attempts are named after it.
    sweep_id: str
    host: str
    pid: int
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlanned:
    """A run is part of the present launch: it shall be done, if it is not done already."""

    at: float
    key: RunKey
    #: Suite × method: what shares its failures.
    group: str
    resources: Resources = field(default_factory=Resources)
    #: Lower goes first; seeds come before positions in the plan.
    priority: int = 0
    #: The fingerprint of the run's identity.
    digest: str = ""
    #: The number of its latest attempt that the run's folder tells of; the journal may be another one, or behind.
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFoundDone:
    """The run's `done` marker is on disk: the truth, whatever the journal says."""

    at: float
    key: RunKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFoundUndone:
    """The journal says done, but the marker is gone: somebody removed the results to have them made anew."""

    at: float
    key: RunKey


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeJoined:
    """A node can hold attempts. Sent again when its resources change."""

    at: float
    node: str
    cpus: float
    gpus: float = 0.0
    memory_bytes: int = 0
    custom: Mapping[str, float] = field(default_factory=dict)
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLeft:
    """A node is gone. Says nothing about the attempts on it: each of them ends by an event of its own."""

    at: float
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """The trainer of an attempt runs."""

    at: float
    key: RunKey
    attempt: int
    host: str = ""
    pid: int = 0
    #: Policy step of the checkpoint it resumed from.
    resumed_step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBegan:
    """An attempt got as far as training: its task, options and environment are sound."""

    at: float
    key: RunKey
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """An attempt is over for certain: no process of it writes any more."""

    at: float
    key: RunKey
    attempt: int
    outcome: Outcome
    exit_code: int | None = None
    cause: str = ""
    evidence: tuple[str, ...] = ()
    #: Whether the node or its GPU is suspected, rather than the run.
    is_node_suspect: bool = False
    #: When it ended, which may be long before an orchestrator heard of it; None where nobody knows.
    ended_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecLost:
    """An attempt cannot be launched: this launch does not plan its run, and the run's run.json is gone."""

    at: float
    key: RunKey
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRetried:
    """Somebody asked for a failed or cancelled run to be tried again, with all its retries anew."""

    at: float
    key: RunKey
    #: Whether it shall begin from nothing: its logs and checkpoints are put aside.
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled:
    """Somebody asked for a run to be given up; its attempt is stopped. Only a retry brings it back."""

    at: float
    key: RunKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPaused:
    """Somebody asked for a run to wait; its attempt is stopped, and goes on from its checkpoint later."""

    at: float
    key: RunKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """Somebody asked for a paused run to go on."""

    at: float
    key: RunKey


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReleased:
    """Somebody asked for a group that is held back to go on, with a canary first."""

    at: float
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """The orchestrator shall end: nothing starts any more, and attempts in flight are stopped."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """A moment that a `WakeAt` asked for has come."""

    at: float


Event = (
    SweepOpened
    | RunPlanned
    | RunFoundDone
    | RunFoundUndone
    | NodeJoined
    | NodeLeft
    | AttemptStarted
    | TrainingBegan
    | AttemptEnded
    | SpecLost
    | RunRetried
    | RunCancelled
    | RunPaused
    | RunResumed
    | GroupReleased
    | StopRequested
    | Woken
)
_TYPES: Mapping[str, type[Any]] = {kind.__name__: kind for kind in Event.__args__}


def event_to_json(event: Event) -> dict[str, Any]:
    """The form that stands in the journal."""
    record = asdict(event)
    if "key" in record:
        record["key"] = str(event.key)  # type: ignore[union-attr]
    return {"event": type(event).__name__, **record}


def event_from_json(record: Mapping[str, Any]) -> Event:
    """Read what `event_to_json` wrote.

    Raises:
        KeyError: the kind of event is not known.
        TypeError: a field is missing or not known.
    """
    fields = dict(record)
    kind = _TYPES[fields.pop("event")]
    if "key" in fields:
        fields["key"] = RunKey.parse(fields["key"])
    if "resources" in fields:
        fields["resources"] = Resources(**fields["resources"])
    if "limits" in fields:
        fields["limits"] = Limits(**fields["limits"])
    if "evidence" in fields:
        fields["evidence"] = tuple(fields["evidence"])
    event: Event = kind(**fields)
    return event
