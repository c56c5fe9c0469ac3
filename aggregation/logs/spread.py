"""Reads many logs, here or elsewhere: the function, its tasks and its results are values that travel.

A spread applies `read_batch` to each batch and yields the results in the order of the batches, whatever order they
come back in. It takes batches only as fast as results are taken, so that no more than a few are in memory.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from aggregation.logs.run_reader import Reading, ReadTask, read_run
from aggregation.logs.small_logs import read_small


@dataclass(frozen=True, slots=True)
class Unread:
    """A log that could not be opened or read."""

    reason: str


#: Logs that are read together.
Batch = tuple[ReadTask, ...]
Readings = list["Reading | Unread"]
#: Applies a function to each batch, here or elsewhere, and yields the results in the order of the batches.
Spread = Callable[[Callable[[Batch], Readings], Iterable[Batch]], Iterator[Readings]]
_BATCH_LOGS = 64
_BATCH_BYTES = 1 << 21


def batches(tasks: Sequence[ReadTask], sizes: Sequence[int]) -> Iterator[Batch]:
    """Tasks in batches of not too many logs and bytes, in their order.

    Args:
        tasks: What to read.
        sizes: The new bytes of each.
    """
    batch: list[ReadTask] = []
    held = 0
    for task, size in zip(tasks, sizes, strict=True):
        if batch and (len(batch) == _BATCH_LOGS or held + size > _BATCH_BYTES):
            yield tuple(batch)
            batch, held = [], 0
        batch.append(task)
        held += size
    if batch:
        yield tuple(batch)


def read_batch(batch: Batch) -> Readings:
    """Read some logs; one that cannot be read is told, since it must not end the collection of the others."""
    small = read_small(batch) if len(batch) > 1 else {}
    readings: Readings = []
    for number, task in enumerate(batch):
        found = small.get(number)
        if isinstance(found, OSError):
            readings.append(_unread(task, found))
        else:
            readings.append(read_or_tell(task) if found is None else found)
    return readings


def read_or_tell(task: ReadTask) -> Reading | Unread:
    """Read one log alone."""
    try:
        return read_run(task)
    except OSError as error:
        return _unread(task, error)


def read_here(function: Callable[[Batch], Readings], tasks: Iterable[Batch]) -> Iterator[Readings]:
    """Read with a few threads of this process, never more than a few batches ahead."""
    readers = max(len(os.sched_getaffinity(0)), 1)
    with ThreadPoolExecutor(readers) as pool:
        yield from in_order(pool, function, tasks, ahead=readers + 1)


def read_in_turn(function: Callable[[Batch], Readings], tasks: Iterable[Batch]) -> Iterator[Readings]:
    """Read without threads, which on little data do not much more than to hand the interpreter over."""
    return map(function, tasks)


def in_order(
    pool: Executor, function: Callable[[Batch], Readings], tasks: Iterable[Batch], *, ahead: int
) -> Iterator[Readings]:
    """The results of a pool in the order of the tasks, with at most `ahead` of them under way or waiting."""
    remaining = iter(tasks)
    waiting: list[Future[Readings]] = [pool.submit(function, task) for task in islice(remaining, ahead)]
    while waiting:
        readings = waiting.pop(0).result()
        waiting += [pool.submit(function, task) for task in islice(remaining, 1)]
        yield readings


def _unread(task: ReadTask, error: OSError) -> Unread:
    return Unread(f"{task.path} cannot be read: {error.strerror or error}.")
