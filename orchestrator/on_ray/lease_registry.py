"""The registry of leases, an actor on the head: decided in leases.py, kept here."""

from typing import Any

import ray

from orchestrator import clock
from orchestrator.leases import LeaseBook
from sweeps.contracts import RunKey

#: What the name of a registry ends with, after the sweep's id.
REGISTRY_NAME = ".leases"


class LeaseRegistry:
    """Keeps the book of leases on the head; outlives orchestrators."""

    def __init__(self) -> None:
        self._book = LeaseBook(clock.monotonic())

    def renew(self, attempt: str) -> bool:
        return self._book.grant(attempt, clock.monotonic())

    def revoke(self, attempt: str) -> None:
        self._book.revoke(attempt)

    def forget(self, attempt: str) -> None:
        self._book.forget(attempt)

    def revoke_if_over(self, attempt: str, limit_s: float, left_no_trace: bool) -> bool:
        """Give an attempt up if its last grant is older than that, or it left no trace and never had one.

        In one step, so that no renewal comes between.
        """
        never_began = left_no_trace and attempt not in self._book.grants
        is_over = never_began or self._book.age_s(attempt, clock.monotonic()) > limit_s
        if is_over:
            self._book.revoke(attempt)
        return is_over

    def is_there(self) -> bool:
        """Whether anybody answers."""
        return True


# A new book is as good as the old one, and where no orchestrator is, nobody else would open it.
REGISTRY: Any = ray.remote(max_restarts=-1, max_task_retries=0)(LeaseRegistry)


def lease_name(key: RunKey, attempt: int) -> str:
    """What an attempt is called in the book."""
    return f"{key}/{attempt}"
