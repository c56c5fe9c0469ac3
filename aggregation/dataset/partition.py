"""Writes the Parquet files of one partition of a dataset: `task=<task>/label=<label>/part-<n>.parquet`.

New rows go to the newest file while that is small, else to a new one. Rows that a later resume made void are taken
out of the file they are in. A reader may open some files in their earlier and some in their later version. Still it
finds no stretch twice: rows do not move between files, and where others than the newest lose rows, what comes in their
place, then or later, is in a new file, of which that reader does not know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aggregation.dataset.arrow_columns import numbers, numbers_of
from aggregation.dataset.lengths import LengthLog, amend_file
from aggregation.dataset.mirror import mirror
from aggregation.dataset.part_file import PartFile
from aggregation.dataset.partition_files import Marks, parts
from aggregation.dataset.rows import rows_table
from aggregation.dataset.schema import Dataset
from aggregation.dataset.store import Syncs
from aggregation.logs.run_files import RunCard
from aggregation.logs.run_reader import Reading
from aggregation.logs.seams import surviving

#: Rows that are held until they are written as one row group.
_GROUP_ROWS = 1 << 18
#: New rows up to which a partition is finished together with others.
_FEW_ROWS = 1 << 15
#: A newest file below this, or below an eighth of its partition, takes new rows.
_SMALL_BYTES = 1 << 19
_ROW_BYTES = 5  # of a row, about
#: A file of more row groups takes no further ones.
_MANY_GROUPS = 24
#: A partition of more files, those without a row left included, is written anew as one.
_MANY_FILES = 32
#: Files of more bytes than their rows explain are written anew too: those to begin with, and so many times the rows'.
_DEAD_BYTES, _DEAD_SHARE = 1 << 22, 16
_EMPTY = "empty.parquet"


@lru_cache(maxsize=1 << 14)
def partition_folder(task: str, label: str) -> Path:
    """Where a partition lies in the dataset; unusual characters are percent-encoded, as all Hive readers expect."""
    return Path(f"task={quote(task, safe='')}") / f"label={quote(label, safe='')}"


def write_empty(dataset: Dataset, folder: Path, syncs: Syncs) -> None:
    """Make a dataset without rows readable."""
    pq.write_table(dataset.empty, folder / _EMPTY)
    syncs.add(folder / _EMPTY)


@dataclass(slots=True)
class Kept:
    """What is left of a run's earlier rows."""

    rows: int = 0
    non_finite: int = 0
    first_step: int | None = None
    last_step: int | None = None

    def add(self, steps: "np.ndarray[tuple[int], np.dtype[np.int64]]", non_finite: int) -> None:
        if len(steps):
            low, high = int(steps.min()), int(steps.max())
            self.first_step = low if self.first_step is None else min(self.first_step, low)
            self.last_step = high if self.last_step is None else max(self.last_step, high)
        self.rows += len(steps)
        self.non_finite += non_finite


#: By run: nothing of it stays (None), or by attempt the step below which its rows stay.
Rules = Mapping[str, Mapping[int, int] | None]


class Partition:
    """The files of one task and label, on their way from one generation to the next.

    Args:
        dataset: Which one.
        earlier: The partition's folder in the published generation; it need not exist. None where there is none.
        target: Its folder in the new generation, which is there.
        number: Of the new generation; names a new file.
        syncs: Makes the files durable.
        gone: Runs whose earlier rows all go.
        lengths: Where they come from the metrics: those.
        amended: By run, the step from which its lengths may have changed.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        earlier: Path | None,
        target: Path,
        number: int,
        syncs: Syncs,
        gone: frozenset[str] = frozenset(),
        lengths: LengthLog | None = None,
        amended: Mapping[str, int] | None = None,
    ) -> None:
        self._dataset = dataset
        self._earlier = earlier
        self._files: Marks = {} if earlier is None else parts(earlier)
        self._target = target
        self._gone = gone
        self._lengths = lengths
        self._amended = amended or {}
        self._syncs = syncs
        self._fresh = target / f"part-{number:06d}.parquet"
        self._file: PartFile | None = None
        self._held: list[tuple[RunCard, Reading]] = []
        #: Rows that wait to be written.
        self.held_rows = 0
        self._paths: list[Path] = []
        #: Files that lost rows.
        self._thinned: set[Path] = set()

    def is_light(self, rules: Rules) -> bool:
        """Whether there is nothing to do but to add rows, and not many."""
        return not (rules or self._gone or self._lengths or self._file) and self.held_rows <= _FEW_ROWS

    def append(self, card: RunCard, reading: Reading, *, has_metrics: bool = False) -> None:
        """Take the new rows of a run, with the lengths of its metrics where it has any."""
        if not len(reading.steps):
            return
        if has_metrics and self._lengths is not None:
            reading = replace(reading, lengths=self._lengths.of(card.run, reading.steps))
        self._held.append((card, reading))
        self.held_rows += len(reading.steps)
        if self.held_rows >= _GROUP_ROWS:
            self._write_held()

    def close(self, rules: Rules) -> dict[str, Kept]:
        """Finish the files, take out what `rules` say, and return what is left of the runs they name."""
        self._paths = self._mirrored(but=set() if self._file is None else {self._file.unfinished.name})
        self._filter(self._paths, dict.fromkeys(self._gone))
        growing = self._growing(self._target, parts(self._target))
        left = self._filter([path for path in self._paths if growing is None or path != growing.path], rules)
        if growing is not None and self._thinned - {growing.path}:
            # What comes in the place of lost rows must not show beside an earlier version of the file that held them.
            _add_all(left, self._filter([growing.path], rules))
            growing = None
        self._open(growing)
        self._write_held()
        if self._file is None and self._thinned - set(self._paths[-1:]):
            # The same holds for what will come later: it goes to a file that earlier readers do not know.
            self._file = PartFile(self._dataset, self._fresh)
        if self._file is not None:
            self._file.close()
            _add_all(left, self._filter([self._file.path], rules))
        if self._lengths is not None:
            paths = sorted({*self._paths, self._file.path} if self._file is not None else self._paths)
            self._thinned |= {path for path in paths if amend_file(self._dataset, path, self._amended, self._lengths)}
            self._lengths.close()
        self._settle()
        return left

    def _mirrored(self, but: set[str]) -> list[Path]:
        """Take the published files over."""
        return mirror(self._earlier, self._files, self._target, self._syncs, but=but)

    def _open(self, growing: "_Growing | None") -> None:
        """Begin with the file that takes the new rows."""
        if growing is not None:
            self._file = PartFile(self._dataset, growing.path, earlier=growing.file, kept=growing.kept)
        elif self._held and self._file is None:
            self._file = PartFile(self._dataset, self._fresh)

    def _settle(self) -> None:
        """Merge the files where they are many, and make durable what was written."""
        written = set(self._thinned)
        if self._file is not None:
            written.add(self._file.path)
            if self._file.path not in self._paths:
                self._paths.append(self._file.path)
        if len(self._paths) > _MANY_FILES or (self._thinned and self._is_mostly_dead()):
            written = {self._merge()}
        for path in sorted(written):
            self._syncs.add(path)

    def _is_mostly_dead(self) -> bool:
        """Whether the files are mostly earlier versions of themselves."""
        rows = sum(int(pq.read_metadata(path).num_rows) for path in self._paths)
        return sum(path.stat().st_size for path in self._paths) > _DEAD_BYTES + _DEAD_SHARE * _ROW_BYTES * rows

    def _filter(self, paths: Sequence[Path], rules: Rules) -> dict[str, Kept]:
        """Take out of files what `rules` say."""
        left = {run: Kept() for run in rules}
        for path in paths if rules else ():
            found, dropped = filter_file(self._dataset, path, rules)
            _add_all(left, found)
            if dropped:
                self._thinned.add(path)
        return left

    def _write_held(self) -> None:
        if self._held:
            self._open(None)
            assert self._file is not None
            self._file.write(rows_table(self._dataset, self._held))
        self._held, self.held_rows = [], 0

    def _growing(self, folder: Path | None, files: Marks) -> "_Growing | None":
        """The newest of a folder's files while it is small, so that a longer version of it takes the new rows."""
        if folder is None or not files or not self._held or self._file is not None:
            return None
        name, size = max(files), files[max(files)].size
        total = sum(mark.size for mark in files.values())
        if size + _ROW_BYTES * self.held_rows >= max(_SMALL_BYTES, total // 8):
            return None
        file = pa.OSFile(f"{folder}/{name}")
        newest = _Growing(self._target / name, file, pq.read_metadata(file))
        return newest if newest.kept.num_row_groups < _MANY_GROUPS else None

    def _merge(self) -> Path:
        """Write the partition as one file of a new name: the one step in which a reader may miss a file it listed."""
        assert self._fresh not in self._paths[:-1]
        merged = PartFile(self._dataset, self._target / f"{self._fresh.stem}m.parquet")
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_GROUP_ROWS):
                    merged.write(pa.Table.from_batches([batch]))
        merged.close()
        for path in self._paths:
            path.unlink()
        return merged.path


def close_light(partitions: Sequence[Partition]) -> dict[str, Kept]:
    """Finish partitions that have nothing but a few new rows, and return what is left of runs that lost some: nothing.

    Each step is made for all of them before the next one is: on so little data it takes less time while the processor
    has its code at hand.
    """
    growing = []
    for each in partitions:
        growing.append(each._growing(each._earlier, each._files))
        each._paths = each._mirrored(but={found.path.name} if (found := growing[-1]) is not None else set())
    for each, found in zip(partitions, growing, strict=True):
        each._open(found)
    for each in partitions:
        each._write_held()
    for each in partitions:
        if each._file is not None:
            each._file.close()
    for each in partitions:
        each._settle()
    return {}


@dataclass(frozen=True, slots=True)
class _Growing:
    """A file that takes further rows, and what it holds."""

    #: Of the version in the making.
    path: Path
    #: The one that is there.
    file: pa.NativeFile
    kept: pq.FileMetaData


def filter_file(dataset: Dataset, path: Path, rules: Rules) -> tuple[dict[str, Kept], int]:
    """Take out of a file what `rules` say; return what is left in it of the runs they name, and the rows taken out.

    The file is replaced, never changed, since earlier generations share it.
    """
    left: dict[str, Kept] = {}
    dropped = 0
    with pq.ParquetFile(path) as file:
        if not _holds(file, rules):
            return left, dropped
        later = PartFile(dataset, path, earlier=pa.OSFile(str(path)))
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).unify_dictionaries()
            stays, found = _staying(dataset, table, rules)
            _add_all(left, found)
            dropped += int(np.count_nonzero(~stays))
            if stays.any():
                later.write(table.filter(_mask(stays)))
    if dropped:
        later.close()
    else:
        later.abandon()
    return left, dropped


def _holds(file: pq.ParquetFile, rules: Rules) -> bool:
    columns = (file.read_row_group(group, columns=["run"]).column("run") for group in range(file.num_row_groups))
    return any(not rules.keys().isdisjoint(column.unique().to_pylist()) for column in columns)


def _staying(
    dataset: Dataset, table: pa.Table, rules: Rules
) -> "tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], dict[str, Kept]]":
    runs = table.column("run").combine_chunks()
    runs = runs.chunk(0) if isinstance(runs, pa.ChunkedArray) else runs
    index = numbers_of(runs.indices)
    stays = np.ones(table.num_rows, np.bool_)
    left: dict[str, Kept] = {}
    for number, run in enumerate(runs.dictionary.to_pylist()):
        if run not in rules:
            continue
        rows = np.flatnonzero(index == number)
        if not len(rows):
            continue
        limits = rules[run]
        part = table.take(numbers(rows, pa.int64()))
        steps, attempts, values = (
            numbers_of(part.column(name).combine_chunks()) for name in ("step", "attempt", dataset.value)
        )
        if limits is None:
            good = np.zeros(len(rows), np.bool_)
        else:
            good = surviving(attempts, steps, limits)
        stays[rows] = good
        left[run] = Kept()
        left[run].add(steps[good], int(np.count_nonzero(np.isnan(values[good]))))
    return stays, left


def _add_all(totals: dict[str, Kept], parts: Mapping[str, Kept]) -> None:
    for run, part in parts.items():
        _add(totals.setdefault(run, Kept()), part)


def _add(total: Kept, part: Kept) -> None:
    for step in (part.first_step, part.last_step):
        if step is not None:
            total.first_step = step if total.first_step is None else min(total.first_step, step)
            total.last_step = step if total.last_step is None else max(total.last_step, step)
    total.rows += part.rows
    total.non_finite += part.non_finite


def _mask(stays: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> pa.Array:
    return pa.Array.from_buffers(pa.bool_(), len(stays), [None, pa.py_buffer(np.packbits(stays, bitorder="little"))])
