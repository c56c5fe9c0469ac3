"""Reads many logs, here or elsewhere: the function, its tasks and its results are values that travel.

A spread applies `read_or_tell` to each task and yields the results in the order of the tasks, whatever order they
come back in. It takes tasks only as fast as results are taken, so that no more than a few logs are in memory.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from aggregation.run_reader import Reading, ReadTask, read_run


@dataclass(frozen=True, slots=True)
class Unread:
    """A log that could not be opened or read."""

    reason: str


#: Applies a function to each task, here or elsewhere, and yields the results in the order of the tasks.
Spread = Callable[[Callable[[ReadTask], "Reading | Unread"], Iterable[ReadTask]], Iterator["Reading | Unread"]]


def read_here(
    function: Callable[[ReadTask], Reading | Unread], tasks: Iterable[ReadTask]
) -> Iterator[Reading | Unread]:
    """Read with a few threads of this process, never more than a few logs ahead."""
    readers = max(len(os.sched_getaffinity(0)), 1)
    with ThreadPoolExecutor(readers) as pool:
        yield from in_order(pool, function, tasks, ahead=readers + 1)


def in_order(
    pool: Executor, function: Callable[[ReadTask], Reading | Unread], tasks: Iterable[ReadTask], *, ahead: int
) -> Iterator[Reading | Unread]:
    """The results of a pool in the order of the tasks, with at most `ahead` of them under way or waiting."""
    remaining = iter(tasks)
    waiting: list[Future[Reading | Unread]] = [pool.submit(function, task) for task in islice(remaining, ahead)]
    while waiting:
        reading = waiting.pop(0).result()
        waiting += [pool.submit(function, task) for task in islice(remaining, 1)]
        yield reading


def read_or_tell(task: ReadTask) -> Reading | Unread:
    """Read one run; a log that cannot be read is told, since it must not end the collection of the others."""
    try:
        return read_run(task)
    except OSError as error:
        return Unread(f"{task.path} cannot be read: {error.strerror or error}.")
