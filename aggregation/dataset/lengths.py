"""Episode lengths from the dataset of metrics, for the rows of the scores.

DreamerV3 writes them into metrics.jsonl only. Where that key is collected, a score has the length that stands in its
run's metrics at the same step, of the last attempt that has one. It follows from the two datasets as they are
published together, so it does not matter in which order the lines of the two logs came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aggregation.dataset.arrow_columns import numbers, numbers_of
from aggregation.dataset.part_file import PartFile
from aggregation.dataset.schema import Dataset
from aggregation.logs.log_format import LogFormat
from aggregation.logs.record import is_wanted
from aggregation.logs.template import Floats, Ints

#: The metric that is a length.
LENGTH = LogFormat().length_key
_COLUMNS = ["run", "name", "attempt", "step", "value"]
_MOST = 2**53


def has_lengths(metrics: str | None) -> bool:
    """Whether a choice of metrics, a regular expression, takes episode lengths."""
    return metrics is not None and is_wanted(LENGTH, metrics)


@dataclass(frozen=True, slots=True)
class LengthSource:
    """The lengths of a generation whose metrics are written.

    Args:
        folder: Its dataset of metrics.
        runs: Which have a log of metrics; the lengths of others are those of their own score logs.
        changed: By run, the step from which its lengths may differ from the generation before.
    """

    folder: Path
    runs: frozenset[str]
    changed: Mapping[str, int]

    def of(self, partition: Path) -> "LengthLog":
        """Those of one partition, named by its place in a dataset."""
        return LengthLog(self.folder / partition)


class LengthLog:
    """The episode lengths of one partition's runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[pq.ParquetFile] | None = None

    def of(self, run: str, steps: Ints) -> Floats:
        """The length of a run's episode at each step, NaN where there is none, shape [rows]."""
        found = np.full(len(steps), np.nan)
        if not len(steps):
            return found
        known, values = self._read(run, int(steps.min()), int(steps.max()))
        if len(known):
            place = np.searchsorted(known, steps, side="right") - 1
            hit = (place >= 0) & (known[place] == steps)
            found[hit] = values[place[hit]]
        whole = (found >= 0) & (found <= _MOST) & (found == np.floor(found))
        return np.where(whole, found, np.nan)

    def close(self) -> None:
        for file in self._files or ():
            file.close()
        self._files = None

    def _read(self, run: str, low: int, high: int) -> tuple[Ints, Floats]:
        """Steps in ascending order and their lengths; what counts comes last among equal steps."""
        if self._files is None:
            self._files = [pq.ParquetFile(path) for path in sorted(self._folder.glob("part-*.parquet"))]
        pieces: list[tuple[NDArray[Any], ...]] = []
        for file in self._files:
            for group in range(file.num_row_groups):
                if not may_hold(file, group, run=(run, run), name=(LENGTH, LENGTH), step=(low, high)):
                    continue
                table = file.read_row_group(group, columns=_COLUMNS).unify_dictionaries()
                mine = rows_of(table, "run", run) & rows_of(table, "name", LENGTH)
                pieces.append(tuple(_plain(table, name)[mine] for name in ("step", "attempt", "value")))
        if not pieces:
            return np.empty(0, np.int64), np.empty(0)
        steps, attempts, values = (np.concatenate(each) for each in zip(*pieces, strict=True))
        order = np.lexsort((attempts, steps))
        return steps[order], values[order]


def amend_file(dataset: Dataset, path: Path, amended: Mapping[str, int], lengths: LengthLog) -> bool:
    """Bring the lengths of a file of scores up to date, and tell whether any was not.

    The file is replaced, never changed, since earlier generations share it.

    Args:
        dataset: The scores.
        path: The file.
        amended: By run, the step from which its lengths may have changed.
        lengths: As they are now.
    """
    if not amended:
        return False
    runs, low = (min(amended), max(amended)), min(amended.values())
    with pq.ParquetFile(path) as file:
        groups = [
            group
            for group in range(file.num_row_groups)
            if may_hold(file, group, run=runs, step=(low, 2**63 - 1))
            and _lengths(file.read_row_group(group, columns=["run", "step", "length"]), amended, lengths) is not None
        ]
        if not groups:
            return False
        later = PartFile(dataset, path, earlier=pa.OSFile(str(path)))
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).unify_dictionaries()
            column = _lengths(table, amended, lengths) if group in groups else None
            if column is not None:
                place = dataset.schema.get_field_index("length")
                table = table.set_column(place, dataset.schema.field(place), column)
            later.write(table)
    later.close()
    return True


def may_hold(file: pq.ParquetFile, group: int, **ranges: tuple[Any, Any]) -> bool:
    """Whether a row group may have a row with each column within its range, going by its statistics."""
    row_group = file.metadata.row_group(group)
    names = file.schema_arrow.names
    for name, (low, high) in ranges.items():
        statistics = row_group.column(names.index(name)).statistics
        if statistics is not None and statistics.has_min_max and (statistics.min > high or statistics.max < low):
            return False
    return True


def rows_of(table: pa.Table, name: str, word: str) -> NDArray[np.bool_]:
    """Which rows have a word in a column of words, shape [rows]."""
    found = [np.empty(0, np.bool_)]
    for chunk in table.column(name).chunks:
        words = chunk.dictionary.to_pylist()
        index = numbers_of(chunk.indices)
        found.append(index == words.index(word) if word in words else np.zeros(len(index), np.bool_))
    return np.concatenate(found)


def _lengths(table: pa.Table, amended: Mapping[str, int], lengths: LengthLog) -> pa.Array | None:
    """The column as it is now; None where nothing changed."""
    steps, before = _plain(table, "step"), _plain(table, "length").astype(np.float64)
    now = before.copy()
    for run, low in amended.items():
        rows = np.flatnonzero(rows_of(table, "run", run) & (steps >= low))
        if len(rows):
            now[rows] = lengths.of(run, steps[rows])
    if np.array_equal(now, before, equal_nan=True):
        return None
    valid = ~np.isnan(now)
    return numbers(np.where(valid, now, 0).astype(np.int64), pa.int64(), valid=valid)


def _plain(table: pa.Table, name: str) -> NDArray[Any]:
    """A column of numbers; lengths as floats, NaN for null."""
    column = table.column(name)
    if pa.types.is_integer(column.type) and column.null_count:
        column = column.cast(pa.float64())
    return numbers_of(column.combine_chunks())
