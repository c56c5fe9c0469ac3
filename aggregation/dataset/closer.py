"""Finishes the partitions of a dataset while the next ones are read: the large ones each, the others many at a time."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

from aggregation.dataset.partition import Kept, Partition, Rules, close_light

#: Partitions that are finished at a time, while the next ones are read.
_THREADS = 2
#: Partitions, and their rows, that wait to be finished together. Each has its file open then.
_MANY_PARTITIONS, _MANY_ROWS = 32, 1 << 19


class Closer:
    """Finishes partitions in a few threads.

    Args:
        leave: Told, by run, what is left of those that lost rows; in the thread that adds the partitions.
    """

    def __init__(self, leave: Callable[[Mapping[str, Kept]], None]) -> None:
        self._leave = leave
        self._pool = ThreadPoolExecutor(_THREADS)
        self._running: deque[Future[dict[str, Kept]]] = deque()
        self._light: list[Partition] = []
        self._light_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all partitions, unless there was an error."""
        with self._pool:
            if kind is None:
                self._finish_light()
                while self._running:
                    self._leave(self._running.popleft().result())

    def add(self, partition: Partition, rules: Rules) -> None:
        """Finish a partition, now or later."""
        if partition.is_light(rules):
            self._light.append(partition)
            self._light_rows += partition.held_rows
            if len(self._light) >= _MANY_PARTITIONS or self._light_rows >= _MANY_ROWS:
                self._finish_light()
        else:
            self._start(partial(partition.close, rules))

    def _finish_light(self) -> None:
        for number in range(_THREADS):
            if some := self._light[number::_THREADS]:
                self._start(partial(close_light, some))
        self._light, self._light_rows = [], 0

    def _start(self, work: Callable[[], dict[str, Kept]]) -> None:
        self._running.append(self._pool.submit(work))
        if len(self._running) > _THREADS:
            self._leave(self._running.popleft().result())
