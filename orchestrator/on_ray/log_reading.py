"""Reads logs as tasks on the cluster."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    # Every worker imports this file: it shall not bring Arrow along.
    from aggregation.logs.spread import Batch, Readings, Spread

_log = logging.getLogger(__name__)


def read_spread(ahead: int | None = None, *, patience_s: float = 15.0) -> "Spread":
    """Reads logs as Ray tasks on the cluster that this process has joined, where their folders must be reachable.

    Args:
        ahead: batches in flight at most; None for two for each CPU.
        patience_s: after so long without the first logs, it is told that no CPU is free.
    """
    cpus = int(ray.cluster_resources().get("CPU", 1))
    most = ahead or max(2, 2 * cpus)

    def spread(function: "Callable[[Batch], Readings]", batches: "Iterable[Batch]") -> "Iterator[Readings]":
        task = ray.remote(num_cpus=1, max_retries=3)(function)
        remaining = iter(batches)
        waiting = deque(task.remote(batch) for batch in islice(remaining, most))
        if waiting and not ray.wait([waiting[0]], timeout=patience_s)[0] and not _has_room():
            _log.warning(
                "No log was read yet: attempts hold the cluster's CPUs (%d). This goes on when one is free; without "
                "--ray the logs are read here.",
                cpus,
            )
        while waiting:
            readings = ray.get(waiting.popleft())
            waiting.extend(task.remote(batch) for batch in islice(remaining, 1))
            yield readings

    return spread


def _has_room() -> bool:
    return float(ray.available_resources().get("CPU", 0.0)) >= 1
