"""Leases: how one can be certain that a trainer on a node that nobody reaches is gone.

A guard ends its trainer when its lease runs out. The holder counts the lease from before it asked for the renewal; the
book notes the moment in which it granted it, which is later. So once a lease and a margin have passed since the last
grant in the book, the trainer is gone, whatever became of its node. Pure: moments are data, from one clock.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class LeaseBook:
    """The last grant of every holder, by the clock of whoever keeps the book."""

    #: When the book was opened: a holder that it does not know may have been granted a lease just before.
    opened_at: float
    grants: dict[str, float] = field(default_factory=dict)

    def grant(self, holder: str, at: float) -> None:
        """Let a holder go on."""
        self.grants[holder] = at

    def age_s(self, holder: str, at: float) -> float:
        """Seconds since the last grant that the holder can have had."""
        return at - self.grants.get(holder, self.opened_at)

    def forget(self, holder: str) -> None:
        """Drop a holder that has given its lease back: it runs nothing."""
        self.grants.pop(holder, None)


def margin_s(lease_s: float) -> float:
    """What is waited beyond a lease, for the guard to kill and for clocks that do not run alike."""
    return 2.0 + 0.1 * lease_s
