"""Pure choices of the orchestrator: whether and when an attempt that ended is followed by another."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.outcomes import Outcome
from sweeps.contracts import RunKey


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How many retries each class of outcome gets within one run, and how long they wait."""

    #: Outcomes that are nobody's fault: retried at once and not counted.
    free: frozenset[Outcome] = frozenset({"preempted", "worker_lost"})
    #: Retries for the others; a class that is absent gets none.
    limits: Mapping[Outcome, int] = field(default_factory=dict)
    #: Wait before the first retry, in seconds; doubles with each further one.
    base_delay_s: float = 10.0
    max_delay_s: float = 600.0

    def retry_delay_s(self, key: RunKey, outcome: Outcome, count: int) -> float | None:
        """Seconds to wait before the next attempt, or None if there shall be none.

        Args:
            count: how many attempts of this run ended with this outcome, this one included.
        """
        if outcome in self.free:
            return 0.0
        if count > self.limits.get(outcome, 0):
            return None
        delay_s = min(self.max_delay_s, self.base_delay_s * 2.0 ** (count - 1))
        return delay_s * (0.5 + 0.5 * _spread(key, outcome, count))


def _spread(key: RunKey, outcome: str, count: int) -> float:
    """A number in [0, 1) that differs between runs but not between replays of one journal."""
    text = f"{key}|{outcome}|{count}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64
