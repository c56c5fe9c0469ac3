"""The bad lines of a collection on their way into faults.parquet, however many: beyond a limit they wait on disk."""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from aggregation.dataset.arrow_columns import table
from aggregation.dataset.mirror import link_or_copy
from aggregation.dataset.schema import FAULTS
from aggregation.dataset.tables import damaged
from aggregation.logs.record import Fault

#: Held in memory before they go to disk.
_HELD = 1 << 16
_WRITTEN_AT_ONCE = 1 << 16

#: Run and path of a log.
Place = tuple[str, str]


class FaultSpool:
    """Bad lines by log, in the order in which they are added.

    Args:
        path: Where they wait; removed in the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[Place, list[Fault]] = {}
        self._count = 0
        self._groups: dict[Place, list[int]] = {}
        self._written = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            self._path.unlink()

    def add(self, place: Place, faults: Sequence[Fault]) -> None:
        """Take the next bad lines of a log."""
        if not faults:
            return
        self._held.setdefault(place, []).extend(faults)
        self._count += len(faults)
        if self._count >= _HELD:
            self._spill()

    def _spill(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, FAULTS, compression="zstd", compression_level=1)
        for place, faults in self._held.items():
            rows = _rows(place, faults)
            self._writer.write_table(rows, row_group_size=rows.num_rows)
            self._groups.setdefault(place, []).append(self._written)
            self._written += 1
        self._held, self._count = {}, 0

    def write(self, path: Path, *, earlier: Path | None, alive: Collection[Place] | None) -> None:
        """Write the table: one row per bad line, by run, path and line.

        Args:
            path: The table.
            earlier: The published one.
            alive: The logs whose bad lines in it stay; None for all.
        """
        if alive is None and earlier is not None and not self._held and self._writer is None and earlier.exists():
            link_or_copy(earlier, path)
            return
        if self._writer is not None:
            self._spill()
            self._writer.close()
        pieces: list[pa.Table] = []
        count = 0
        with pq.ParquetWriter(path, FAULTS, compression="zstd") as writer:
            for piece in self._merged(_published(earlier) if earlier is not None else iter(()), alive):
                pieces.append(piece)
                count += piece.num_rows
                if count >= _WRITTEN_AT_ONCE:
                    writer.write_table(pa.concat_tables(pieces))
                    pieces, count = [], 0
            writer.write_table(pa.concat_tables([table([], FAULTS), *pieces]))

    def _merged(self, earlier: Iterator[tuple[Place, pa.Table]], alive: Collection[Place] | None) -> Iterator[pa.Table]:
        """What is there of each log, the new lines behind the earlier ones."""
        waiting = sorted(self._held.keys() | self._groups.keys(), reverse=True)
        for place, pieces in groupby(earlier, key=lambda piece: piece[0]):
            while waiting and waiting[-1] < place:
                yield from self._of(waiting.pop())
            if alive is None or place in alive:
                yield from (piece for _, piece in pieces)
        while waiting:
            yield from self._of(waiting.pop())

    def _of(self, place: Place) -> Iterator[pa.Table]:
        if place in self._groups:
            with pq.ParquetFile(self._path) as file:
                for group in self._groups[place]:
                    yield file.read_row_group(group)
        if place in self._held:
            yield _rows(place, self._held[place])


def _rows(place: Place, faults: Sequence[Fault]) -> pa.Table:
    known = dict(zip(FAULTS.names[:2], place, strict=True))
    return table([known | {name: getattr(fault, name) for name in FAULTS.names[2:]} for fault in faults], FAULTS)


def _published(path: Path) -> Iterator[tuple[Place, pa.Table]]:
    """A published table, log by log; a long one in several pieces."""
    if not path.exists():
        return
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise damaged(path, error) from None
    with file:
        for batch in file.iter_batches(batch_size=_WRITTEN_AT_ONCE):
            places = list(zip(batch.column("run").to_pylist(), batch.column("path").to_pylist(), strict=True))
            edges = [number for number, place in enumerate(places) if not number or place != places[number - 1]]
            for first, last in pairwise([*edges, len(places)]):
                yield places[first], pa.Table.from_batches([batch.slice(first, last - first)])
