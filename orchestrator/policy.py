"""Pure choices of the orchestrator: retries, what holds a group back, what sets a node aside, who goes first."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.outcomes import Outcome
from sweeps.contracts import RunKey

#: Outcomes that are nobody's fault: retried and never counted.
FREE: frozenset[Outcome] = frozenset({"preempted", "worker_lost"})

_DEFAULT_RETRIES: Mapping[Outcome, int] = {"out_of_memory": 2, "crashed": 2, "stalled": 2}
#: A free retry waits only where one loss follows another.
_FREE_DELAY_FROM = 3
_FREE_DELAY_S = 5.0
#: A second, doubled so often, is longer than any wait.
_MOST_DOUBLINGS = 60
#: The starts of a group among which failures of one cause are counted.
_HOLD_STARTS = 10
#: So many different runs that fail on a node one after another set it aside.
_SUSPICIOUS_RUNS = 3
#: After so many launches past a better-ranked run that fits nowhere, a node is kept free for it.
PASSES_BEFORE_RESERVATION = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an orchestrator was told to keep to. Journaled, so that a replay decides the same."""

    #: Attempts in flight at most.
    max_concurrent: int | None = None
    #: GPU hours of all attempts together, after which nothing starts any more.
    max_gpu_hours: float | None = None
    #: Retries per run for each outcome; an outcome that is absent gets none.
    retries: Mapping[Outcome, int] = field(default_factory=lambda: dict(_DEFAULT_RETRIES))
    #: Wait before the first retry, in seconds; doubles with each further one.
    retry_delay_s: float = 10.0
    max_retry_delay_s: float = 600.0
    #: Failures of one cause within ten starts that hold a group back; None for no such rule.
    hold_after: int | None = 5
    #: Whether one run of each group must get as far as training before the others start.
    canary: bool = True


def retry_delay_s(limits: Limits, key: RunKey, outcome: Outcome, outcomes: Sequence[Outcome]) -> float | None:
    """Seconds to wait before the next attempt, or None if there shall be none.

    Args:
        outcome: how the latest attempt ended.
        outcomes: how all attempts of the run ended since it was planned, the latest included.
    """
    if outcome in FREE:
        losses = 0
        for earlier in reversed(outcomes):
            if earlier not in FREE:
                break
            losses += 1
        if losses < _FREE_DELAY_FROM:
            return 0.0
        return _doubled(_FREE_DELAY_S, losses - _FREE_DELAY_FROM, limits.max_retry_delay_s)
    count = list(outcomes).count(outcome)
    if count > limits.retries.get(outcome, 0):
        return None
    delay_s = _doubled(limits.retry_delay_s, count - 1, limits.max_retry_delay_s)
    return delay_s * (0.5 + 0.5 * _spread(key, outcome, count))


def hold_reason(limits: Limits, recent: Sequence[tuple[Outcome, str]]) -> str | None:
    """Why a group shall be held back after its latest ending, or None.

    Args:
        recent: outcome and cause of the endings of the group's latest starts, oldest first.
    """
    for outcome, cause in recent:
        if outcome == "misconfigured":
            return f"misconfigured: {cause}"
    if limits.hold_after is None:
        return None
    starts = list(recent)[-_HOLD_STARTS:]
    failures = [ending for ending in starts if ending[0] not in ("succeeded", *FREE, "cancelled")]
    for ending in dict.fromkeys(failures):
        if failures.count(ending) >= limits.hold_after:
            return f"{failures.count(ending)} of {len(starts)} starts ended alike ({ending[0]}): {ending[1]}"
    return None


def is_node_suspect(failed_runs: int) -> bool:
    """Whether a node is set aside, given how many different runs failed on it since one succeeded."""
    return failed_runs >= _SUSPICIOUS_RUNS


def trimmed_starts(recent: list[tuple[Outcome, str]]) -> list[tuple[Outcome, str]]:
    """The starts that `hold_reason` looks at."""
    return recent[-_HOLD_STARTS:]


def _doubled(first_s: float, times: int, most_s: float) -> float:
    """A wait that has doubled so many times; of a thousand endings in a row the power is no float any more."""
    return min(most_s, first_s * 2.0 ** min(times, _MOST_DOUBLINGS))


def _spread(key: RunKey, outcome: str, count: int) -> float:
    """A number in [0, 1) that differs between runs but not between replays of one journal."""
    text = f"{key}|{outcome}|{count}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64
