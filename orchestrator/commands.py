"""What the cluster must now do, in the imperative. Each is idempotent by (key, attempt)."""

from dataclasses import dataclass, field

from sweeps.contracts import Resources, RunKey


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchAttempt:
    """Start an attempt of a run on a node that has room for it."""

    key: RunKey
    attempt: int
    node: str
    resources: Resources = field(default_factory=Resources)
    #: Which of the node's GPUs it holds, by position; one entry for a fraction.
    gpus: tuple[int, ...] = ()
    #: The first attempt that was to begin from nothing, on request; 0 for none.
    fresh_from: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAttempt:
    """End an attempt: SIGTERM, its grace period, SIGKILL."""

    key: RunKey
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeAt:
    """Send `Woken` at a moment, in seconds since 1970."""

    at: float


Command = LaunchAttempt | StopAttempt | WakeAt
