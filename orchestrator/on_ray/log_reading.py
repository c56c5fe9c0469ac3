"""Reads logs as tasks on the cluster."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    # Every worker imports this file: it shall not bring Arrow along.
    from aggregation.logs.spread import Batch, Readings, Spread


def read_spread(ahead: int | None = None) -> "Spread":
    """Reads logs as Ray tasks on the cluster that this process has joined, where their folders must be reachable.

    Args:
        ahead: batches in flight at most; None for two for each CPU.
    """
    most = ahead or max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))

    def spread(function: "Callable[[Batch], Readings]", batches: "Iterable[Batch]") -> "Iterator[Readings]":
        task = ray.remote(num_cpus=1, max_retries=3)(function)
        remaining = iter(batches)
        waiting = deque(task.remote(batch) for batch in islice(remaining, most))
        while waiting:
            readings = ray.get(waiting.popleft())
            waiting.extend(task.remote(batch) for batch in islice(remaining, 1))
            yield readings

    return spread
