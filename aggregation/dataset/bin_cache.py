"""The bins of every run of a store, kept beside its dataset, so that a view need not read the episodes.

<store>/.collected/bins/
    lock              one update at a time
    index.json        which rows of which segment are whose, and which files of the dataset they were made from
    000001.parquet    a segment: rows by task, label, suite and seed

A segment is never changed: what is made anew goes into the next one, and the index, replaced atomically, tells which
rows count. When half of the rows count no more, or there are many segments, all is written anew as one.
"""

import contextlib
import fcntl
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aggregation.dataset.arrow_columns import numbers, numbers_of, texts
from aggregation.dataset.bins import RunBins, bins_of
from aggregation.dataset.episodes import Columns, read_partition
from aggregation.dataset.partition_files import Files, files_of, partitions
from aggregation.dataset.schema import BINS
from aggregation.dataset.store import Generation
from sweeps.contracts import RunKey
from sweeps.files import write_atomically

#: Raised when a change of the code gives other bins for the same episodes.
_VERSION = 1
#: A row group ends with the task once it has so many rows, and at the latest with the partition at so many.
_FEW_ROWS, _MANY_ROWS = 1 << 15, 1 << 18
_MANY_SEGMENTS = 8
#: Row groups, and partitions, that are read before they are asked for.
_AHEAD, _READERS = 3, 2
_VALUES = ("count", "mean", "low", "high")
_REPEATED = ["suite", "task", "label", "seed", "bin", "width", "count", "length"]

#: Told the partitions binned so far and the partitions to bin.
Progress = Callable[[int, int], None]


class _Place(NamedTuple):
    """Where the bins of a run lie."""

    segment: int
    group: int
    #: Of its first bin within the row group.
    row: int
    bins: int
    width: int


@dataclass(slots=True)
class _Entry:
    """One partition: what its bins were made from, and where they are, by run."""

    files: Files
    runs: dict[str, _Place]


class BinCache:
    """The bins of one generation of a store.

    Args:
        generation: Of which dataset.
        folder: Where the cache lies; None for beside the dataset.
    """

    def __init__(self, generation: Generation, folder: Path | None = None) -> None:
        self._generation = generation
        self._folder = generation.path.parent / "bins" if folder is None else folder
        self._stamp: list[int] = []
        self._entries: dict[str, _Entry] = {}
        self._places: dict[str, _Place] = {}
        self._segments: dict[int, pq.ParquetFile] = {}

    def update(self, progress: Progress | None = None) -> int:
        """Bin what changed since the last time, and return the count of partitions that were binned.

        Raises:
            OSError: the cache cannot be written.
        """
        stamp = [self._generation.number, self._generation.runs_table.stat().st_mtime_ns]
        if self._load() and self._stamp == stamp:
            return 0
        self._folder.mkdir(exist_ok=True, parents=True)
        with self._locked():
            if not self._load():
                self._entries = {}
            found = {name: files_of(path) for name, path in partitions(self._generation.scores)}
            kept = {name: entry for name, entry in self._entries.items() if entry.files == found.get(name)}
            changed = [name for name in found if name not in kept]
            if changed:
                kept |= self._binned(changed, found, progress or (lambda _done, _total: None))
            self._publish(dict(sorted(kept.items())), stamp)
            if self._is_scattered():
                self._publish(self._gathered(), stamp)
            self._remove_unused()
        return len(changed)

    def bins(self, runs: Sequence[str], *, with_lengths: bool = False) -> Iterator[RunBins | None]:
        """The bins of each run, in the order given; None for one without a finite score.

        A row group is held until the last run in it was given, so that runs in the order of task and label cost the
        memory of a few.

        Args:
            runs: Keys, as `suite/task/label/seed`.
            with_lengths: The lengths too.
        """
        columns = [*_VALUES, "length"] if with_lengths else [*_VALUES]
        places = [self._places.get(run) for run in runs]
        left = Counter((place.segment, place.group) for place in places if place is not None)
        coming = iter(list(left))
        underway: dict[tuple[int, int], Future[list[NDArray[Any]]]] = {}
        held: dict[tuple[int, int], list[NDArray[Any]]] = {}
        with ThreadPoolExecutor(1) as pool:
            for place in places:
                if place is None:
                    yield None
                    continue
                group = place.segment, place.group
                if group not in held:
                    while group not in underway or len(underway) < _AHEAD:
                        following = next(coming, None)
                        if following is None:
                            break
                        underway[following] = pool.submit(self._group, *following, columns)
                    held[group] = underway.pop(group).result()
                span = slice(place.row, place.row + place.bins)
                yield RunBins(place.width, *[values[span] for values in held[group]])
                left[group] -= 1
                if not left[group]:
                    del held[group]

    def _group(self, segment: int, group: int, columns: list[str]) -> list[NDArray[Any]]:
        """Columns of a row group as arrays, shape [rows]."""
        table = self._segments[segment].read_row_group(group, columns=columns).combine_chunks()
        return [numbers_of(table.column(name).chunk(0)) for name in columns]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("ab") as lock:
            # Where there are no locks, each update still publishes a whole index; the last one wins.
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _load(self) -> bool:
        """Read the index and open its segments; whether both can be used."""
        try:
            record = json.loads((self._folder / "index.json").read_text("utf-8"))
            if record["version"] != _VERSION:
                return False
            entries = {
                name: _Entry(entry["files"], {run: _Place(*place) for run, place in entry["runs"].items()})
                for name, entry in record["partitions"].items()
            }
            self._open(entries)
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            return False
        self._stamp = record["stamp"]
        return True

    def _open(self, entries: dict[str, _Entry]) -> None:
        """Take entries over. Open files can be read even when a later update has removed them."""
        places = {run: place for entry in entries.values() for run, place in entry.runs.items()}
        used = {place.segment for place in places.values()}
        self._segments = {
            number: self._segments.get(number) or pq.ParquetFile(self._segment_path(number)) for number in sorted(used)
        }
        self._entries, self._places = entries, places

    def _publish(self, entries: dict[str, _Entry], stamp: list[int]) -> None:
        self._open(entries)
        self._stamp = stamp
        record = {
            "version": _VERSION,
            "stamp": stamp,
            "partitions": {
                name: {"files": entry.files, "runs": {run: list(place) for run, place in entry.runs.items()}}
                for name, entry in entries.items()
            },
        }
        write_atomically(self._folder / "index.json", json.dumps(record, separators=(",", ":")))

    def _binned(self, changed: Sequence[str], found: dict[str, Files], progress: Progress) -> dict[str, _Entry]:
        """Make the bins of some partitions from their episodes, as a new segment."""
        entries = {name: _Entry(found[name], {}) for name in changed}

        def read(name: str) -> dict[str, Columns]:
            return read_partition(self._generation.scores / name, with_lengths=True)

        with self._new_segment() as segment, ThreadPoolExecutor(_READERS) as pool:
            remaining = iter(changed)
            ahead = deque(pool.submit(read, name) for name in islice(remaining, _READERS))
            for number, name in enumerate(changed):
                progress(number, len(changed))
                held = ahead.popleft().result()
                ahead.extend(pool.submit(read, following) for following in islice(remaining, 1))
                segment.begin(name)
                for run in sorted(held, key=RunKey.parse):
                    made = bins_of(*held[run])
                    if len(made.count):
                        entries[name].runs[run] = segment.add(run, made)
            progress(len(changed), len(changed))
        return entries

    def _is_scattered(self) -> bool:
        rows = sum(segment.metadata.num_rows for segment in self._segments.values())
        used = sum(place.bins for place in self._places.values())
        return len(self._segments) > _MANY_SEGMENTS or rows > 2 * used

    def _gathered(self) -> dict[str, _Entry]:
        """Write all bins that count as one new segment."""
        entries = {name: _Entry(entry.files, {}) for name, entry in self._entries.items()}
        with self._new_segment() as segment:
            runs = [(name, run) for name, entry in self._entries.items() for run in entry.runs]
            held = self.bins([run for _, run in runs], with_lengths=True)
            for name, group in groupby(zip(runs, held, strict=True), key=lambda pair: pair[0][0]):
                segment.begin(name)
                for (_, run), bins in group:
                    assert bins is not None, run
                    entries[name].runs[run] = segment.add(run, bins)
        return entries

    @contextlib.contextmanager
    def _new_segment(self) -> Iterator["_Segment"]:
        numbers = [int(path.stem) for path in self._folder.glob("*.parquet") if path.stem.isdigit()]
        number = max(numbers, default=0) + 1
        fresh = self._folder / f".{number:06d}.new"
        segment = _Segment(fresh, number)
        try:
            yield segment
            segment.close()
            fresh.replace(self._segment_path(number))
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise

    def _segment_path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"

    def _remove_unused(self) -> None:
        for path in self._folder.glob("*.parquet"):
            if path.stem.isdigit() and int(path.stem) not in self._segments:
                path.unlink(missing_ok=True)


class _Segment:
    """One segment in the making."""

    def __init__(self, path: Path, number: int) -> None:
        self._number = number
        self._writer = pq.ParquetWriter(
            path, BINS, compression="lz4", use_dictionary=_REPEATED, write_statistics=["task", "label", "suite", "seed"]
        )
        self._held: list[tuple[RunKey, RunBins]] = []
        self._rows = self._group = 0
        self._task = ""

    def begin(self, partition: str) -> None:
        """Say which partition the next runs are of."""
        task = partition.partition("/")[0]
        if self._rows >= (_FEW_ROWS if task != self._task else _MANY_ROWS):
            self._flush()
        self._task = task

    def add(self, run: str, bins: RunBins) -> _Place:
        """Take the bins of a run, and say where they will be."""
        place = _Place(self._number, self._group, self._rows, len(bins.count), bins.width)
        self._held.append((RunKey.parse(run), bins))
        self._rows += len(bins.count)
        return place

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(_rows(self._held), row_group_size=self._rows)
            self._group += 1
        self._held, self._rows = [], 0


def _rows(runs: Sequence[tuple[RunKey, RunBins]]) -> pa.Table:
    """The bins of several runs as rows."""
    sizes = [len(bins.count) for _, bins in runs]
    columns = [_words([getattr(key, name) for key, _ in runs], sizes) for name in ("suite", "task", "label")]
    columns.append(numbers(np.repeat(np.array([key.seed for key, _ in runs], np.int32), sizes), pa.int32()))
    columns.append(numbers(np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]), pa.int32()))
    columns.append(numbers(np.repeat(np.array([bins.width for _, bins in runs], np.int64), sizes), pa.int64()))
    columns.append(numbers(np.concatenate([bins.count for _, bins in runs]), pa.int32()))
    for name in ("mean", "low", "high"):
        columns.append(numbers(np.concatenate([getattr(bins, name) for _, bins in runs]), pa.float64()))
    lengths = [np.full(len(bins.count), np.nan) if bins.length is None else bins.length for _, bins in runs]
    columns.append(numbers(np.concatenate(lengths), pa.float64()))
    return pa.Table.from_arrays(columns, schema=BINS)


def _words(words: Sequence[str], sizes: Sequence[int]) -> pa.Array:
    distinct = {word: number for number, word in enumerate(dict.fromkeys(words))}
    index = np.repeat(np.array([distinct[word] for word in words], np.int32), sizes)
    return pa.DictionaryArray.from_arrays(numbers(index, pa.int32()), texts(list(distinct)))
