"""Leases: how one can be certain that a trainer on a node that nobody reaches is gone.

A guard ends its trainer when its lease runs out. The worker counts the lease from before it asked for the renewal; the
book notes the moment in which it granted it, which is later. So once a lease and a margin have passed since the last
grant in the book, the trainer is gone, whatever became of its node. An attempt that was given up gets no further
grant: a worker that everybody takes for dead, and that lives, loses its trainer as well. Pure: moments are data, from
one clock.
"""

from dataclasses import dataclass, field


class NoLeaseError(Exception):
    """No attempt may begin: the registry grants it no lease, or cannot be asked."""


@dataclass(slots=True)
class LeaseBook:
    """The last grant of every attempt, by the clock of whoever keeps the book."""

    #: When the book was opened: an attempt that it does not know may have been granted a lease just before.
    opened_at: float
    grants: dict[str, float] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)

    def grant(self, attempt: str, at: float) -> bool:
        """Let an attempt go on; False if it was given up."""
        if attempt in self.revoked:
            return False
        self.grants[attempt] = at
        return True

    def revoke(self, attempt: str) -> None:
        """Grant an attempt nothing any more, whoever asks."""
        self.revoked.add(attempt)

    def age_s(self, attempt: str, at: float) -> float:
        """Seconds since the last grant that the attempt can have had."""
        return at - self.grants.get(attempt, self.opened_at)

    def forget(self, attempt: str) -> None:
        """Drop an attempt whose end is known."""
        self.grants.pop(attempt, None)


def margin_s(lease_s: float) -> float:
    """What is waited beyond a lease, for the guard to kill and for clocks that do not run alike."""
    return 2.0 + 0.1 * lease_s
